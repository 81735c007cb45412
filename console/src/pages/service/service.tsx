export function Service({ tab }: { tab: string | undefined }) {
  return <p>{String(tab)}</p>;
}
