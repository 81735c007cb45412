// Speak: a text in, audio out, played while it is generated.
import { useEffect, useRef, useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { formatNumber, language, t, term } from '../../app/i18n';
import { asApiError, useResource } from '../../app/resource';
import { linkTo } from '../../app/router';
import { can } from '../../app/session';
import { useAction } from '../../ui/action';
import { Dropzone } from '../../ui/dropzone';
import { Empty, ErrorNote, Loading, Notice } from '../../ui/feedback';
import { AreaField, NumberField, SelectField } from '../../ui/fields';
import { startLive } from './active';
import { Compare } from './compare';
import { MarkupPalette } from './palette';
import { SpeechCard } from './card';
import {
  addToHistory, chosenVoice, form, FORMATS, history, inferenceBody, LANGUAGES, MAX_LIVE_CHARACTERS, newId, randomSeed,
  SAMPLING_OPTIONS, type SamplingOption, type Speech, type SpeechSettings, SPLIT_METHODS, subtitleTexts,
} from './settings';

type Voice = Schemas['VoiceView'];

export function Speak() {
  const voices = useResource(() => call(api.GET('/api/v1/voices', { params: { query: { limit: 500 } } })), []);
  const [compared, setCompared] = useState<string[]>([]);
  if (voices.error && !voices.data) return <ErrorNote error={voices.error} retry={voices.reload} />;
  if (!voices.data) return <Loading />;
  if (voices.data.total === 0) {
    return (
      <Empty>
        {t('speak.noVoice')} {can('train') && <a href={linkTo('new-voice')}>{t('speak.makeVoice')}</a>}
      </Empty>
    );
  }
  const again = (settings: SpeechSettings): void => {
    form.value = settings;
    void begin(settings, voices.data!.items);
  };
  return (
    <div class="columns">
      <SpeechForm voices={voices.data.items} />
      <section aria-label={t('speak.history')}>
        <h2>{t('speak.history')}</h2>
        {compared.length === 2 && <Compare ids={compared} close={() => setCompared([])} />}
        {history.value.length === 0 && <Empty>{t('speak.noHistory')}</Empty>}
        {history.value.map((speech) => (
          <SpeechCard
            key={speech.id}
            speech={speech}
            again={again}
            compared={compared.indexOf(speech.id)}
            compare={() => setCompared(toggleCompared(compared, speech.id))}
          />
        ))}
      </section>
    </div>
  );
}

function toggleCompared(compared: string[], id: string): string[] {
  return compared.includes(id) ? compared.filter((other) => other !== id) : [...compared, id].slice(-2);
}

/** Begin to speak: live what fits in one request, else as a job. */
async function begin(settings: SpeechSettings, voices: Voice[]): Promise<void> {
  const voice = chosenVoice(voices, settings.voice, language.value);
  const complete = { ...settings, voice: voice.id, seed: settings.seed || randomSeed() };
  const speech: Speech = { id: newId(), kind: 'live', settings: complete, voiceName: voice.name, at: new Date().toISOString() };
  if (settings.text.length <= MAX_LIVE_CHARACTERS) {
    addToHistory(speech);
    startLive(speech);
    return;
  }
  const job = await call(api.POST('/api/v1/inference', { body: inferenceBody(complete) }));
  addToHistory({ ...speech, kind: 'job', id: job.id });
}

function SpeechForm({ voices }: { voices: Voice[] }) {
  const settings = form.value;
  const area = useRef<HTMLDivElement>(null);
  const set = (change: Partial<SpeechSettings>): void => {
    form.value = { ...form.value, ...change };
  };
  const voice = chosenVoice(voices, settings.voice, language.value);
  useEffect(() => {
    if (settings.voice !== voice.id) set({ voice: voice.id, emotion: '' });
  }, [voice.id]);
  const speak = useAction(() => begin(form.value, voices));
  const [subtitles, setSubtitles] = useState<{ name: string; texts: string[] }>();
  const [fileError, setFileError] = useState('');
  const open = async ([file]: File[]): Promise<void> => {
    setFileError('');
    if (!file) return;
    if (!/\.(txt|srt|ssml|xml)$/i.test(file.name)) {
      setFileError(t('speak.fileKind', { name: file.name }));
      return;
    }
    const content = await file.text();
    if (/\.srt$/i.test(file.name)) setSubtitles({ name: file.name, texts: subtitleTexts(content) });
    else set({ text: content });
  };
  const empty = !settings.text.trim();
  const speed = Number(settings.speed);
  const speedInvalid = !(speed >= 0.25 && speed <= 4) ? t('form.range', { min: 0.25, max: 4 }) : undefined;
  const seedInvalid = settings.seed && !/^\d{1,15}$/.test(settings.seed) ? t('speak.seedInvalid') : undefined;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void speak.run();
      }}
    >
      <div ref={area}>
        <AreaField
          label={t('speak.text')}
          value={settings.text}
          onChange={(text) => set({ text })}
          rows={8}
          placeholder={t('speak.placeholder')}
          help={
            settings.text.length > MAX_LIVE_CHARACTERS
              ? t('speak.longText', { n: formatNumber(settings.text.length) })
              : t('speak.characters', { n: formatNumber(settings.text.length) })
          }
        />
      </div>
      <MarkupPalette area={area} text={settings.text} onText={(text) => set({ text })} />
      <Dropzone label={t('speak.file')} accept=".txt,.srt,.ssml,.xml" onFiles={(files) => void open(files)} />
      {fileError && <Notice kind="warning">{fileError}</Notice>}
      {subtitles && <Subtitles {...subtitles} settings={settings} voice={voice} close={() => setSubtitles(undefined)} />}
      <div class="grid-fields">
        <SelectField
          label={t('speak.voice')}
          value={voice.id}
          options={voices.map((candidate) => [candidate.id, `${candidate.name} (${candidate.version})`] as const)}
          onChange={(id) => set({ voice: id, emotion: '' })}
        />
        <SelectField
          label={t('speak.language')}
          value={settings.language}
          options={LANGUAGES.map((code) => [code, term('language', code)] as const)}
          onChange={(language) => set({ language })}
        />
        <SelectField
          label={t('speak.format')}
          value={settings.format}
          options={FORMATS.map((format) => [format, format.toUpperCase()] as const)}
          onChange={(format) => set({ format: format as SpeechSettings['format'] })}
        />
        <NumberField
          label={t('speak.speed')}
          value={settings.speed}
          onChange={(value) => set({ speed: value })}
          min={0.25}
          max={4}
          step="any"
          invalid={speedInvalid}
        />
      </div>
      <details>
        <summary>{t('speak.more')}</summary>
        <div class="grid-fields">
          <NumberField
            label={t('speak.seed')}
            value={settings.seed}
            onChange={(seed) => set({ seed })}
            min={0}
            step={1}
            placeholder={t('speak.random')}
            help={t('speak.seedHelp')}
            invalid={seedInvalid}
          />
          <SelectField
            label={t('speak.emotion')}
            value={settings.emotion}
            options={[['', t('speak.firstPrompt')] as const, ...voice.prompts.map(({ name }) => [name, name] as const)]}
            onChange={(emotion) => set({ emotion })}
          />
          <SelectField
            label={t('speak.inputType')}
            value={settings.inputType}
            options={(['auto', 'text', 'marks', 'ssml'] as const).map((kind) => [kind, t(`speak.input.${kind}`)] as const)}
            onChange={(inputType) => set({ inputType: inputType as SpeechSettings['inputType'] })}
          />
        </div>
        <Sampling settings={settings} set={set} />
      </details>
      <ErrorNote error={speak.error} />
      <button type="submit" disabled={empty || speedInvalid !== undefined || seedInvalid !== undefined || speak.busy}>
        {t('speak.speak')}
      </button>
    </form>
  );
}

