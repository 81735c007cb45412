// Data sets: a list, a form for a new one, one with its versions and segments.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { draft } from '../../app/drafts';
import { formatTime, t, term } from '../../app/i18n';
import { linkTo, navigate } from '../../app/router';
import { can } from '../../app/session';
import { ActionButton, useAction } from '../../ui/action';
import { Dropzone } from '../../ui/dropzone';
import { ErrorNote, Name, Status } from '../../ui/feedback';
import { LanguageField, TextField } from '../../ui/fields';
import { Paged } from '../../ui/paged';
import { Uploading, useUploads } from '../../ui/uploading';
import { DatasetPage } from './dataset';

export function Datasets({ rest }: { rest: string[] }) {
  const [id] = rest;
  const [round, setRound] = useState(0);
  if (id) return <DatasetPage key={id} id={id} />;
  return (
    <>
      {can('train') && <NewDataset />}
      <Paged<Schemas['DatasetSummary']>
        label={t('page.datasets')}
        load={(limit, offset) => call(api.GET('/api/v1/datasets', { params: { query: { limit, offset } } }))}
        refresh={[round]}
        rowKey={(dataset) => dataset.id}
        empty={t('dataset.none')}
        columns={[
          { title: t('common.name'), cell: (dataset) => <a href={linkTo('datasets', dataset.id)}><Name>{dataset.name}</Name></a> },
          { title: t('common.status'), cell: (dataset) => <Status value={dataset.status} /> },
          { title: t('common.language'), cell: (dataset) => term('language', dataset.language) },
          { title: t('common.version'), cell: (dataset) => dataset.latest_version, right: true },
          { title: t('common.created'), cell: (dataset) => formatTime(dataset.created_at) },
          {
            title: t('common.actions'),
            cell: (dataset) =>
              can('train') ? (
                <ActionButton
                  confirm={t('dataset.deleteConfirm')}
                  work={async () => {
                    await call(api.DELETE('/api/v1/datasets/{dataset_id}', { params: { path: { dataset_id: dataset.id } } }));
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

/** Files are uploaded as soon as they are chosen, so that a reload keeps them. */
const form = draft('dataset', { name: '', language: 'auto', files: [] as { id: string; name: string }[] });

function NewDataset() {
  const settings = form.value;
  const set = (change: Partial<typeof settings>): void => {
    form.value = { ...form.value, ...change };
  };
  const uploads = useUploads();
  const upload = useAction(async (chosen: File[]) => {
    for (const file of chosen) {
      const { id } = await uploads.file(file, file.name, 'dataset');
      set({ files: [...form.value.files, { id, name: file.name }] });
    }
  });
  const create = useAction(async () => {
    const { name, language, files } = settings;
    const ids = files.map((file) => file.id);
    const body = { name: name.trim(), language: language as Schemas['NewDataset']['language'], file_ids: ids, files: [], priority: 5 };
    const dataset = await call(api.POST('/api/v1/datasets', { body }));
    set({ name: '', files: [] });
    navigate('datasets', dataset.id);
  });
  return (
    <details class="card" open={settings.files.length > 0}>
      <summary>{t('dataset.new')}</summary>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void create.run();
        }}
      >
        <p class="muted">{t('dataset.newHelp')}</p>
        {!upload.busy && (
          <Dropzone label={t('dataset.files')} accept="audio/*,.zip" multiple onFiles={(chosen) => void upload.run(chosen)} />
        )}
        <ul>
          {settings.files.map((file) => (
            <li key={file.id}>
              <Name>{file.name}</Name>{' '}
              <button
                type="button"
                class="outline small secondary"
                onClick={() => set({ files: settings.files.filter((other) => other.id !== file.id) })}
              >
                {t('common.remove')}
              </button>
            </li>
          ))}
        </ul>
        <Uploading upload={uploads.current} after={t('new.examining')} />
        <div class="grid-fields">
          <TextField label={t('common.name')} value={settings.name} onChange={(name) => set({ name })} maxLength={100} required />
          <LanguageField label={t('common.language')} value={settings.language} onChange={(language) => set({ language })} />
        </div>
        <ErrorNote error={upload.error ?? create.error} />
        <button
          type="submit"
          class="small"
          disabled={!settings.name.trim() || settings.files.length === 0 || upload.busy || create.busy}
        >
          {t('dataset.create')}
        </button>
      </form>
    </details>
  );
}
