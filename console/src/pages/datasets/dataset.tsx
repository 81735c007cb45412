// One data set: the version that is shown, its report, its segments, and the operations that make a new version.
import { useEffect, useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { followEvents } from '../../api/events';
import { formatDuration, formatTime, t, term } from '../../app/i18n';
import { useRefresh, useResource } from '../../app/resource';
import { linkTo } from '../../app/router';
import { can } from '../../app/session';
import { Connection, ErrorNote, Loading, Name, Notice, Status } from '../../ui/feedback';
import { SelectField } from '../../ui/fields';
import { Coverage } from './coverage';
import { Operations } from './operations';
import { Report } from './report';
import { Segments } from './segments';

export function DatasetPage({ id }: { id: string }) {
  const [version, setVersion] = useState(0);
  const [problem, setProblem] = useState('');
  const [connected, setConnected] = useState(true);
  const path = { dataset_id: id };
  const query = version ? { version } : {};
  const dataset = useResource(
    () => call(api.GET('/api/v1/datasets/{dataset_id}', { params: { path, query } })),
    [id, version],
  );
  const versions = useResource(
    () => call(api.GET('/api/v1/datasets/{dataset_id}/versions', { params: { path, query: { limit: 500 } } })),
    [id, dataset.data],
  );
  const busy = versions.data?.items.some((item) => item.status === 'preparing' || item.report_status === 'preparing') ?? false;
  useEffect(() => {
    if (!busy) return;
    return followEvents(`/api/v1/datasets/${id}/progress`, {
      onEvent: ({ kind }) => {
        if (kind === 'completed' || kind === 'failed') setVersion(0);
        dataset.reload();
      },
      onConnection: setConnected,
      onError: dataset.reload,
    });
  }, [id, busy]);
  useRefresh(dataset.reload); // an end may come between a response and the stream that would tell of it
  if (dataset.error && !dataset.data) return <ErrorNote error={dataset.error} retry={dataset.reload} />;
  if (!dataset.data) return <Loading />;
  const { data } = dataset;
  const changed = (): void => {
    setVersion(0);
    dataset.reload();
  };
  return (
    <>
      <p>
        <a href={linkTo('datasets')}>← {t('page.datasets')}</a>
      </p>
      <Connection connected={connected || !busy} />
      <section class="card">
        <div class="row">
          <h2>
            <Name>{data.name}</Name>
          </h2>
          <Status value={data.status} />
          <span class="muted">{term('language', data.language)}</span>
        </div>
        <dl class="facts">
          <dt>{t('dataset.recordings')}</dt>
          <dd>{data.recordings}</dd>
          <dt>{t('dataset.segments')}</dt>
          <dd>{data.segments}</dd>
          <dt>{t('analysis.length')}</dt>
          <dd>{formatDuration(data.seconds)}</dd>
        </dl>
        {data.error && <Notice kind="warning">{typeof data.error['message'] === 'string' ? data.error['message'] : ''}</Notice>}
        {data.skipped.length > 0 && (
          <details>
            <summary>{t('dataset.skipped', { n: data.skipped.length })}</summary>
            <ul>
              {data.skipped.map((file, index) => (
                <li key={index}>
                  <Name>{file['name'] ?? ''}</Name> <span dir="auto">{file['reason']}</span>
                </li>
              ))}
            </ul>
          </details>
        )}
        {busy && <p role="status">{t('dataset.busy')}</p>}
        {versions.data && (
          <div class="grid-fields">
            <SelectField
              label={t('common.version')}
              value={String(data.version)}
              options={versions.data.items.map((item) => [String(item.version), versionText(item)] as const)}
              onChange={(chosen) => setVersion(Number(chosen))}
            />
          </div>
        )}
      </section>
      {data.status !== 'failed' && data.segments > 0 && (
        <>
          <Report dataset={data} busy={busy} problem={problem} onProblem={setProblem} changed={changed} />
          <Coverage dataset={data} />
          {can('train') && <Operations dataset={data} busy={busy} changed={changed} />}
          <Segments dataset={data} problem={problem} changed={changed} />
        </>
      )}
    </>
  );
}

function versionText(version: Schemas['DatasetVersionView']): string {
  return `${version.version} · ${t('dataset.madeBy', { how: version.made_by })} · ${formatTime(version.created_at)}`;
}
