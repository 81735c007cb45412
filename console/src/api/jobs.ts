// Jobs of the server that a page waits for: asked after, since a page has one event stream at most.
import { t } from '../app/i18n';
import { api, ApiError, call, toApiError } from './client';

const INTERVAL_MS = 700;
const ENDED = new Set(['done', 'dead', 'cancelled']);

/** Wait for a job and return its result; throw its error if it failed. A server that restarts meanwhile is waited for. */
export async function jobResult(id: string): Promise<Record<string, unknown>> {
  for (;;) {
    const job = await call(api.GET('/api/v1/jobs/{job_id}', { params: { path: { job_id: id } } })).catch(unlessAway);
    if (job?.result) return job.result;
    if (job && ENDED.has(job.status)) throw job.error ? toApiError({ error: job.error }, 0) : new ApiError('cancelled', t('error.jobCancelled'));
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

function unlessAway(error: unknown): undefined {
  const away = error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status === 503);
  if (!away) throw error;
}
