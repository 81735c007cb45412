// A task while it runs and after: stages, curves, epochs to listen to, what can be done now.
import { useEffect, useState } from 'preact/hooks';
import { api, ApiError, call, type Schemas } from '../../api/client';
import { followEvents } from '../../api/events';
import { formatNumber, formatRemaining, formatTime, t, term } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { linkTo } from '../../app/router';
import { can } from '../../app/session';
import { ActionButton } from '../../ui/action';
import { Connection, ErrorNote, Loading, Name, Notice, ProgressBar, Status } from '../../ui/feedback';
import { addLine, Log } from '../experiments/log';
import { Training } from '../experiments/training';
import { stageState, TRAININGS } from '../experiments/stages';

type Task = Schemas['TaskView'];
const ENDED = new Set(['completed', 'failed', 'cancelled']);

interface Live {
  stage?: string;
  progress?: number;
  overall?: number;
  message?: string;
  epoch?: number;
  total?: number;
  loss?: number;
}

export function TaskPage({ id }: { id: string }) {
  const task = useResource(() => call(api.GET('/api/v1/tasks/{task_id}', { params: { path: { task_id: id } } })), [id]);
  const [live, setLive] = useState<Live>({});
  const [connected, setConnected] = useState(true);
  const [round, setRound] = useState(0);
  const [log, setLog] = useState<string[]>([]);
  const ended = task.data ? ENDED.has(task.data.status) : false;
  useEffect(() => {
    if (ended) return;
    let stage = '';
    return followEvents(`/api/v1/tasks/${id}/progress`, {
      onEvent: ({ kind, data }) => {
        if (kind === 'progress') {
          setLive(readProgress(data));
          if (data['stage'] === stage && !isTrainingProgress(data)) return;
          stage = String(data['stage']);
        } else if (kind === 'log') {
          setLog((lines) => addLine(lines, data));
          return;
        }
        setRound((count) => count + 1);
      },
      onConnection: setConnected,
      onError: task.reload,
    });
  }, [id, ended]);
  useEffect(() => {
    if (round > 0) task.reload();
  }, [round]);
  if (task.error && !task.data) return <ErrorNote error={task.error} retry={task.reload} />;
  if (!task.data) return <Loading />;
  return (
    <>
      <p>
        <a href={linkTo('new-voice')}>← {t('task.list')}</a>
      </p>
      <Connection connected={connected || ended} />
      <Summary task={task.data} live={live} reload={task.reload} ended={ended} />
      <Stages task={task.data} round={round} ended={ended} reload={() => setRound((count) => count + 1)} />
      {log.length > 0 && (
        <details>
          <summary>{t('task.log')}</summary>
          <Log lines={log} />
        </details>
      )}
    </>
  );
}

/** Whether there are new losses to draw: a training reports them at most once a second. */
function isTrainingProgress(data: Record<string, unknown>): boolean {
  return typeof data['epoch'] === 'number';
}

function readProgress(data: Record<string, unknown>): Live {
  const number = (name: string): number | undefined => (typeof data[name] === 'number' ? data[name] : undefined);
  const text = (name: string): string | undefined => (typeof data[name] === 'string' ? data[name] : undefined);
  const [stage, message] = [text('stage'), text('message')];
  const values = { progress: number('progress'), overall: number('overall_progress'), epoch: number('epoch'), total: number('total_epochs'), loss: number('loss') };
  const known = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Live;
  return { ...known, ...(stage ? { stage } : {}), ...(message ? { message } : {}) };
}

