// A consent as it is typed in: who gave it, for what, until when; saved before what needs it.
import { api, call, type Schemas } from '../../api/client';
import { sendForm } from '../../api/upload';
import { t } from '../../app/i18n';

export type Consent = Schemas['ConsentView'];

export interface ConsentForm {
  speaker: string;
  /** Separated by commas. */
  uses: string;
  /** A day; empty: without end. */
  until: string;
  /** Of a consent that is stored already. */
  id: string;
}

export const EMPTY_CONSENT: ConsentForm = { speaker: '', uses: '', until: '', id: '' };

export function usesOf(text: string): string[] {
  return text
    .split(/[,，、;；\n]/)
    .map((use) => use.trim())
    .filter(Boolean);
}

/** Return the end of a day in the browser's time as the API wants it. */
export function endOfDay(day: string): string | null {
  return day ? new Date(`${day}T23:59:59`).toISOString() : null;
}

/** Store a written consent, unless it is stored already; return its id. */
export async function saveConsent(form: ConsentForm, speaker: string): Promise<string> {
  if (form.id) return form.id;
  const body = {
    speaker: form.speaker.trim() || speaker,
    statement: t('new.consent'),
    uses: usesOf(form.uses),
    expires_at: endOfDay(form.until),
    for_all_voices: false,
    name: '',
  };
  return (await call(api.POST('/api/v1/consents', { body }))).id;
}

/** Have a spoken consent checked and stored; return its id. */
export async function saveSpoken(form: ConsentForm, speaker: string, language: string, recording: Blob): Promise<string> {
  const fields = new FormData();
  fields.append('name', form.speaker.trim() || speaker);
  fields.append('language', language);
  fields.append('uses', usesOf(form.uses).join(','));
  fields.append('expires_at', endOfDay(form.until) ?? '');
  fields.append('recording', recording, 'consent.wav');
  return (await sendForm<Schemas['SpokenConsentView']>('/v1/audio/voice_consents', fields, () => undefined).done).id;
}
