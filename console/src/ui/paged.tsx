// Lists in pages: a table with a header, what to show when there is nothing, and buttons for the other pages.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Page } from '../api/client';
import { t } from '../app/i18n';
import { useRefresh, useResource } from '../app/resource';
import { Empty, ErrorNote, Loading } from './feedback';

export interface Column<T> {
  title: string;
  cell: (item: T) => ComponentChildren;
  /** For numbers. */
  right?: boolean;
}

interface PagedProps<T> {
  load: (limit: number, offset: number) => Promise<Page<T>>;
  columns: Column<T>[];
  rowKey: (item: T) => string | number;
  empty: ComponentChildren;
  label: string;
  /** The list is loaded again when one of these changes. */
  refresh?: readonly unknown[];
  size?: number;
}

export function Paged<T>({ load, columns, rowKey, empty, label, refresh = [], size = 20 }: PagedProps<T>) {
  const [offset, setOffset] = useState(0);
  const { data, error, reload } = useResource(() => load(size, offset), [offset, ...refresh]);
  useRefresh(reload);
  useEffect(() => {
    // The last page may have become empty, by a deletion or another filter.
    if (data && offset > 0 && data.items.length === 0) setOffset(Math.max(0, Math.floor((data.total - 1) / size) * size));
  }, [data]);
  if (error && !data) return <ErrorNote error={error} retry={reload} />;
  if (!data) return <Loading />;
  if (data.total === 0) return <Empty>{empty}</Empty>;
  return (
    <>
      <ErrorNote error={error} retry={reload} />
      <div class="scroll" tabIndex={0} role="region" aria-label={label}>
        <table class="list">
          <caption class="hidden">{label}</caption>
          <thead>
            <tr>
              {columns.map((column) => (
                <th key={column.title} scope="col" class={column.right ? 'right' : ''}>
                  {column.title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {data.items.map((item) => (
              <tr key={rowKey(item)}>
                {columns.map((column) => (
                  <td key={column.title} class={column.right ? 'right' : ''}>
                    {column.cell(item)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <Pager offset={offset} size={size} total={data.total} go={setOffset} />
    </>
  );
}

export function Pager(props: { offset: number; size: number; total: number; go: (offset: number) => void }) {
  const { offset, size, total, go } = props;
  if (total <= size) return null;
  return (
    <nav class="pager" aria-label={t('list.pages')}>
      <button type="button" class="outline small" disabled={offset === 0} onClick={() => go(Math.max(0, offset - size))}>
        {t('list.previous')}
      </button>
      <span>{t('list.range', { from: offset + 1, to: Math.min(offset + size, total), total })}</span>
      <button type="button" class="outline small" disabled={offset + size >= total} onClick={() => go(offset + size)}>
        {t('list.next')}
      </button>
    </nav>
  );
}
