// The service now, by one event stream, and during the last hour.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { followEvents } from '../../api/events';
import { formatNumber, language, t, term } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { can } from '../../app/session';
import { ActionButton } from '../../ui/action';
import { Chart, type Curve } from '../../ui/chart';
import { Connection, Empty, ErrorNote, Loading, Name, Notice, Status } from '../../ui/feedback';
import { cancelJob } from './jobs';

type ServiceStatus = Schemas['ServiceStatus'];
type Sample = Schemas['ServiceSample'];

const HISTORY_MS = 60_000;

export function Overview() {
  const first = useResource(() => call(api.GET('/api/v1/service/status')), []);
  const [status, setStatus] = useState<ServiceStatus>();
  const [connected, setConnected] = useState(true);
  const [unavailable, setUnavailable] = useState(false);
  useEffect(
    () =>
      followEvents('/api/v1/service/stream', {
        onEvent: ({ kind, data }) => {
          if (kind === 'status') setStatus(data as unknown as ServiceStatus);
          setUnavailable(kind === 'unavailable');
        },
        onConnection: setConnected,
      }),
    [],
  );
  const shown = status ?? first.data;
  if (!shown) return first.error ? <ErrorNote error={first.error} retry={first.reload} /> : <Loading />;
  return (
    <>
      <Connection connected={connected} />
      {unavailable && <Notice kind="warning">{t('service.unavailable')}</Notice>}
      <div class="columns">
        <Health health={shown.health} />
        <Queues status={shown} />
      </div>
      <Running status={shown} />
      <Hosts status={shown} />
      <Loaded models={shown.resources.loaded} />
      <LastHour now={shown.now} />
    </>
  );
}

function Health({ health }: { health: Schemas['Health'] }) {
  return (
    <section class="card">
      <h2>{t('service.health')}</h2>
      <dl class="facts">
        {Object.entries(health.checks).map(([part, result]) => [
          <dt key={`${part}-name`}>{partName(part)}</dt>,
          <dd key={part}>{result === 'ok' ? <Status value="ok" /> : <span class="badge bad">{result}</span>}</dd>,
        ])}
      </dl>
    </section>
  );
}

function partName(part: string): string {
  if (part === 'queue') return t('service.part.queue');
  if (part === 'records') return t('service.part.records');
  return part === 'synthesizer' ? term('role', part) : part;
}

