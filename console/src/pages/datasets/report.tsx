// The report of a version: how many segments have which problem; one problem filters the segments.
import { api, call, type Schemas } from '../../api/client';
import { formatDuration, formatTime, t, term } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { can } from '../../app/session';
import { ActionButton } from '../../ui/action';
import { Empty, ErrorNote, Loading } from '../../ui/feedback';

interface ReportProps {
  dataset: Schemas['DatasetView'];
  busy: boolean;
  problem: string;
  onProblem: (problem: string) => void;
  changed: () => void;
}

export function Report({ dataset, busy, problem, onProblem, changed }: ReportProps) {
  const path = { dataset_id: dataset.id };
  const report = useResource(async () => {
    if (dataset.report_status !== 'ready') return null;
    return call(api.GET('/api/v1/datasets/{dataset_id}/report', { params: { path, query: { version: dataset.version } } }));
  }, [dataset.id, dataset.version, dataset.report_status]);
  const make = async (): Promise<void> => {
    await call(api.POST('/api/v1/datasets/{dataset_id}/report', { params: { path }, body: { version: dataset.version } as never }));
    changed();
  };
  const { data } = report;
  return (
    <section class="card">
      <h2>{t('report.title')}</h2>
      {report.error && <ErrorNote error={report.error} retry={report.reload} />}
      {data === undefined && !report.error && <Loading />}
      {data === null && <Empty>{t('report.none')}</Empty>}
      {data && (
        <>
          <p>
            {t('report.summary', {
              kept: data.kept_segments,
              all: data.segments,
              time: formatDuration(data.kept_seconds),
            })}{' '}
            <span class="muted">{formatTime(data.made_at)}</span>
          </p>
          <div class="row" role="toolbar" aria-label={t('report.problems')}>
            <button type="button" class={problem ? 'outline small' : 'small'} aria-pressed={!problem} onClick={() => onProblem('')}>
              {t('common.all')}
            </button>
            {Object.entries(data.problems).map(([code, count]) => (
              <button
                key={code}
                type="button"
                class={problem === code ? 'small' : 'outline small'}
                aria-pressed={problem === code}
                onClick={() => onProblem(problem === code ? '' : code)}
              >
                {term('flag', code)} ({count})
              </button>
            ))}
          </div>
          {Object.keys(data.problems).length === 0 && <p class="muted">{t('report.clean')}</p>}
        </>
      )}
      {can('train') && (
        <div class="row">
          <ActionButton work={make} disabled={busy}>
            {data ? t('report.again') : t('report.make')}
          </ActionButton>
        </div>
      )}
    </section>
  );
}
