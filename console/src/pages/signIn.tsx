// Sign-in with an API key, which is kept for the session of this tab.
import { useState } from 'preact/hooks';
import type { ApiError } from '../api/client';
import { t } from '../app/i18n';
import { signedOutBecause, signIn } from '../app/session';
import { ErrorNote, Notice } from '../ui/feedback';
import { TextField } from '../ui/fields';

/** How the administrator calls the program on the server. */
const PROGRAM = document.querySelector<HTMLMetaElement>('meta[name=program]')?.content;

export function SignIn({ error }: { error: ApiError | undefined }) {
  const [key, setKey] = useState('');
  return (
    <article class="sign-in">
      <h1>{t('signIn.title')}</h1>
      <p>{t('signIn.text')}</p>
      <ErrorNote error={error} />
      {!error && signedOutBecause.value && <Notice kind="warning">{signedOutBecause.value}</Notice>}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (key.trim()) signIn(key.trim());
        }}
      >
        <TextField label={t('signIn.key')} type="password" value={key} onChange={setKey} help={t('signIn.kept')} required />
        <button type="submit">{t('signIn.in')}</button>
      </form>
      <small class="muted">
        {t('signIn.create')} <code>{PROGRAM} keys create NAME</code>
      </small>
    </article>
  );
}
