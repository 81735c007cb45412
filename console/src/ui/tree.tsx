// Data whose fields depend on what it describes: names and values, as deep as they go, all shown as text.
import type { ComponentChildren } from 'preact';

export function Tree({ value }: { value: Record<string, unknown> }) {
  return (
    <dl class="facts">
      {Object.entries(value).map(([name, item]) => [<dt key={`${name}-name`}><code>{name}</code></dt>, <dd key={name}>{show(item)}</dd>])}
    </dl>
  );
}

function show(item: unknown): ComponentChildren {
  if (item === null || item === undefined || item === '') return '–';
  if (Array.isArray(item)) return item.length ? item.map((part, index) => <div key={index}>{show(part)}</div>) : '–';
  if (typeof item === 'object') return <Tree value={item as Record<string, unknown>} />;
  return <span dir="auto">{typeof item === 'string' ? item : JSON.stringify(item)}</span>;
}