function Summary(props: { task: Task; live: Live; ended: boolean; reload: () => void }) {
  const { task, live, ended } = props;
  const overall = ended ? task.overall_progress : (live.overall ?? task.overall_progress);
  const stage = live.stage ?? (task.current_stage || '');
  const training = TRAININGS.includes(stage) && !ended;
  const control = (action: 'pause' | 'resume' | 'stop_after_epoch') => async (): Promise<void> => {
    const path = { exp_id: task.exp_id, stage };
    await call(api.POST('/api/v1/experiments/{exp_id}/stages/{stage}/control', { params: { path }, body: { action, confirm: false } }));
    props.reload();
  };
  return (
    <section class="card" aria-label={t('task.summary')}>
      <div class="row">
        <h2>
          <Name>{task.exp_name}</Name>
        </h2>
        <Status value={task.status} />
        <span class="muted">
          {task.options['version']} · {term('language', task.options['language'] ?? '')} ·{' '}
          {term('quality', task.options['quality'] ?? '')} · {formatTime(task.created_at)}
        </span>
      </div>
      <ProgressBar share={overall} label={t('task.progressOf', { name: task.exp_name })} />
      {!ended && (
        <p role="status">
          {stage ? term('stage', stage) : t('task.waiting')}
          {live.epoch !== undefined && ` · ${t('task.epoch', { n: live.epoch, of: live.total ?? '?' })}`}
          {live.loss !== undefined && ` · ${t('task.loss', { loss: formatNumber(live.loss, 3) })}`}
          {task.remaining_seconds !== null && ` · ${t('task.remaining', { time: formatRemaining(task.remaining_seconds) })}`}
        </p>
      )}
      {task.error_message && <ErrorNote error={taskError(task)} />}
      {task.status === 'completed' && task.voice_id && (
        <Notice kind="success">
          {t('task.ready')} <a href={linkTo('speak')}>{t('page.speak')}</a> ·{' '}
          <a href={linkTo('voices', task.voice_id)}>{t('task.openVoice')}</a>
        </Notice>
      )}
      {can('train') && !ended && (
        <div class="row">
          {training && (
            <>
              <ActionButton work={control('pause')}>{t('task.pause')}</ActionButton>
              <ActionButton work={control('resume')}>{t('task.resume')}</ActionButton>
              <ActionButton work={control('stop_after_epoch')}>{t('task.stopAfterEpoch')}</ActionButton>
            </>
          )}
          <ActionButton
            confirm={t('task.cancelConfirm')}
            work={async () => {
              await call(api.DELETE('/api/v1/tasks/{task_id}', { params: { path: { task_id: task.id } } }));
              props.reload();
            }}
          >
            {t('task.cancel')}
          </ActionButton>
        </div>
      )}
    </section>
  );
}

function taskError(task: Task): ApiError {
  const hint = task.error?.['hint'];
  return new ApiError('failed', task.error_message ?? '', typeof hint === 'string' ? hint : '');
}

/** The stages with their statuses, and each training that has begun. */
function Stages(props: { task: Task; round: number; ended: boolean; reload: () => void }) {
  const { task } = props;
  const stages = useResource(
    () => call(api.GET('/api/v1/experiments/{exp_id}/stages', { params: { path: { exp_id: task.exp_id } } })),
    [task.exp_id, props.round, task.status],
  );
  if (stages.error && !stages.data) return <ErrorNote error={stages.error} retry={stages.reload} />;
  if (!stages.data) return <Loading />;
  const shown = stages.data.items.filter((stage) => stage.stage_type !== 'test_inference');
  const begun = shown.filter((stage) => TRAININGS.includes(stage.stage_type) && !['pending', 'queued'].includes(stageState(stage)));
  return (
    <>
      <section class="card">
        <h2>{t('task.stages')}</h2>
        <ol class="steps">
          {shown.map((stage) => (
            <li key={stage.stage_type}>
              {term('stage', stage.stage_type)} <Status value={stageState(stage)} />
            </li>
          ))}
        </ol>
      </section>
      {begun.map((stage) => (
        <Training
          key={stage.stage_type}
          experiment={task.exp_id}
          stage={stage.stage_type}
          voice={task.voice_id}
          round={`${props.round} ${task.status}`}
        />
      ))}
    </>
  );
}
