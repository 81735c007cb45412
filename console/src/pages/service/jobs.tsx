// The jobs of the queue.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { formatTime, t, term } from '../../app/i18n';
import { can } from '../../app/session';
import { ActionButton } from '../../ui/action';
import { Status } from '../../ui/feedback';
import { SelectField } from '../../ui/fields';
import { Paged } from '../../ui/paged';

type Job = Schemas['JobSummary'];
const STATUSES = ['waiting', 'delayed', 'processing', 'done', 'dead', 'cancelled'] as const;
const ROLES = ['splitter', 'synthesizer', 'preprocessor', 'trainer', 'files'] as const;

export async function cancelJob(id: string): Promise<void> {
  await call(api.DELETE('/api/v1/jobs/{job_id}', { params: { path: { job_id: id } } }));
}

export function Jobs() {
  const [status, setStatus] = useState('');
  const [role, setRole] = useState('');
  const [round, setRound] = useState(0);
  const load = (limit: number, offset: number) =>
    call(
      api.GET('/api/v1/jobs', {
        params: {
          query: {
            limit,
            offset,
            ...(status ? { status: status as (typeof STATUSES)[number] } : {}),
            ...(role ? { role: role as (typeof ROLES)[number] } : {}),
          },
        },
      }),
    );
  return (
    <>
      <div class="grid-fields">
        <SelectField
          label={t('common.status')}
          value={status}
          options={[['', t('common.all')] as const, ...STATUSES.map((value) => [value, term('status', value)] as const)]}
          onChange={setStatus}
        />
        <SelectField
          label={t('service.role')}
          value={role}
          options={[['', t('common.all')] as const, ...ROLES.map((value) => [value, term('role', value)] as const)]}
          onChange={setRole}
        />
      </div>
      <button type="button" class="outline small" onClick={() => setRound(round + 1)}>
        {t('common.refresh')}
      </button>
      <Paged<Job>
        label={t('service.jobs')}
        load={load}
        refresh={[status, role, round]}
        rowKey={(job) => job.id}
        empty={t('service.noJobs')}
        columns={[
          { title: t('service.job'), cell: (job) => <code>{job.id}</code> },
          { title: t('service.role'), cell: (job) => term('role', job.role) },
          { title: t('common.status'), cell: (job) => <Status value={job.status} /> },
          { title: t('service.attempts'), cell: (job) => job.attempts, right: true },
          { title: t('common.created'), cell: (job) => formatTime(job.created_at) },
          { title: t('common.message'), cell: (job) => <span dir="auto">{errorText(job.error)}</span> },
          {
            title: t('common.actions'),
            cell: (job) =>
              can('train', 'speak') && ['waiting', 'delayed', 'processing'].includes(job.status) ? (
                <ActionButton
                  confirm={t('service.cancelConfirm')}
                  work={async () => {
                    await cancelJob(job.id);
                    setRound((count) => count + 1);
                  }}
                >
                  {t('common.cancel')}
                </ActionButton>
              ) : (
                '–'
              ),
          },
        ]}
      />
    </>
  );
}

export function errorText(error: Record<string, unknown> | null): string {
  return typeof error?.['message'] === 'string' ? error['message'] : '';
}
