// One speech of the history: generated now, complete, failed, or a job of the server.
import { useEffect, useRef, useState } from 'preact/hooks';
import { openResponse } from '../../api/client';
import { formatNumber, formatTime, t } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { keptAudio } from '../../audio/store';
import { ActionButton } from '../../ui/action';
import { ErrorNote, Name } from '../../ui/feedback';
import { saveBlob } from '../../ui/recording';
import { Waveform } from '../../ui/waveform';
import { active, type ActiveSpeech, forgetActive } from './active';
import { JobProgress } from './jobProgress';
import { wordAt } from './live';
import { randomSeed, removeFromHistory, speechBody, type Speech, type SpeechSettings } from './settings';

interface CardProps {
  speech: Speech;
  again: (settings: SpeechSettings) => void;
  compare: () => void;
  /** 0: is A, 1: is B, -1: is not compared. */
  compared: number;
}

export function SpeechCard({ speech, again, compare, compared }: CardProps) {
  const { settings } = speech;
  const running = active.value[speech.id];
  const kept = useResource(
    async () => (speech.kind === 'live' ? (running?.blob ?? (await keptAudio(speech.id))) : undefined),
    [speech.id, running?.blob],
  );
  const blob = running?.blob ?? kept.data;
  const busy = running !== undefined && !running.blob && !running.error;
  return (
    <article class="card" data-speech={speech.id} data-phase={running?.state.phase ?? 'kept'}>
      <header>
        <Name>{speech.voiceName}</Name>
        <span class="muted">
          {formatTime(speech.at)} · {t('speak.seedOf', { seed: settings.seed })}
        </span>
      </header>
      <SpokenText text={settings.text} running={running} />
      {running && <Live running={running} stop={() => forgetActive(speech.id)} />}
      <ErrorNote error={running?.error} />
      {speech.kind === 'live' && blob && !running?.playing && <Waveform blob={blob} label={settings.text.slice(0, 60)} />}
      {speech.kind === 'live' && !running && kept.data === undefined && !kept.loading && (
        <p class="muted">{t('speak.notKept')}</p>
      )}
      {speech.kind !== 'live' && <JobProgress speech={speech} />}
      <footer class="row">
        {blob && (
          <ActionButton work={() => download(speech, blob)}>
            {t('common.downloadAs', { format: settings.format.toUpperCase() })}
          </ActionButton>
        )}
        {speech.kind === 'live' && (
          <>
            <button type="button" class="outline small" disabled={busy} onClick={() => again({ ...settings, seed: randomSeed() })}>
              {t('speak.otherSeed')}
            </button>
            {blob && (
              <button type="button" class="outline small" aria-pressed={compared >= 0} onClick={compare}>
                {compared >= 0 ? t('speak.isCompared', { side: 'AB'[compared]! }) : t('speak.compare')}
              </button>
            )}
          </>
        )}
        <button
          type="button"
          class="outline small secondary"
          onClick={() => {
            forgetActive(speech.id);
            removeFromHistory(speech.id);
          }}
        >
          {t('common.remove')}
        </button>
      </footer>
    </article>
  );
}

/** The text, in which the word that is being heard is marked. */
function SpokenText({ text, running }: { text: string; running: ActiveSpeech | undefined }) {
  const [word, setWord] = useState(-1);
  const words = running?.state.words ?? [];
  const playing = running?.playing === true;
  useEffect(() => {
    if (!playing) return;
    const timer = setInterval(() => setWord(wordAt(words, running.live.player()?.time ?? 0)), 50);
    return () => clearInterval(timer);
  }, [playing, words]);
  const mark = useRef<HTMLElement>(null);
  useEffect(() => {
    const [marked, box] = [mark.current, mark.current?.parentElement];
    // Only the text scrolls, never the page.
    if (marked && box) box.scrollTop = marked.offsetTop - box.offsetTop - box.clientHeight / 2;
  }, [word]);
  const current = playing ? words[word] : undefined;
  if (!current) {
    return (
      <p class="spoken" dir="auto">
        {text.length > 400 && !playing ? `${text.slice(0, 400)}…` : text}
      </p>
    );
  }
  const characters = Array.from(text);
  const spoken = characters.slice(current.text_start, current.text_end).join('');
  return (
    <p class="spoken" dir="auto">
      {characters.slice(0, current.text_start).join('')}
      <mark ref={mark}>{spoken.trimEnd()}</mark>
      {spoken.slice(spoken.trimEnd().length)}
      {characters.slice(current.text_end).join('')}
    </p>
  );
}

function Live({ running, stop }: { running: ActiveSpeech; stop: () => void }) {
  const [time, setTime] = useState(0);
  const [paused, setPaused] = useState(false);
  const { state, playing } = running;
  useEffect(() => {
    if (!playing) return;
    const timer = setInterval(() => setTime(running.live.player()?.time ?? 0), 200);
    return () => clearInterval(timer);
  }, [playing]);
  if (running.error || (!playing && running.blob)) return null;
  return (
    <div class="row" role="status">
      <span>
        {state.phase === 'waiting'
          ? t('speak.waiting')
          : t(state.phase === 'done' ? 'speak.arrived' : 'speak.arriving', {
              played: formatNumber(time, 1),
              arrived: formatNumber(state.arrived, 1),
            })}
      </span>
      {state.firstAudio > 0 && (
        <span class="muted">{t('speak.firstAudio', { ms: formatNumber(state.firstAudio) })}</span>
      )}
      {state.phase !== 'waiting' && (
        <button
          type="button"
          class="outline small"
          onClick={() => void running.live.player()?.toggle().then(() => setPaused(running.live.player()?.paused ?? false))}
        >
          {paused ? t('audio.resume') : t('audio.pause')}
        </button>
      )}
      <button type="button" class="outline small secondary" onClick={() => (running.blob ? running.live.player()?.close() : stop())}>
        {t('audio.stop')}
      </button>
    </div>
  );
}

/** A WAV is what was played; another format is requested with the same seed, which gives the same audio. */
async function download(speech: Speech, blob: Blob): Promise<void> {
  const { settings } = speech;
  const name = `speech-${settings.seed}.${settings.format === 'opus' ? 'ogg' : settings.format}`;
  if (settings.format === 'wav') {
    saveBlob(blob, name);
    return;
  }
  const response = await openResponse('/v1/audio/speech', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(speechBody(settings)),
  });
  saveBlob(await response.blob(), name);
}

