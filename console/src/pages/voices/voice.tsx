// One voice: its prompts, pronunciations, checkpoints, who may use it.
import { api, call } from '../../api/client';
import { useDraft } from '../../app/drafts';
import { formatTime, t, term } from '../../app/i18n';
import { type Resource, useResource } from '../../app/resource';
import { linkTo, navigate } from '../../app/router';
import { can } from '../../app/session';
import { ActionButton, useAction } from '../../ui/action';
import { ErrorNote, Loading, Name } from '../../ui/feedback';
import { LanguageField, TextField } from '../../ui/fields';
import { VoiceConsent } from '../consents/voiceConsent';
import { form as speakForm } from '../speak/settings';
import { changeVoice, type Voice } from './changes';
import { Prompts } from './prompts';
import { Pronunciations } from './pronunciations';
import { exportVoice } from './voices';

export function VoicePage({ id }: { id: string }) {
  const voice = useResource(() => call(api.GET('/api/v1/voices/{voice}', { params: { path: { voice: id } } })), [id]);
  if (voice.error && !voice.data) return <ErrorNote error={voice.error} retry={voice.reload} />;
  if (!voice.data) return <Loading />;
  const { data } = voice;
  const editable = can('train') && (can('admin') || data.visibility === 'private');
  return (
    <>
      <p>
        <a href={linkTo('voices')}>← {t('voices.voices')}</a>
      </p>
      <article class="card">
        <h2>
          <Name>{data.name}</Name>
        </h2>
        <dl class="facts">
          <dt>ID</dt>
          <dd><code>{data.id}</code></dd>
          <dt>{t('common.version')}</dt>
          <dd>{data.version}</dd>
          <dt>{t('common.language')}</dt>
          <dd>{term('language', data.language)}</dd>
          <dt>{t('voices.visibility')}</dt>
          <dd>{t(`visibility.${data.visibility}`)}</dd>
          <dt>{t('common.created')}</dt>
          <dd>{formatTime(data.created_at)}</dd>
          <dt>GPT</dt>
          <dd><a href={linkTo('voices', 'models', data.gpt_checkpoint_id)}>{data.gpt_checkpoint_id}</a></dd>
          <dt>SoVITS</dt>
          <dd><a href={linkTo('voices', 'models', data.sovits_checkpoint_id)}>{data.sovits_checkpoint_id}</a></dd>
          {data.exp_id && (
            <>
              <dt>{t('models.experiment')}</dt>
              <dd><a href={linkTo('experiments', data.exp_id)}>{data.exp_id}</a></dd>
            </>
          )}
        </dl>
        <div class="row">
          {can('speak') && (
            <button
              type="button"
              class="small"
              onClick={() => {
                speakForm.value = { ...speakForm.value, voice: data.id, emotion: '' };
                navigate('speak');
              }}
            >
              {t('voices.speak')}
            </button>
          )}
          <ActionButton work={() => exportVoice(data)}>{t('voices.export')}</ActionButton>
          {editable && (
            <ActionButton
              confirm={t('voices.deleteConfirm')}
              work={async () => {
                await call(api.DELETE('/api/v1/voices/{voice}', { params: { path: { voice: data.id } } }));
                navigate('voices');
              }}
            >
              {t('common.delete')}
            </ActionButton>
          )}
        </div>
      </article>
      {editable && <Properties voice={voice} data={data} />}
      <VoiceConsent voice={voice} data={data} editable={editable} />
      <Prompts voice={voice} data={data} editable={editable} />
      <Pronunciations voice={voice} data={data} editable={editable} />
    </>
  );
}

function Properties({ voice, data }: { voice: Resource<Voice>; data: Voice }) {
  const [name, setName] = useDraft(`voice.${data.id}.name`, data.name);
  const [language, setLanguage] = useDraft(`voice.${data.id}.language`, data.language);
  const save = useAction(async () => voice.set(await changeVoice(data.id, { name: name.trim(), language })));
  const share = data.visibility === 'private' ? 'shared' : 'private';
  return (
    <section class="card">
      <h3>{t('voices.properties')}</h3>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void save.run();
        }}
      >
        <div class="grid-fields">
          <TextField label={t('common.name')} value={name} onChange={setName} maxLength={100} required />
          <LanguageField label={t('common.language')} value={language} onChange={setLanguage} />
        </div>
        <ErrorNote error={save.error} />
        <button type="submit" class="small" disabled={!name.trim() || save.busy}>
          {t('common.save')}
        </button>{' '}
        {can('admin') && (
          <ActionButton work={async () => voice.set(await changeVoice(data.id, { visibility: share }))}>
            {t(share === 'shared' ? 'voices.share' : 'voices.unshare')}
          </ActionButton>
        )}
      </form>
    </section>
  );
}