function Sampling({ settings, set }: { settings: SpeechSettings; set: (change: Partial<SpeechSettings>) => void }) {
  const options = Object.entries(SAMPLING_OPTIONS) as [SamplingOption, { min: number; max: number; integer: boolean }][];
  return (
    <fieldset>
      <legend>{t('speak.sampling')}</legend>
      <div class="grid-fields">
        {options.map(([name, { min, max, integer }]) => (
          <NumberField
            key={name}
            label={t(`sampling.${name}`)}
            value={settings.sampling[name] ?? ''}
            onChange={(value) => set({ sampling: { ...settings.sampling, [name]: value } })}
            min={min}
            max={max}
            step={integer ? 1 : 'any'}
            placeholder={t('sampling.default')}
            help={t('form.range', { min, max })}
          />
        ))}
        <SelectField
          label={t('sampling.split')}
          value={settings.splitMethod}
          options={SPLIT_METHODS.map((method) => [method, method || t('sampling.sentences')] as const)}
          onChange={(splitMethod) => set({ splitMethod })}
        />
      </div>
    </fieldset>
  );
}

/** Subtitles: each is spoken into a file of its own, all in one ZIP. */
function Subtitles(props: { name: string; texts: string[]; settings: SpeechSettings; voice: Voice; close: () => void }) {
  const { name, texts, settings, voice } = props;
  const [error, setError] = useState<ReturnType<typeof asApiError>>();
  const start = async (): Promise<void> => {
    const body = inferenceBody({ ...settings, voice: voice.id, seed: settings.seed || randomSeed() });
    const { language, speed, emotion } = body;
    const shared = { language, speed, emotion, seed: body.seed ?? null, input_type: 'text' as const, voice: '', filename: '' };
    const items = texts.map((text) => ({ ...shared, text }));
    try {
      const batch = await call(api.POST('/api/v1/inference/batch', { body: { items, voice: voice.id, format: body.format, priority: 5 } }));
      const shown = { ...settings, text: t('speak.subtitlesOf', { name }), voice: voice.id };
      addToHistory({ id: batch.id, kind: 'batch', settings: shown, voiceName: voice.name, at: new Date().toISOString() });
      props.close();
    } catch (failure) {
      setError(asApiError(failure));
    }
  };
  if (texts.length === 0) return <Notice kind="warning">{t('speak.noSubtitles', { name })}</Notice>;
  return (
    <Notice>
      <p>{t('speak.subtitles', { name, n: texts.length })}</p>
      <ErrorNote error={error} />
      <button type="button" class="small" onClick={() => void start()}>
        {t('speak.speakSubtitles')}
      </button>{' '}
      <button type="button" class="outline small" onClick={() => (form.value = { ...settings, text: texts.join('\n') })}>
        {t('speak.asText')}
      </button>{' '}
      <button type="button" class="outline small secondary" onClick={props.close}>
        {t('common.close')}
      </button>
    </Notice>
  );
}
