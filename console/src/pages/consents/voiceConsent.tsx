// The consent of a voice: who gave it, when, for what and until when; given, heard and withdrawn here.
import { useState } from 'preact/hooks';
import { api, ApiError, call } from '../../api/client';
import { formatTime, t } from '../../app/i18n';
import { type Resource, useResource } from '../../app/resource';
import { ActionButton, useAction } from '../../ui/action';
import { ErrorNote, Loading, Name, Notice, Status } from '../../ui/feedback';
import { CheckField } from '../../ui/fields';
import { Recording } from '../../ui/recording';
import { changeVoice, type Voice } from '../voices/changes';
import { type Consent, EMPTY_CONSENT, saveConsent } from './consent';
import { ConsentFields } from './consentFields';

export function VoiceConsent({ voice, data, editable }: { voice: Resource<Voice>; data: Voice; editable: boolean }) {
  const id = data.consent_id;
  const consent = useResource(() => (id ? readConsent(id) : Promise.resolve(null)), [id]);
  const counts = consent.data?.status === 'valid';
  return (
    <section class="card" aria-label={t('consent.title')}>
      <h3>{t('consent.title')}</h3>
      <ErrorNote error={consent.error} retry={consent.reload} />
      {!consent.data && !consent.error && id !== null && (consent.loading ? <Loading /> : <p class="muted">{t('consent.ofAnother')}</p>)}
      {consent.data && <Facts consent={consent.data} />}
      {id === null && <Notice kind="warning">{t('consent.none')}</Notice>}
      {consent.data && counts && editable && (
        <ActionButton
          confirm={t('consent.withdrawConfirm')}
          work={async () =>
            consent.set(await call(api.POST('/api/v1/consents/{consent_id}/withdraw', { params: { path: { consent_id: consent.data!.id } } })))
          }
        >
          {t('consent.withdraw')}
        </ActionButton>
      )}
      {editable && !counts && !consent.loading && <NewConsent voice={voice} data={data} />}
    </section>
  );
}

/** Return a consent; null for one that another owner has. */
async function readConsent(id: string): Promise<Consent | null> {
  try {
    return await call(api.GET('/api/v1/consents/{consent_id}', { params: { path: { consent_id: id } } }));
  } catch (error) {
    if (error instanceof ApiError && error.code === 'not_found') return null;
    throw error;
  }
}

function Facts({ consent }: { consent: Consent }) {
  return (
    <>
      <dl class="facts">
        <dt>{t('consent.speaker')}</dt>
        <dd>
          <Name>{consent.speaker}</Name>
        </dd>
        <dt>{t('consent.status')}</dt>
        <dd>
          <Status value={consent.status} />
        </dd>
        <dt>{t('consent.given')}</dt>
        <dd>{formatTime(consent.given_at)}</dd>
        <dt>{t('consent.uses')}</dt>
        <dd>{consent.uses.length ? consent.uses.join(', ') : t('consent.anyUse')}</dd>
        <dt>{t('consent.until')}</dt>
        <dd>{consent.expires_at ? formatTime(consent.expires_at) : t('consent.unlimited')}</dd>
        {consent.withdrawn_at && (
          <>
            <dt>{t('consent.withdrawn')}</dt>
            <dd>{formatTime(consent.withdrawn_at)}</dd>
          </>
        )}
      </dl>
      <blockquote dir="auto">{consent.statement}</blockquote>
      {consent.spoken && <Recording path={`/api/v1/consents/${consent.id}/recording`} label={t('consent.recording')} />}
    </>
  );
}

function NewConsent({ voice, data }: { voice: Resource<Voice>; data: Voice }) {
  const [form, setForm] = useState(EMPTY_CONSENT);
  const [agreed, setAgreed] = useState(false);
  const save = useAction(async () => {
    const id = await saveConsent(form, data.name);
    setForm({ ...form, id }); // a second attempt stores it only once
    voice.set(await changeVoice(data.id, { consent_id: id }));
  });
  return (
    <details>
      <summary>{t('consent.add')}</summary>
      <ConsentFields form={form} onChange={setForm} speaker={data.name} language={data.language} />
      {!form.id && <CheckField label={t('new.consent')} checked={agreed} onChange={setAgreed} />}
      <ErrorNote error={save.error} />
      <button type="button" class="small" disabled={(!agreed && !form.id) || save.busy} aria-busy={save.busy} onClick={() => void save.run()}>
        {t('common.save')}
      </button>
    </details>
  );
}
