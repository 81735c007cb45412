// The newest lines of a log: of events, or of a page of the API.
import { api, call } from '../../api/client';
import { t } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { Empty, ErrorNote, Loading } from '../../ui/feedback';

const MAX_LINES = 200;

function logLine(data: { level?: unknown; message?: unknown }): string {
  return [data.level, data.message].filter((part) => typeof part === 'string').join(' ');
}

export function addLine(lines: string[], data: Record<string, unknown>): string[] {
  return [...lines, logLine(data)].slice(-MAX_LINES);
}

export function Log({ lines }: { lines: string[] }) {
  return (
    <pre class="log" tabIndex={0} aria-label={t('task.log')} role="log" dir="auto">
      {lines.join('\n')}
    </pre>
  );
}

/** The log of a stage: `lines` while it runs, else what the API has. */
export function StageLog({ experiment, stage, lines }: { experiment: string; stage: string; lines: string[] | undefined }) {
  return (
    <section class="card">
      <h2>{t('task.log')}</h2>
      {lines ? <Lines lines={lines} /> : <PastLog experiment={experiment} stage={stage} />}
    </section>
  );
}

function PastLog({ experiment, stage }: { experiment: string; stage: string }) {
  const path = { exp_id: experiment, stage };
  const log = useResource(
    () => call(api.GET('/api/v1/experiments/{exp_id}/stages/{stage}/logs', { params: { path, query: { limit: MAX_LINES } } })),
    [experiment, stage],
  );
  if (log.error && !log.data) return <ErrorNote error={log.error} retry={log.reload} />;
  return log.data ? <Lines lines={log.data.items.map(logLine)} /> : <Loading />;
}

function Lines({ lines }: { lines: string[] }) {
  return lines.length === 0 ? <Empty>{t('experiment.noLog')}</Empty> : <Log lines={lines} />;
}
