export function NewVoice({ task }: { task: string | undefined }) {
  return <p>{String(task)}</p>;
}
