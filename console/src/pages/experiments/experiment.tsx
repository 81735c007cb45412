// One experiment: its stages as a graph, presets, and the stage that was chosen.
import { useEffect, useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { followEvents } from '../../api/events';
import { language, t, term } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { linkTo } from '../../app/router';
import { can } from '../../app/session';
import { ActionButton } from '../../ui/action';
import { Connection, ErrorNote, Loading, Name, Notice, Status } from '../../ui/feedback';
import { SelectField } from '../../ui/fields';
import { StageGraph } from './graph';
import { addLine } from './log';
import { StagePanel } from './stagePanel';
import { ACTIVE, stageState } from './stages';

export function ExperimentPage({ id, stage }: { id: string; stage: string | undefined }) {
  const path = { exp_id: id };
  const experiment = useResource(() => call(api.GET('/api/v1/experiments/{exp_id}', { params: { path } })), [id]);
  const schemas = useResource(() => stageSchemas(), [language.value]);
  const [connected, setConnected] = useState(true);
  const [round, setRound] = useState(0);
  const stages = experiment.data?.stages ?? {};
  const [log, setLog] = useState<string[]>([]);
  const active = Object.values(stages).filter((run) => ACTIVE.includes(stageState(run)));
  const running = active.find((run) => run.stage_type === stage) ?? active[0];
  useEffect(() => {
    if (!running) return;
    return followEvents(`/api/v1/experiments/${id}/stages/${running.stage_type}/progress?log=true`, {
      onEvent: ({ kind, data }) => {
        if (kind === 'log') {
          setLog((lines) => addLine(lines, data));
        } else if (kind !== 'heartbeat') {
          experiment.reload();
          setRound((count) => count + 1);
        }
      },
      onConnection: (open) => {
        setConnected(open);
        if (open) setLog([]); // each connection brings the whole log
      },
      onError: experiment.reload,
    });
  }, [id, running?.stage_type, running?.run]);
  if (experiment.error && !experiment.data) return <ErrorNote error={experiment.error} retry={experiment.reload} />;
  if (!experiment.data || !schemas.data) {
    return schemas.error ? <ErrorNote error={schemas.error} retry={schemas.reload} /> : <Loading />;
  }
  const { data } = experiment;
  const shown = schemas.data.filter((schema) => schema.stage_type in stages);
  const chosen = shown.find((schema) => schema.stage_type === stage) ?? shown[0];
  const changed = (): void => {
    experiment.reload();
    setRound((count) => count + 1);
  };
  return (
    <>
      <p>
        <a href={linkTo('experiments')}>← {t('page.experiments')}</a>
      </p>
      <Connection connected={connected || !running} />
      <section class="card">
        <div class="row">
          <h2>
            <Name>{data.exp_name}</Name>
          </h2>
          <Status value={data.status} />
          <span class="muted">
            {data.version} · {term('language', data.language)}
          </span>
          {data.dataset_id && <a href={linkTo('datasets', data.dataset_id)}>{t('experiment.dataset')}</a>}
          {data.voice_id && <a href={linkTo('voices', data.voice_id)}>{t('task.openVoice')}</a>}
        </div>
        <StageGraph experiment={id} schemas={shown} stages={stages} chosen={chosen?.stage_type ?? ''} />
        {can('train') && <Presets experiment={id} changed={changed} />}
      </section>
      {chosen && (
        <StagePanel
          key={chosen.stage_type}
          experiment={data}
          schema={chosen}
          run={stages[chosen.stage_type]!}
          round={`${round} ${data.updated_at ?? ''}`}
          log={running?.stage_type === chosen.stage_type ? log : undefined}
          changed={changed}
        />
      )}
    </>
  );
}

const NAMES = [
  'convert', 'audio_slice', 'denoise', 'asr', 'text_feature', 'hubert_feature', 'speaker_vector', 'semantic_token',
  'sovits_train', 'gpt_train', 'test_inference',
];

function stageSchemas(): Promise<Schemas['StageSchema'][]> {
  return Promise.all(
    NAMES.map((stage) => call(api.GET('/api/v1/stages/{stage}/schema', { params: { path: { stage } } }))),
  );
}

function Presets({ experiment, changed }: { experiment: string; changed: () => void }) {
  const presets = useResource(() => call(api.GET('/api/v1/stages/presets')), []);
  const [preset, setPreset] = useState('full_training');
  const [warnings, setWarnings] = useState<string[]>([]);
  if (!presets.data) return <ErrorNote error={presets.error} retry={presets.reload} />;
  const chosen = presets.data.items.find((item) => item.id === preset);
  return (
    <div>
      <div class="grid-fields">
        <SelectField
          label={t('experiment.preset')}
          value={preset}
          options={presets.data.items.map(({ id }) => [id, term('preset', id)] as const)}
          onChange={setPreset}
          help={chosen?.stages.map((stage) => term('stage', stage)).join(' → ')}
        />
      </div>
      <ActionButton
        class="small"
        work={async () => {
          const path = { exp_id: experiment, preset };
          const started = await call(api.POST('/api/v1/experiments/{exp_id}/presets/{preset}', { params: { path } }));
          setWarnings(started.warnings);
          changed();
        }}
      >
        {t('experiment.runPreset')}
      </ActionButton>
      {warnings.map((warning) => (
        <Notice key={warning} kind="warning">
          {warning}
        </Notice>
      ))}
    </div>
  );
}
