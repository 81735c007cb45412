// A voice from files: an exported archive, or checkpoints of GPT-SoVITS with a prompt.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { followEvents } from '../../api/events';
import { sendForm, type Upload } from '../../api/upload';
import { t, term } from '../../app/i18n';
import { linkTo } from '../../app/router';
import { useAction } from '../../ui/action';
import { errorText } from '../service/jobs';
import { Dropzone } from '../../ui/dropzone';
import { ErrorNote, Name, Notice, ProgressBar } from '../../ui/feedback';
import { SelectField, TextField } from '../../ui/fields';

type Job = Schemas['JobView'];
type Part = 'archive' | 'gpt' | 'sovits' | 'prompt';
const ACCEPT: Record<Part, string> = { archive: '.zip', gpt: '.ckpt,.safetensors', sovits: '.pth,.safetensors', prompt: 'audio/*' };
const LANGUAGES = ['auto', 'zh', 'en', 'ja', 'ko', 'yue'];

export function ImportVoice({ done }: { done: () => void }) {
  const [files, setFiles] = useState<Partial<Record<Part, File>>>({});
  const [fields, setFields] = useState({ name: '', text: '', language: 'auto' });
  const [upload, setUpload] = useState<Upload<Job>>();
  const [share, setShare] = useState(0);
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
    setShare(0);
    const started = sendForm<Job>('/api/v1/voices/import', form, setShare);
    setUpload(started);
    try {
      const job = await started.done;
      await ended(job.id);
      const result = await call(api.GET('/api/v1/jobs/{job_id}', { params: { path: { job_id: job.id } } }));
      if (result.error) throw new Error(errorText(result.error));
      const voice = result.result?.['voice_id'];
      setImported(typeof voice === 'string' ? voice : '');
      setFiles({});
      done();
    } finally {
      setUpload(undefined);
    }
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
            <h3>{t('import.fromArchive')}</h3>
            {drop('archive')}
          </div>
          <div>
            <h3>{t('import.fromFiles')}</h3>
            {(['gpt', 'sovits', 'prompt'] as const).map(drop)}
            <TextField label={t('prompts.text')} value={fields.text} onChange={(text) => setFields({ ...fields, text })} />
            <SelectField
              label={t('common.language')}
              value={fields.language}
              options={LANGUAGES.map((code) => [code, term('language', code)] as const)}
              onChange={(language) => setFields({ ...fields, language })}
            />
          </div>
        </div>
        <TextField label={t('new.name')} value={fields.name} onChange={(name) => setFields({ ...fields, name })} maxLength={100} />
        {upload && (
          <div role="status">
            <ProgressBar share={share} label={t('new.upload')} />
            {share >= 1 && <p class="muted">{t('import.reading')}</p>}
            <button type="button" class="outline small" onClick={upload.cancel}>
              {t('common.cancel')}
            </button>
          </div>
        )}
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

function ended(job: string): Promise<void> {
  return new Promise((resolve, reject) => {
    followEvents(`/api/v1/jobs/${job}/progress`, {
      onEvent: ({ kind }) => ['completed', 'failed', 'cancelled'].includes(kind) && resolve(),
      onError: reject,
    });
  });
}
