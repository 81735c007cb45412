// The prompts of a voice: recordings whose manner the speech takes on, each with its transcript.
import { useState } from 'preact/hooks';
import { api, call } from '../../api/client';
import { useDraft } from '../../app/drafts';
import { t, term } from '../../app/i18n';
import type { Resource } from '../../app/resource';
import { ActionButton, useAction } from '../../ui/action';
import { Dropzone } from '../../ui/dropzone';
import { ErrorNote, Name } from '../../ui/feedback';
import { AreaField, LanguageField, TextField } from '../../ui/fields';
import { Recording } from '../../ui/recording';
import { Uploading, useUploads } from '../../ui/uploading';
import { changeVoice, type Voice } from './changes';
import { Proposals } from './proposals';
import { promptPath } from './voices';

export function Prompts({ voice, data, editable }: { voice: Resource<Voice>; data: Voice; editable: boolean }) {
  return (
    <section class="card">
      <h3>{t('voices.prompts')}</h3>
      <p class="muted">{t('prompts.help')}</p>
      {data.prompts.map((prompt, index) => (
        <Prompt key={prompt.name} voice={voice} data={data} index={index} editable={editable} />
      ))}
      {editable && <NewPrompt voice={voice} data={data} />}
      {editable && <Proposals voice={voice} data={data} />}
    </section>
  );
}

function Prompt(props: { voice: Resource<Voice>; data: Voice; index: number; editable: boolean }) {
  const { voice, data, index } = props;
  const prompt = data.prompts[index]!;
  const [text, setText] = useDraft<string | undefined>(`prompt.${data.id}.${prompt.name}`, undefined);
  const path = { voice: data.id, prompt: prompt.name };
  const save = useAction(async () => {
    voice.set(await call(api.PATCH('/api/v1/voices/{voice}/prompts/{prompt}', { params: { path }, body: { text: text ?? '' } })));
    setText(undefined);
  });
  return (
    <div class="item">
      <div class="row">
        <Name>{prompt.name}</Name>
        {index === 0 && <span class="badge good">{t('prompts.default')}</span>}
        <span class="muted">{term('language', prompt.language)}</span>
      </div>
      <Recording path={promptPath(data.id, prompt.name)} label={prompt.name} />
      {text === undefined ? (
        <p dir="auto">{prompt.text}</p>
      ) : (
        <AreaField label={t('prompts.text')} value={text} onChange={setText} rows={2} />
      )}
      <ErrorNote error={save.error} />
      {props.editable && (
        <div class="row">
          {text === undefined ? (
            <button type="button" class="outline small" onClick={() => setText(prompt.text)}>
              {t('prompts.correct')}
            </button>
          ) : (
            <>
              <button type="button" class="small" disabled={!text.trim() || save.busy} onClick={() => void save.run()}>
                {t('common.save')}
              </button>
              <button type="button" class="outline small secondary" onClick={() => setText(undefined)}>
                {t('common.cancel')}
              </button>
            </>
          )}
          {index > 0 && (
            <ActionButton work={async () => voice.set(await changeVoice(data.id, { default_prompt: prompt.name }))}>
              {t('prompts.makeDefault')}
            </ActionButton>
          )}
          {data.prompts.length > 1 && (
            <ActionButton
              confirm={t('prompts.deleteConfirm')}
              work={async () => {
                await call(api.DELETE('/api/v1/voices/{voice}/prompts/{prompt}', { params: { path } }));
                voice.reload();
              }}
            >
              {t('common.delete')}
            </ActionButton>
          )}
        </div>
      )}
    </div>
  );
}

function NewPrompt({ voice, data }: { voice: Resource<Voice>; data: Voice }) {
  const [file, setFile] = useState<File>();
  const [fields, setFields] = useDraft(`new-prompt.${data.id}`, { name: '', text: '', language: 'auto' });
  const { name, text, language } = fields;
  const uploads = useUploads();
  const add = useAction(async () => {
    const uploaded = await uploads.file(file!, file!.name, 'prompt');
    const body = { name: name.trim(), file_id: uploaded.id, text: text.trim(), language };
    voice.set(await call(api.POST('/api/v1/voices/{voice}/prompts', { params: { path: { voice: data.id } }, body })));
    setFile(undefined);
    setFields({ ...fields, name: '', text: '' });
  });
  return (
    <details>
      <summary>{t('prompts.add')}</summary>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void add.run();
        }}
      >
        <Dropzone label={t('prompts.file')} accept="audio/*" onFiles={([chosen]) => setFile(chosen)} />
        {file && <Name>{file.name}</Name>}
        <div class="grid-fields">
          <TextField label={t('prompts.name')} value={name} onChange={(changed) => setFields({ ...fields, name: changed })} maxLength={100} required />
          <LanguageField label={t('common.language')} value={language} onChange={(changed) => setFields({ ...fields, language: changed })} />
        </div>
        <AreaField label={t('prompts.text')} value={text} onChange={(changed) => setFields({ ...fields, text: changed })} rows={2} />
        <Uploading upload={uploads.current} />
        <ErrorNote error={add.error} />
        <button type="submit" class="small" disabled={!file || !name.trim() || !text.trim() || add.busy}>
          {t('common.add')}
        </button>
      </form>
    </details>
  );
}
