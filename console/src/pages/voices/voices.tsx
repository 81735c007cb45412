// Voices and models: lists, one voice, one checkpoint.
import { api, call, fetchBlob, type Schemas } from '../../api/client';
import { formatBytes, formatTime, t, term } from '../../app/i18n';
import { linkTo } from '../../app/router';
import { can } from '../../app/session';
import { useState } from 'preact/hooks';
import { ActionButton } from '../../ui/action';
import { Name } from '../../ui/feedback';
import { SelectField } from '../../ui/fields';
import { Paged } from '../../ui/paged';
import { Recording, saveBlob } from '../../ui/recording';
import { Tabs } from '../../ui/tabs';
import { Detect } from './detect';
import { ImportVoice } from './importVoice';
import { ModelPage } from './model';
import { VoicePage } from './voice';

type Voice = Schemas['VoiceView'];
type Model = Schemas['ModelView'];

export function Voices({ rest }: { rest: string[] }) {
  const [first, second] = rest;
  if (first === 'models' && second) return <ModelPage key={second} id={second} />;
  if (first && first !== 'models' && first !== 'detect') return <VoicePage key={first} id={first} />;
  const tabs = [
    { name: 'voices', title: t('voices.voices'), href: linkTo('voices'), content: () => <VoiceList /> },
    { name: 'models', title: t('voices.models'), href: linkTo('voices', 'models'), content: () => <ModelList /> },
    { name: 'detect', title: t('detect.title'), href: linkTo('voices', 'detect'), content: () => <Detect /> },
  ].filter((tab) => tab.name !== 'models' || can('read', 'train'));
  return <Tabs tabs={tabs} current={first} label={t('page.voices')} />;
}

export function promptPath(voice: string, prompt: string): string {
  return `/api/v1/voices/${encodeURIComponent(voice)}/prompts/${encodeURIComponent(prompt)}/audio`;
}

function VoiceList() {
  const [round, setRound] = useState(0);
  return (
    <>
      <Paged<Voice>
        label={t('voices.voices')}
        load={(limit, offset) => call(api.GET('/api/v1/voices', { params: { query: { limit, offset } } }))}
        rowKey={(voice) => voice.id}
        refresh={[round]}
        empty={t('voices.none')}
        columns={[
          { title: t('common.name'), cell: (voice) => <a href={linkTo('voices', voice.id)}><Name>{voice.name}</Name></a> },
          {
            title: t('voices.sample'),
            cell: (voice) =>
              voice.prompts[0] ? <Recording path={promptPath(voice.id, voice.prompts[0].name)} label={voice.name} /> : '–',
          },
          { title: t('common.version'), cell: (voice) => voice.version },
          { title: t('common.language'), cell: (voice) => term('language', voice.language) },
          { title: t('voices.prompts'), cell: (voice) => voice.prompts.length, right: true },
          { title: t('voices.visibility'), cell: (voice) => t(`visibility.${voice.visibility}`) },
          { title: t('common.created'), cell: (voice) => formatTime(voice.created_at) },
          {
            title: t('common.actions'),
            cell: (voice) => (
              <div class="row nowrap">
                <ActionButton work={() => exportVoice(voice)}>{t('voices.export')}</ActionButton>
              </div>
            ),
          },
        ]}
      />
      {can('train') && <ImportVoice done={() => setRound((count) => count + 1)} />}
    </>
  );
}

export async function exportVoice(voice: Voice): Promise<void> {
  saveBlob(await fetchBlob(`/api/v1/voices/${voice.id}/export`), `${voice.id}.zip`);
}

function ModelList() {
  const [kind, setKind] = useState('');
  const load = (limit: number, offset: number) =>
    call(
      api.GET('/api/v1/models', {
        params: { query: { limit, offset, ...(kind ? { type: kind as 'gpt' | 'sovits' } : {}) } },
      }),
    );
  return (
    <>
      <div class="grid-fields">
        <SelectField
          label={t('models.type')}
          value={kind}
          options={[['', t('common.all')] as const, ['gpt', 'GPT'] as const, ['sovits', 'SoVITS'] as const]}
          onChange={setKind}
        />
      </div>
      <Paged<Model>
        label={t('voices.models')}
        load={load}
        refresh={[kind]}
        rowKey={(model) => model.id}
        empty={t('models.none')}
        columns={[
          { title: t('common.name'), cell: (model) => <a href={linkTo('voices', 'models', model.id)}><Name>{model.name}</Name></a> },
          { title: t('models.type'), cell: (model) => (model.type === 'gpt' ? 'GPT' : 'SoVITS') },
          { title: t('common.version'), cell: (model) => model.version },
          { title: t('training.epoch'), cell: (model) => model.epoch ?? '–', right: true },
          { title: t('models.size'), cell: (model) => formatBytes(model.size_bytes), right: true },
          { title: t('models.usedBy'), cell: (model) => model.voices.map((voice) => voice.name).join(', ') || '–' },
          { title: t('models.promoted'), cell: (model) => (model.promoted ? '✓' : '–') },
          { title: t('common.created'), cell: (model) => formatTime(model.created_at) },
        ]}
      />
    </>
  );
}
