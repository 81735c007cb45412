// Live speeches of this page: they go on while another page of the console is open.
import { signal } from '@preact/signals';
import type { ApiError } from '../../api/client';
import { asApiError } from '../../app/resource';
import { keepAudio } from '../../audio/store';
import { type LiveSpeech, type LiveState, speakLive } from './live';
import { history, type Speech } from './settings';

export interface ActiveSpeech {
  state: LiveState;
  playing: boolean;
  live: LiveSpeech;
  blob?: Blob;
  error?: ApiError;
}

export const active = signal<Record<string, ActiveSpeech>>({});

function update(id: string, change: Partial<ActiveSpeech>): void {
  const existing = active.value[id];
  if (existing) active.value = { ...active.value, [id]: { ...existing, ...change } };
}

export function startLive(speech: Speech): void {
  for (const other of Object.values(active.value)) if (other.playing) other.live.player()?.close();
  const { id } = speech;
  const live = speakLive(
    speech.settings,
    (state) => update(id, { state }),
    () => update(id, { playing: false }),
  );
  const state: LiveState = { phase: 'waiting', arrived: 0, firstAudio: 0, words: [] };
  // The audio of what has left the history is let go.
  const shown = Object.entries(active.value).filter(([other]) => history.value.some((entry) => entry.id === other));
  active.value = { ...Object.fromEntries(shown), [id]: { state, playing: true, live } };
  live.done.then(
    (blob) => {
      update(id, { blob });
      void keepAudio(id, blob);
    },
    (error: unknown) => {
      if (error instanceof DOMException && error.name === 'AbortError') forgetActive(id);
      else update(id, { error: asApiError(error), playing: false });
    },
  );
}

export function forgetActive(id: string): void {
  const { [id]: ended, ...others } = active.value;
  ended?.live.stop();
  active.value = others;
}
