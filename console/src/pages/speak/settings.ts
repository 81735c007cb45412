// What a speech is made of, and the history of speeches: in this browser.
import type { Signal } from '@preact/signals';
import type { Schemas } from '../../api/client';
import { draft } from '../../app/drafts';
import { forgetAudio } from '../../audio/store';

export type AudioFormat = 'wav' | 'mp3' | 'flac' | 'opus' | 'aac';
export const FORMATS: readonly AudioFormat[] = ['wav', 'mp3', 'flac', 'opus', 'aac'];
export const LANGUAGES = ['auto', 'zh', 'en', 'ja', 'ko', 'yue', 'auto_yue', 'all_zh', 'all_ja', 'all_ko', 'all_yue'] as const;
export const MAX_LIVE_CHARACTERS = 4096;
const HISTORY_LENGTH = 20;

export interface SpeechSettings {
  text: string;
  voice: string;
  language: string;
  format: AudioFormat;
  speed: string;
  seed: string;
  emotion: string;
  inputType: 'auto' | 'text' | 'marks' | 'ssml';
  splitMethod: string;
  /** Empty: the model's default. */
  sampling: Partial<Record<SamplingOption, string>>;
}

/** With the ranges that the API accepts. */
export const SAMPLING_OPTIONS = {
  top_k: { min: 1, max: 1024, integer: true },
  top_p: { min: 0, max: 1, integer: false },
  temperature: { min: 0, max: 2, integer: false },
  repetition_penalty: { min: 0.01, max: 10, integer: false },
  sample_steps: { min: 1, max: 128, integer: true },
  fragment_interval: { min: 0, max: 10, integer: false },
} as const;
export type SamplingOption = keyof typeof SAMPLING_OPTIONS;
export const SPLIT_METHODS = ['', 'cut0', 'cut1', 'cut2', 'cut3', 'cut4', 'cut5'] as const;

export interface Speech {
  id: string;
  /** Live speech is kept in this browser, a job's audio on the server. */
  kind: 'live' | 'job' | 'batch';
  settings: SpeechSettings;
  voiceName: string;
  at: string;
}

export const form: Signal<SpeechSettings> = draft('speak', {
  text: '',
  voice: '',
  language: 'auto',
  format: 'wav',
  speed: '1',
  seed: '',
  emotion: '',
  inputType: 'auto',
  splitMethod: '',
  sampling: {},
});

export const history: Signal<Speech[]> = draft<Speech[]>('history', []);

export function addToHistory(speech: Speech): void {
  const all = [speech, ...history.value.filter((other) => other.id !== speech.id)];
  for (const old of all.slice(HISTORY_LENGTH)) void forgetAudio(old.id);
  history.value = all.slice(0, HISTORY_LENGTH);
}

export function removeFromHistory(id: string): void {
  history.value = history.value.filter((speech) => speech.id !== id);
  void forgetAudio(id);
}

/** Return the voice of an id, else the newest: of untrained ones the newest in the page's language, if there is one. */
export function chosenVoice<V extends Pick<Schemas['VoiceView'], 'id' | 'exp_id' | 'language'>>(
  voices: readonly V[], id: string, pageLanguage: string,
): V {
  const chosen = voices.find((voice) => voice.id === id);
  const [newest] = voices;
  if (chosen || newest?.exp_id) return chosen ?? newest!;
  return voices.find((voice) => voice.language.replace('all_', '') === pageLanguage) ?? newest!;
}

/** A seed that JavaScript and every program can write exactly. */
export function randomSeed(): string {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

export function newId(): string {
  return `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
}

/** Return the sampling options that were set; the others keep the model's defaults. */
export function samplingBody(settings: SpeechSettings): Partial<Record<SamplingOption, number>> & { text_split_method?: 'cut0' } {
  const set = Object.entries(settings.sampling).filter(([, value]) => value !== '' && Number.isFinite(Number(value)));
  const numbers = Object.fromEntries(set.map(([name, value]) => [name, Number(value)]));
  return { ...numbers, ...(settings.splitMethod ? { text_split_method: settings.splitMethod as 'cut0' } : {}) };
}

export function speechBody(settings: SpeechSettings): Schemas['SpeechBody'] {
  return {
    ...samplingBody(settings),
    model: 'sovitsd',
    input: settings.text,
    voice: settings.voice,
    response_format: settings.format,
    speed: Number(settings.speed) || 1,
    stream_format: 'audio',
    language: settings.language,
    seed: Number(settings.seed),
    emotion: settings.emotion,
    input_type: settings.inputType,
  };
}

export function inferenceBody(settings: SpeechSettings): Schemas['NewInference'] {
  return {
    ...samplingBody(settings),
    text: settings.text,
    voice: settings.voice,
    format: settings.format,
    speed: Number(settings.speed) || 1,
    language: settings.language,
    seed: Number(settings.seed),
    emotion: settings.emotion,
    input_type: settings.inputType,
    priority: 5,
  };
}

/** Return the texts of subtitles, without numbers, times and markup. */
export function subtitleTexts(content: string): string[] {
  return content
    .replaceAll('\r\n', '\n')
    .replace(/^\ufeff/, '')
    .split(/\n\s*\n/)
    .map((block) =>
      block
        .split('\n')
        .filter((line, index) => !(index < 2 && /^\s*\d+\s*$/.test(line)) && !line.includes('-->'))
        .join(' ')
        .replace(/<[^>]*>|\{\\[^}]*\}/g, '')
        .trim(),
    )
    .filter(Boolean);
}
