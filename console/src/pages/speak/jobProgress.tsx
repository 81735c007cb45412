// A job of the server that speaks a long text or many: its progress, then its audio or its archive.
import { useEffect, useState } from 'preact/hooks';
import { api, call, fetchBlob, type Schemas } from '../../api/client';
import { followEvents } from '../../api/events';
import { t } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { ActionButton } from '../../ui/action';
import { Connection, ErrorNote, Loading, Notice, ProgressBar, Status } from '../../ui/feedback';
import { Recording, saveBlob } from '../../ui/recording';
import type { Speech } from './settings';

type Job = Pick<Schemas['InferenceView'], 'status' | 'progress' | 'error_message' | 'format'> & {
  result: { download_url: string; failed?: number } | null;
};

export function JobProgress({ speech }: { speech: Speech }) {
  const path = speech.kind === 'job' ? `/api/v1/inference/${speech.id}` : `/api/v1/inference/batch/${speech.id}`;
  const job = useResource(() => load(speech), [speech.id]);
  const [share, setShare] = useState(0);
  const [connected, setConnected] = useState(true);
  const ended = job.data && !['queued', 'running'].includes(job.data.status);
  useEffect(() => {
    if (!job.data || ended) return;
    return followEvents(`${path}/progress`, {
      onEvent: ({ kind, data }) => {
        if (kind === 'progress') setShare(Number(data['progress'] ?? 0));
        else job.reload();
      },
      onConnection: setConnected,
      onError: job.reload,
    });
  }, [path, job.data !== undefined, ended]);
  if (job.error?.status === 404) return <Notice>{t('speak.jobExpired')}</Notice>;
  if (job.error && !job.data) return <ErrorNote error={job.error} retry={job.reload} />;
  if (!job.data) return <Loading />;
  const { status, result, error_message: failure } = job.data;
  if (status === 'completed' && result) {
    const name = `${speech.id}.${speech.kind === 'batch' ? 'zip' : job.data.format === 'opus' ? 'ogg' : job.data.format}`;
    return (
      <div class="row">
        {speech.kind === 'job' && <Recording path={result.download_url} label={speech.settings.text.slice(0, 60)} />}
        {result.failed ? <Notice kind="warning">{t('speak.itemsFailed', { n: result.failed })}</Notice> : null}
        <ActionButton work={async () => saveBlob(await fetchBlob(result.download_url), name)}>{t('common.download')}</ActionButton>
      </div>
    );
  }
  if (ended) {
    return (
      <p>
        <Status value={status} /> <span dir="auto">{failure}</span>
      </p>
    );
  }
  return (
    <>
      <Connection connected={connected} />
      <ProgressBar share={Math.max(share, job.data.progress)} label={t('speak.jobProgress')} />
      <ActionButton
        work={async () => {
          await cancel(speech);
          job.reload();
        }}
      >
        {t('common.cancel')}
      </ActionButton>
    </>
  );
}

async function load(speech: Speech): Promise<Job> {
  if (speech.kind === 'job') {
    return call(api.GET('/api/v1/inference/{inference_id}', { params: { path: { inference_id: speech.id } } }));
  }
  const batch = await call(api.GET('/api/v1/inference/batch/{batch_id}', { params: { path: { batch_id: speech.id } } }));
  return { ...batch, format: 'zip' };
}

async function cancel(speech: Speech): Promise<void> {
  if (speech.kind === 'job') {
    await call(api.DELETE('/api/v1/inference/{inference_id}', { params: { path: { inference_id: speech.id } } }));
  } else {
    await call(api.DELETE('/api/v1/inference/batch/{batch_id}', { params: { path: { batch_id: speech.id } } }));
  }
}