function Queues({ status }: { status: ServiceStatus }) {
  const { waiting, running, workers } = status.now;
  const roles = [...new Set([...Object.keys(waiting).filter((role) => role in workers || waiting[role]), ...Object.keys(workers)])];
  return (
    <section class="card">
      <h2>{t('service.queues')}</h2>
      <table class="list">
        <thead>
          <tr>
            <th scope="col">{t('service.role')}</th>
            <th scope="col" class="right">{t('status.waiting')}</th>
            <th scope="col" class="right">{t('status.running')}</th>
            <th scope="col" class="right">{t('service.workers')}</th>
          </tr>
        </thead>
        <tbody>
          {roles.map((role) => (
            <tr key={role}>
              <td>{term('role', role)}</td>
              <td class="right">{waiting[role] ?? 0}</td>
              <td class="right">{running[role] ?? 0}</td>
              <td class="right">{workers[role] ?? 0}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="muted">{t('service.deadLetterCount', { n: status.now.dead_letters })}</p>
    </section>
  );
}

function Running({ status }: { status: ServiceStatus }) {
  const jobs = status.resources.active_tasks;
  return (
    <section class="card">
      <h2>{t('service.running')}</h2>
      {jobs.length === 0 ? (
        <Empty>{t('service.idle')}</Empty>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label={t('service.running')}>
          <table class="list">
            <thead>
              <tr>
                <th scope="col">{t('service.job')}</th>
                <th scope="col">{t('service.kind')}</th>
                <th scope="col">{t('service.host')}</th>
                <th scope="col">{t('service.device')}</th>
                <th scope="col">{t('common.actions')}</th>
              </tr>
            </thead>
            <tbody>
              {jobs.map((job) => (
                <tr key={job.worker}>
                  <td><code>{job.job_id}</code></td>
                  <td>{t(job.kind === 'training' ? 'service.training' : 'service.inference')}</td>
                  <td>{job.host}</td>
                  <td>{job.device}</td>
                  <td>
                    {can('train', 'speak') && (
                      <ActionButton confirm={t('service.cancelConfirm')} work={() => cancelJob(job.job_id)}>
                        {t('common.cancel')}
                      </ActionButton>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Hosts({ status }: { status: ServiceStatus }) {
  const { hosts, gpu_info: gpus } = status.resources;
  return (
    <section class="card">
      <h2>{t('service.hosts')}</h2>
      {hosts.length === 0 && <Empty>{t('service.noHosts')}</Empty>}
      {hosts.map((host) => (
        <div key={host.host}>
          <strong>{host.host}</strong>{' '}
          <span class="muted">
            {t('service.hostFacts', { cores: host.cores, memory: formatNumber(host.memory_mb / 1024, 1) })}
          </span>
          {gpus
            .filter((gpu) => gpu.host === host.host)
            .map((gpu) => (
              <div key={gpu.uuid}>
                {gpu.device} · {gpu.name}{' '}
                <meter
                  min={0}
                  max={gpu.total_mb}
                  value={gpu.total_mb - gpu.free_mb}
                  aria-label={t('service.gpuMemory', { device: gpu.device })}
                />{' '}
                <span class="number muted">
                  {formatNumber((gpu.total_mb - gpu.free_mb) / 1024, 1)} / {formatNumber(gpu.total_mb / 1024, 1)} GiB
                </span>
              </div>
            ))}
        </div>
      ))}
    </section>
  );
}

function Loaded({ models }: { models: Schemas['LoadedModelView'][] }) {
  return (
    <section class="card">
      <h2>{t('service.loaded')}</h2>
      {models.length === 0 ? (
        <Empty>{t('service.nothingLoaded')}</Empty>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label={t('service.loaded')}>
          <table class="list">
            <thead>
              <tr>
                <th scope="col">{t('common.name')}</th>
                <th scope="col">{t('service.kind')}</th>
                <th scope="col">{t('service.host')}</th>
                <th scope="col">{t('service.device')}</th>
                <th scope="col" class="right">MiB</th>
              </tr>
            </thead>
            <tbody>
              {models.map((model) => (
                <tr key={`${model.worker} ${model.kind} ${model.name}`}>
                  <td><Name>{model.name}</Name></td>
                  <td>{term('loaded', model.kind)}</td>
                  <td>{model.host}</td>
                  <td>{model.device}</td>
                  <td class="right">{formatNumber(model.megabytes, 1)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function LastHour({ now }: { now: Sample }) {
  const history = useResource(() => call(api.GET('/api/v1/service/history')), []);
  useEffect(() => {
    const timer = setInterval(history.reload, HISTORY_MS);
    return () => clearInterval(timer);
  }, []);
  const samples = useMemo(() => {
    const past = history.data?.samples ?? [];
    const last = past.at(-1);
    return last && now.at > last.at ? [...past, now] : past;
  }, [history.data, now]);
  const times = useMemo(() => samples.map((sample) => Date.parse(sample.at) / 1000), [samples]);
  const waiting = useMemo(() => byRole(samples, 'waiting'), [samples, language.value]);
  const running = useMemo(() => byRole(samples, 'running'), [samples, language.value]);
  const memory = useMemo(() => memoryCurves(samples), [samples, language.value]);
  if (history.error && !history.data) return <ErrorNote error={history.error} retry={history.reload} />;
  if (!history.data) return <Loading />;
  if (samples.length < 2) return <Empty>{t('service.noHistory')}</Empty>;
  return (
    <section class="card">
      <h2>{t('service.lastHour')}</h2>
      <div class="columns">
        <Chart title={t('service.chartWaiting')} x={times} curves={waiting} time height={160} />
        <Chart title={t('service.chartRunning')} x={times} curves={running} time height={160} />
        <Chart title={t('service.chartMemory')} x={times} curves={memory} time height={160} />
      </div>
    </section>
  );
}

function byRole(samples: Sample[], what: 'waiting' | 'running'): Curve[] {
  const roles = [...new Set(samples.flatMap((sample) => Object.keys(sample.workers)))].sort();
  return roles.map((role) => ({ label: term('role', role), values: samples.map((sample) => sample[what][role] ?? 0) }));
}

function memoryCurves(samples: Sample[]): Curve[] {
  const hosts = [...new Set(samples.flatMap((sample) => Object.keys(sample.hosts)))].sort();
  const gib = (value: number | null | undefined): number | null => (value == null ? null : Math.round((value / 1024) * 10) / 10);
  return hosts.flatMap((host) => {
    const free = { label: host, values: samples.map((sample) => gib(sample.hosts[host]?.memory_mb)) };
    const gpu = { label: `${host} GPU`, values: samples.map((sample) => gib(sample.hosts[host]?.gpu_free_mb)), dash: true };
    return gpu.values.some((value) => value !== null) ? [free, gpu] : [free];
  });
}
