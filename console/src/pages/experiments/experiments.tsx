// Experiments, expert mode: a list, a form for a new one, one with its stages.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { draft } from '../../app/drafts';
import { formatTime, t, term } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { linkTo, navigate } from '../../app/router';
import { can } from '../../app/session';
import { ActionButton, useAction } from '../../ui/action';
import { Dropzone } from '../../ui/dropzone';
import { ErrorNote, Name, Status } from '../../ui/feedback';
import { LanguageField, SelectField, TextField } from '../../ui/fields';
import { Paged } from '../../ui/paged';
import { Uploading, useUploads } from '../../ui/uploading';
import { ExperimentPage } from './experiment';

type Experiment = Schemas['ExperimentView'];
const form = draft('experiment', { name: '', version: 'nano', language: 'en', fileId: '', filename: '', dataset: '' });

export function Experiments({ rest }: { rest: string[] }) {
  const [id, stage] = rest;
  const [round, setRound] = useState(0);
  if (id) return <ExperimentPage key={id} id={id} stage={stage} />;
  return (
    <>
      {can('train') && <NewExperiment />}
      <Paged<Experiment>
        label={t('page.experiments')}
        load={(limit, offset) => call(api.GET('/api/v1/experiments', { params: { query: { limit, offset } } }))}
        refresh={[round]}
        rowKey={(experiment) => experiment.id}
        empty={t('experiment.none')}
        columns={[
          {
            title: t('common.name'),
            cell: (experiment) => <a href={linkTo('experiments', experiment.id)}><Name>{experiment.exp_name}</Name></a>,
          },
          { title: t('common.status'), cell: (experiment) => <Status value={experiment.status} /> },
          { title: t('common.version'), cell: (experiment) => experiment.version },
          { title: t('common.language'), cell: (experiment) => term('language', experiment.language) },
          { title: t('experiment.of'), cell: (experiment) => (experiment.task_id ? t('experiment.task') : t('experiment.expert')) },
          { title: t('common.created'), cell: (experiment) => formatTime(experiment.created_at) },
          {
            title: t('common.actions'),
            cell: (experiment) =>
              can('train') && experiment.task_id === null ? (
                <ActionButton
                  confirm={t('experiment.deleteConfirm')}
                  work={async () => {
                    await call(api.DELETE('/api/v1/experiments/{exp_id}', { params: { path: { exp_id: experiment.id } } }));
                    setRound((count) => count + 1);
                  }}
                >
                  {t('common.delete')}
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

function NewExperiment() {
  const settings = form.value;
  const set = (change: Partial<typeof settings>): void => {
    form.value = { ...form.value, ...change };
  };
  const uploads = useUploads();
  const info = useResource(() => call(api.GET('/api/v1/info')), []);
  const datasets = useResource(
    () => call(api.GET('/api/v1/datasets', { params: { query: { limit: 500, status: 'ready' } } })),
    [],
  );
  const upload = useAction(async (file: File) => {
    const uploaded = await uploads.file(file, file.name, 'training');
    set({ fileId: uploaded.id, filename: uploaded.filename, dataset: '' });
  });
  const create = useAction(async () => {
    const source = settings.dataset ? { dataset_id: settings.dataset } : { audio_file_id: settings.fileId };
    const version = settings.version as Schemas['NewExperiment']['version'];
    const body = { exp_name: settings.name.trim(), version, language: settings.language, ...source };
    const experiment = await call(api.POST('/api/v1/experiments', { body }));
    set({ name: '', fileId: '', filename: '' });
    navigate('experiments', experiment.id);
  });
  return (
    <details class="card">
      <summary>{t('experiment.new')}</summary>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void create.run();
        }}
      >
        <div class="grid-fields">
          <TextField label={t('common.name')} value={settings.name} onChange={(name) => set({ name })} maxLength={100} required />
          <SelectField
            label={t('new.version')}
            value={settings.version}
            options={(info.data?.versions ?? [settings.version]).map((version) => [version, version] as const)}
            onChange={(version) => set({ version })}
          />
          <LanguageField label={t('new.language')} value={settings.language} onChange={(language) => set({ language })} />
          <SelectField
            label={t('experiment.dataset')}
            value={settings.dataset}
            options={[
              ['', t('experiment.recording')] as const,
              ...(datasets.data?.items ?? []).map((dataset) => [dataset.id, dataset.name] as const),
            ]}
            onChange={(dataset) => set({ dataset })}
          />
        </div>
        {!settings.dataset && (
          <>
            <Dropzone label={t('new.choose')} accept="audio/*" onFiles={([file]) => file && void upload.run(file)} />
            {settings.filename && <Name>{settings.filename}</Name>}
            <Uploading upload={uploads.current} />
          </>
        )}
        <ErrorNote error={upload.error ?? create.error} />
        <button type="submit" class="small" disabled={!settings.name.trim() || !(settings.dataset || settings.fileId) || create.busy}>
          {t('experiment.create')}
        </button>
      </form>
    </details>
  );
}
