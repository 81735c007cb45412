// Data sets: a list, a form for a new one, one with its versions and segments.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { uploadFile, type Upload } from '../../api/upload';
import { formatTime, t, term } from '../../app/i18n';
import { linkTo, navigate } from '../../app/router';
import { can } from '../../app/session';
import { ActionButton, useAction } from '../../ui/action';
import { Dropzone } from '../../ui/dropzone';
import { ErrorNote, Name, ProgressBar, Status } from '../../ui/feedback';
import { SelectField, TextField } from '../../ui/fields';
import { Paged } from '../../ui/paged';
import { DatasetPage } from './dataset';

const LANGUAGES = ['auto', 'zh', 'en', 'ja', 'ko', 'yue'];

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

function NewDataset() {
  const [name, setName] = useState('');
  const [language, setLanguage] = useState('auto');
  const [files, setFiles] = useState<File[]>([]);
  const [current, setCurrent] = useState<{ name: string; upload: Upload<unknown> }>();
  const [share, setShare] = useState(0);
  const create = useAction(async () => {
    const ids: string[] = [];
    try {
      for (const file of files) {
        setShare(0);
        const upload = uploadFile(file, file.name, 'dataset', setShare);
        setCurrent({ name: file.name, upload });
        ids.push((await upload.done).id);
      }
    } finally {
      setCurrent(undefined);
    }
    const body = { name: name.trim(), language: language as Schemas['NewDataset']['language'], file_ids: ids, files: [], priority: 5 };
    const dataset = await call(api.POST('/api/v1/datasets', { body }));
    navigate('datasets', dataset.id);
  });
  return (
    <details class="card">
      <summary>{t('dataset.new')}</summary>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void create.run();
        }}
      >
        <p class="muted">{t('dataset.newHelp')}</p>
        <Dropzone label={t('dataset.files')} accept="audio/*,.zip" multiple onFiles={(chosen) => setFiles([...files, ...chosen])} />
        <ul>
          {files.map((file, index) => (
            <li key={index}>
              <Name>{file.name}</Name>{' '}
              <button type="button" class="outline small secondary" onClick={() => setFiles(files.filter((_, other) => other !== index))}>
                {t('common.remove')}
              </button>
            </li>
          ))}
        </ul>
        <div class="grid-fields">
          <TextField label={t('common.name')} value={name} onChange={setName} maxLength={100} required />
          <SelectField
            label={t('common.language')}
            value={language}
            options={LANGUAGES.map((code) => [code, term('language', code)] as const)}
            onChange={setLanguage}
          />
        </div>
        {current && (
          <div role="status">
            <Name>{current.name}</Name>
            <ProgressBar share={share} label={t('new.upload')} />
            <button type="button" class="outline small" onClick={() => current.upload.cancel()}>
              {t('common.cancel')}
            </button>
          </div>
        )}
        <ErrorNote error={create.error} />
        <button type="submit" class="small" disabled={!name.trim() || files.length === 0 || create.busy}>
          {t('dataset.create')}
        </button>
      </form>
    </details>
  );
}
