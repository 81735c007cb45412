export function Experiments({ rest }: { rest: string[] }) {
  return <p>{String(rest)}</p>;
}
