// The form of Quick mode: a recording, what the server says of it, how long to train, whose voice it is.
import { api, call, type Schemas } from '../../api/client';
import { draft } from '../../app/drafts';
import { formatDuration, t, term } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { navigate } from '../../app/router';
import { useAction } from '../../ui/action';
import { Dropzone } from '../../ui/dropzone';
import { ErrorNote, Loading, Name, Notice } from '../../ui/feedback';
import { CheckField, LanguageField, SelectField, TextField } from '../../ui/fields';
import { Uploading, useUploads } from '../../ui/uploading';
import { READ_ALOUD } from '../../text/readAloud';
import { EMPTY_CONSENT, saveConsent } from '../consents/consent';
import { ConsentFields } from '../consents/consentFields';
import { Analysis } from './analysis';
import { RecordingPanel } from './recordingPanel';

const form = draft('new-voice', { name: '', language: 'zh', version: '', quality: 'standard', fileId: '', consent: false, consentForm: EMPTY_CONSENT });

export function NewVoiceForm() {
  const settings = form.value;
  const set = (change: Partial<typeof settings>): void => {
    form.value = { ...form.value, ...change };
  };
  const info = useResource(() => call(api.GET('/api/v1/info')), []);
  const create = useAction(async () => {
    const { name, language, quality, version, fileId } = form.value;
    const consentId = await saveConsent(form.value.consentForm, name.trim());
    set({ consentForm: { ...form.value.consentForm, id: consentId } }); // a second attempt stores it only once
    const options = { language, quality: quality as 'fast' | 'standard' | 'high', device: '' };
    const body = {
      exp_name: name.trim(),
      audio_file_id: fileId,
      consent_id: consentId,
      options: version ? { ...options, version: version as Schemas['TaskOptions']['version'] } : options,
      priority: 5,
      webhook_url: '',
      idempotency_key: '',
    };
    const task = await call(api.POST('/api/v1/tasks', { body: body }));
    form.value = { ...form.value, name: '', fileId: '', consent: false, consentForm: EMPTY_CONSENT };
    navigate('new-voice', task.id);
  });
  const missing = !settings.fileId
    ? t('new.needsRecording')
    : !settings.name.trim()
      ? t('new.needsName')
      : !settings.consent
        ? t('new.needsConsent')
        : '';
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        if (!missing) void create.run();
      }}
    >
      <h2>{t('new.recording')}</h2>
      {settings.fileId ? (
        <Uploaded id={settings.fileId} remove={() => set({ fileId: '', consent: false, consentForm: EMPTY_CONSENT })} />
      ) : (
        <Source language={settings.language} onFile={(file) => set({ fileId: file.id })} />
      )}
      <h2>{t('new.voice')}</h2>
      <div class="grid-fields">
        <TextField label={t('new.name')} value={settings.name} onChange={(name) => set({ name })} maxLength={100} />
        <LanguageField label={t('new.language')} value={settings.language} onChange={(language) => set({ language })} />
        <SelectField
          label={t('new.version')}
          value={settings.version}
          options={[['', t('new.defaultVersion')] as const, ...(info.data?.versions ?? []).map((v) => [v, v] as const)]}
          onChange={(version) => set({ version })}
          help={t('new.versionHelp')}
        />
        <SelectField
          label={t('new.quality')}
          value={settings.quality}
          options={['fast', 'standard', 'high'].map((quality) => [quality, term('quality', quality)] as const)}
          onChange={(quality) => set({ quality })}
          help={t('new.qualityHelp')}
        />
      </div>
      <h2>{t('consent.title')}</h2>
      <ConsentFields
        form={settings.consentForm}
        onChange={(consentForm) => set({ consentForm })}
        speaker={settings.name.trim()}
        language={settings.language}
      />
      <CheckField label={t('new.consent')} checked={settings.consent} onChange={(consent) => set({ consent })} />
      <ErrorNote error={create.error} />
      <div class="row">
        <button type="submit" disabled={missing !== '' || create.busy} aria-busy={create.busy}>
          {t('new.start')}
        </button>
        {missing && <span class="muted">{missing}</span>}
      </div>
    </form>
  );
}

/** A recording to upload, or to record here. */
function Source(props: { language: string; onFile: (file: Schemas['FileView']) => void }) {
  const uploads = useUploads();
  const send = useAction(async (file: Blob, name: string) => props.onFile(await uploads.file(file, name, 'training')));
  if (uploads.current) return <Uploading upload={uploads.current} after={t('new.examining')} />;
  return (
    <>
      <p class="muted">{t('new.advice')}</p>
      <Dropzone
        label={t('new.choose')}
        accept="audio/*,video/mp4,.flac,.ogg,.opus,.m4a,.mp3,.wav,.aac,.webm"
        onFiles={([file]) => file && void send.run(file, file.name)}
      />
      <RecordingPanel
        title={t('record.title')}
        help={t('record.help')}
        text={READ_ALOUD[props.language] ?? READ_ALOUD['en']!}
        onRecording={(blob) => void send.run(blob, 'recording.wav')}
      />
      <ErrorNote error={send.error} />
    </>
  );
}

function Uploaded({ id, remove }: { id: string; remove: () => void }) {
  const file = useResource(
    () => call(api.GET('/api/v1/files/{file_id}/metadata', { params: { path: { file_id: id } } })),
    [id],
  );
  if (file.error) {
    return (
      <>
        <ErrorNote error={file.error} retry={file.reload} />
        <button type="button" class="outline small" onClick={remove}>
          {t('new.another')}
        </button>
      </>
    );
  }
  if (!file.data) return <Loading />;
  return (
    <div>
      <div class="row">
        <Name>{file.data.filename}</Name>
        <span class="muted">{file.data.duration_seconds !== null && formatDuration(file.data.duration_seconds)}</span>
        <button type="button" class="outline small" onClick={remove}>
          {t('new.another')}
        </button>
      </div>
      {file.data.warnings?.map((warning) => (
        <Notice key={warning} kind="warning">
          {warning}
        </Notice>
      ))}
      <Analysis file={id} />
    </div>
  );
}
