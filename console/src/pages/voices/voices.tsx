export function Voices({ rest }: { rest: string[] }) {
  return <p>{String(rest)}</p>;
}
