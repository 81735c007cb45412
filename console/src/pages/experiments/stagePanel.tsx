// One stage: a form from its schema, run and control, its log, what it left, and its curves beside another experiment's.
import { useEffect, useState } from 'preact/hooks';
import { api, call, fetchBlob, type Schemas } from '../../api/client';
import { useDraft } from '../../app/drafts';
import { formatTime, t, term } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { can } from '../../app/session';
import { ActionButton, useAction } from '../../ui/action';
import { ErrorNote, Loading, Notice, ProgressBar, Status } from '../../ui/feedback';
import { Recording } from '../../ui/recording';
import { Tree } from '../../ui/tree';
import { CompareCurves } from './compareCurves';
import { ParameterForm, type Values, changedValues } from './parameterForm';
import { StageLog } from './log';
import { ACTIVE, progressText, stageState, TRAININGS } from './stages';
import { Training } from './training';

interface PanelProps {
  experiment: Schemas['ExperimentView'];
  schema: Schemas['StageSchema'];
  run: Schemas['StageView'];
  round: string;
  /** The lines of its log while it runs. */
  log: string[] | undefined;
  changed: () => void;
}

export function StagePanel({ experiment, schema, run, round, log, changed }: PanelProps) {
  const stage = schema.stage_type;
  const path = { exp_id: experiment.id, stage };
  const state = stageState(run);
  const active = ACTIVE.includes(state);
  const [values, setValues] = useDraft<Values>(`stage.${experiment.id}.${stage}`, {});
  const [warnings, setWarnings] = useState<string[]>([]);
  const start = useAction(async () => {
    const body = changedValues(schema, values);
    const started = await call(api.POST('/api/v1/experiments/{exp_id}/stages/{stage}', { params: { path }, body: body as never }));
    setWarnings(started.warnings);
    setValues({});
    changed();
  });
  const control = (action: 'pause' | 'resume' | 'stop_after_epoch') => async (): Promise<void> => {
    await call(api.POST('/api/v1/experiments/{exp_id}/stages/{stage}/control', { params: { path }, body: { action, confirm: false } }));
    changed();
  };
  const training = TRAININGS.includes(stage);
  const begun = state !== 'pending' && state !== 'queued';
  return (
    <>
      <section class="card" aria-label={term('stage', stage)}>
        <div class="row">
          <h2>{term('stage', stage)}</h2>
          <Status value={state} />
          {run.run > 1 && <span class="muted">{t('experiment.run', { n: run.run })}</span>}
          {run.completed_at && <span class="muted">{formatTime(run.completed_at)}</span>}
        </div>
        {schema.needs.length > 0 && (
          <p class="muted">{t('experiment.needs', { stages: schema.needs.map((need) => term('stage', need)).join(', ') })}</p>
        )}
        {state === 'stale' && <Notice kind="warning">{t('experiment.stale')}</Notice>}
        {active && <ProgressBar share={run.progress} label={term('stage', stage)} />}
        {run.message && <p dir="auto">{progressText(run)}</p>}
        {run.error_message && <Notice kind="warning">{run.error_message}</Notice>}
        {can('train') && (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void start.run();
            }}
          >
            <ParameterForm schema={schema} values={values} config={run.config ?? {}} onValues={setValues} />
            <ErrorNote error={start.error} />
            {warnings.map((warning) => (
              <Notice key={warning} kind="warning">
                {warning}
              </Notice>
            ))}
            <div class="row">
              <button type="submit" class="small" disabled={active || start.busy} aria-busy={start.busy}>
                {begun ? t('experiment.again') : t('experiment.start')}
              </button>
              {training && active && (
                <>
                  <ActionButton work={control('pause')}>{t('task.pause')}</ActionButton>
                  <ActionButton work={control('stop_after_epoch')}>{t('task.stopAfterEpoch')}</ActionButton>
                </>
              )}
              {state === 'paused' && <ActionButton work={control('resume')}>{t('task.resume')}</ActionButton>}
              {(active || state === 'paused') && (
                <ActionButton
                  work={async () => {
                    await call(api.DELETE('/api/v1/experiments/{exp_id}/stages/{stage}', { params: { path } }));
                    changed();
                  }}
                >
                  {t('common.cancel')}
                </ActionButton>
              )}
            </div>
          </form>
        )}
      </section>
      {training && begun && <Training experiment={experiment.id} stage={stage} voice={experiment.voice_id} round={round} />}
      {training && begun && <CompareCurves experiment={experiment} stage={stage} round={round} />}
      {run.outputs && Object.keys(run.outputs).length > 0 && <Outputs experiment={experiment.id} stage={stage} run={run} />}
      {begun && <StageLog key={run.run} experiment={experiment.id} stage={stage} lines={log} />}
    </>
  );
}

function Outputs({ experiment, stage, run }: { experiment: string; stage: string; run: Schemas['StageView'] }) {
  const outputs = run.outputs ?? {};
  const sample = typeof outputs['sample'] === 'string' ? outputs['sample'] : '';
  const picture = typeof outputs['curves'] === 'string' ? outputs['curves'] : '';
  const artefact = (key: string): string =>
    `/api/v1/experiments/${experiment}/stages/${stage}/artefacts/${key.slice(key.lastIndexOf('/') + 1)}`;
  return (
    <details class="card">
      <summary>{t('experiment.artefacts')}</summary>
      {sample && <Recording path={artefact(sample)} label={term('stage', stage)} download="sample.wav" />}
      {picture && <Picture path={artefact(picture)} />}
      <Tree value={outputs} />
    </details>
  );
}

function Picture({ path }: { path: string }) {
  const picture = useResource(async () => URL.createObjectURL(await fetchBlob(path)), [path]);
  useEffect(() => () => URL.revokeObjectURL(picture.data ?? ''), [picture.data]);
  if (picture.error) return <ErrorNote error={picture.error} retry={picture.reload} />;
  return picture.data ? <img src={picture.data} alt={t('training.losses')} /> : <Loading />;
}
