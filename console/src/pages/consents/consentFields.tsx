// The fields of a consent, and the phrase to record where the consent is spoken.
import { api, call } from '../../api/client';
import { t } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { useAction } from '../../ui/action';
import { ErrorNote, Notice } from '../../ui/feedback';
import { TextField } from '../../ui/fields';
import { RecordingPanel } from '../newVoice/recordingPanel';
import { type ConsentForm, saveSpoken } from './consent';

interface ConsentFieldsProps {
  form: ConsentForm;
  onChange: (form: ConsentForm) => void;
  /** Who speaks where nothing is typed. */
  speaker: string;
  language: string;
}

export function ConsentFields({ form, onChange, speaker, language }: ConsentFieldsProps) {
  if (form.id) {
    return (
      <Notice kind="success">
        {t('consent.stored')}{' '}
        <button type="button" class="outline small" onClick={() => onChange({ ...form, id: '' })}>
          {t('consent.another')}
        </button>
      </Notice>
    );
  }
  const set = (change: Partial<ConsentForm>): void => onChange({ ...form, ...change });
  return (
    <>
      <div class="grid-fields">
        <TextField
          label={t('consent.speaker')}
          value={form.speaker}
          onChange={(value) => set({ speaker: value })}
          placeholder={speaker}
          maxLength={200}
        />
        <TextField
          label={t('consent.uses')}
          value={form.uses}
          onChange={(uses) => set({ uses })}
          help={t('consent.usesHelp')}
          maxLength={200}
        />
        <TextField label={t('consent.until')} type="date" value={form.until} onChange={(until) => set({ until })} help={t('consent.untilHelp')} />
      </div>
      <SpokenConsent form={form} speaker={speaker} language={language} onStored={(id) => set({ id })} />
    </>
  );
}

function SpokenConsent(props: { form: ConsentForm; speaker: string; language: string; onStored: (id: string) => void }) {
  const phrases = useResource(() => call(api.GET('/api/v1/consents/phrases')), []);
  const phrase = phrases.data?.items.find(({ language }) => language === props.language) ?? phrases.data?.items.find(({ language }) => language === 'en');
  const send = useAction(async (blob: Blob) => {
    props.onStored(await saveSpoken(props.form, props.speaker || t('consent.unnamed'), phrase!.language, blob));
  });
  if (!phrase) return <ErrorNote error={phrases.error} retry={phrases.reload} />;
  return (
    <>
      <RecordingPanel
        title={t('consent.record')}
        help={t('consent.recordHelp')}
        text={phrase.phrase}
        onRecording={(blob) => void send.run(blob)}
      />
      {send.busy && <Notice>{t('consent.checking')}</Notice>}
      <ErrorNote error={send.error} />
    </>
  );
}
