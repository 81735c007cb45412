export function Datasets({ rest }: { rest: string[] }) {
  return <p>{String(rest)}</p>;
}
