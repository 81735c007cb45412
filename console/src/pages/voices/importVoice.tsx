// A voice from files: an exported archive, or checkpoints of GPT-SoVITS with a prompt.
import { useState } from 'preact/hooks';
import type { Schemas } from '../../api/client';
import { jobResult } from '../../api/jobs';
import { sendForm } from '../../api/upload';
import { useDraft } from '../../app/drafts';
import { t } from '../../app/i18n';
import { linkTo } from '../../app/router';
import { useAction } from '../../ui/action';
import { Dropzone } from '../../ui/dropzone';
import { ErrorNote, Name, Notice } from '../../ui/feedback';
import { LanguageField, TextField } from '../../ui/fields';
import { Uploading, useUploads } from '../../ui/uploading';

type Job = Schemas['JobView'];
type Part = 'archive' | 'gpt' | 'sovits' | 'prompt';
const ACCEPT: Record<Part, string> = { archive: '.zip', gpt: '.ckpt,.safetensors', sovits: '.pth,.safetensors', prompt: 'audio/*' };

export function ImportVoice({ done }: { done: () => void }) {
  const [files, setFiles] = useState<Partial<Record<Part, File>>>({});
  const [fields, setFields] = useDraft('import', { name: '', text: '', language: 'auto' });
  const uploads = useUploads();
  const [imported, setImported] = useState('');
  const whole = files.archive !== undefined;
  const complete = whole || (files.gpt && files.sovits && files.prompt && fields.name.trim() && fields.text.trim());
  const send = useAction(async () => {
    const form = new FormData();
    if (fields.name.trim()) form.append('name', fields.name.trim());
    if (!whole) {
      form.append('text', fields.text.trim());
      form.append('language', fields.language);
    }
    for (const part of whole ? (['archive'] as const) : (['gpt', 'sovits', 'prompt'] as const)) form.append(part, files[part]!);
    setImported('');
    const name = whole ? files.archive!.name : files.sovits!.name;
    const job = await uploads.follow(name, (onProgress) => sendForm<Job>('/api/v1/voices/import', form, onProgress));
    const { voice_id: voice } = await jobResult(job.id);
    setImported(typeof voice === 'string' ? voice : '');
    setFiles({});
    setFields({ ...fields, name: '', text: '' });
    done();
  });
  const drop = (part: Part) => (
    <div key={part}>
      <Dropzone
        label={t(`import.${part}`)}
        accept={ACCEPT[part]}
        onFiles={([file]) => file && setFiles((before) => ({ ...before, [part]: file }))}
      />
      {files[part] && <Name>{files[part].name}</Name>}
    </div>
  );
  return (
    <details class="card">
      <summary>{t('import.title')}</summary>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send.run();
        }}
      >
        <div class="columns">
          <div>
            <h2>{t('import.fromArchive')}</h2>
            {drop('archive')}
          </div>
          <div>
            <h2>{t('import.fromFiles')}</h2>
            {(['gpt', 'sovits', 'prompt'] as const).map(drop)}
            <TextField label={t('prompts.text')} value={fields.text} onChange={(text) => setFields({ ...fields, text })} />
            <LanguageField label={t('common.language')} value={fields.language} onChange={(language) => setFields({ ...fields, language })} />
          </div>
        </div>
        <TextField label={t('new.name')} value={fields.name} onChange={(name) => setFields({ ...fields, name })} maxLength={100} />
        <Uploading upload={uploads.current} />
        {send.busy && !uploads.current && <p role="status">{t('import.reading')}</p>}
        <ErrorNote error={send.error} />
        {imported && (
          <Notice kind="success">
            {t('import.done')} <a href={linkTo('voices', imported)}>{t('task.openVoice')}</a>
          </Notice>
        )}
        <button type="submit" class="small" disabled={!complete || send.busy}>
          {t('import.import')}
        </button>
      </form>
    </details>
  );
}
