// A job of the server that speaks a long text or many: its progress, then its audio or its archive.
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { api, call, fetchBlob, type Schemas } from '../../api/client';
import { followEvents } from '../../api/events';
import { t } from '../../app/i18n';
import { useRefresh, useResource } from '../../app/resource';
import { ActionButton } from '../../ui/action';
import { Connection, ErrorNote, Loading, Notice, ProgressBar, Status } from '../../ui/feedback';
import { Recording, saveBlob } from '../../ui/recording';
import type { Speech } from './settings';

type Job = Pick<Schemas['InferenceView'], 'status' | 'progress' | 'error_message' | 'format'> & {
  result: { download_url: string; failed?: number } | null;
};

/** The id of the job whose events are followed: a browser has few connections to a server, so the others are asked after. */
const followed = signal('');

export function JobProgress({ speech }: { speech: Speech }) {
  const path = speech.kind === 'job' ? `/api/v1/inference/${speech.id}` : `/api/v1/inference/batch/${speech.id}`;
  const job = useResource(() => load(speech), [speech.id]);
  const [share, setShare] = useState(0);
  const [connected, setConnected] = useState(true);
  const ended = job.data && !['queued', 'running'].includes(job.data.status);
  const unfinished = job.data !== undefined && !ended;
  const live = unfinished && (followed.value === '' || followed.value === speech.id);
  useRefresh(job.reload, unfinished && !live);
  useEffect(() => {
    if (!live) return;
    followed.value = speech.id;
    const stop = followEvents(`${path}/progress`, {
      onEvent: ({ kind, data }) => {
        if (kind === 'progress') setShare(Number(data['progress'] ?? 0));
        else job.reload();
      },
      onConnection: setConnected,
      onError: job.reload,
    });
    return () => {
      stop();
      followed.value = '';
    };
  }, [path, live]);
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
      <Connection connected={connected || !live} />
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
