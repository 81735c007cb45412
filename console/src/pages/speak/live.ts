// Live speech: requested as a stream, played while it is generated, kept when it is complete.
import { openResponse, toApiError } from '../../api/client';
import { EventParser } from '../../api/events';
import { concatenateSamples, WavReader, writeWav } from '../../audio/wav';
import { StreamPlayer } from '../../audio/streamPlayer';
import { speechBody, type SpeechSettings } from './settings';

export interface LiveState {
  phase: 'waiting' | 'speaking' | 'done';
  /** Seconds of audio that have arrived. */
  arrived: number;
  /** Milliseconds from the request to the first audio. */
  firstAudio: number;
  /** Words that end in what has arrived. */
  words: SpokenWord[];
}

/** A word, where it is in the text (in characters, not in UTF-16 units) and when it is heard. */
export interface SpokenWord {
  text_start: number;
  text_end: number;
  start: number;
  end: number;
}

export interface LiveSpeech {
  done: Promise<Blob>;
  player: () => StreamPlayer | undefined;
  stop: () => void;
}

/** Return the index of the word that is heard at a time, or was heard last; -1 before the first one. */
export function wordAt(words: readonly SpokenWord[], seconds: number): number {
  return words.findLastIndex((word) => word.start <= seconds);
}

/** Always a WAV, whatever format is saved in the end: it can be played from its first byte in every browser. */
export function speakLive(settings: SpeechSettings, onState: (state: LiveState) => void, onPlayed: () => void): LiveSpeech {
  const ended = new AbortController();
  let player: StreamPlayer | undefined;
  const done = receive();

  async function receive(): Promise<Blob> {
    const began = performance.now();
    const state: LiveState = { phase: 'waiting', arrived: 0, firstAudio: 0, words: [] };
    onState(state);
    const response = await openResponse('/v1/audio/speech', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ ...speechBody({ ...settings, format: 'wav' }), stream_format: 'sse', timestamps: 'word' }),
      signal: ended.signal,
    });
    const reader = new WavReader();
    const parts: Int16Array[] = [];
    let label = '';
    const parser = new EventParser();
    const stream = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (;;) {
        const { done: complete, value } = await stream.read();
        if (complete) break;
        for (const { data } of parser.feed(value)) {
          if (data['type'] === 'error') throw toApiError(data, response.status);
          if (typeof data['audio'] !== 'string') continue;
          if (data['aigc']) label = JSON.stringify(data['aigc']);
          const samples = reader.feed(Uint8Array.from(atob(data['audio']), (byte) => byte.charCodeAt(0)));
          if (Array.isArray(data['words'])) state.words = [...state.words, ...(data['words'] as SpokenWord[])];
          if (samples.length > 0) {
            player ??= new StreamPlayer(reader.rate, onPlayed);
            player.feed(samples);
            parts.push(samples);
            state.arrived += samples.length / reader.rate;
            state.firstAudio ||= performance.now() - began;
          }
          onState({ ...state, phase: 'speaking' });
        }
      }
    } catch (error) {
      player?.close();
      throw error;
    }
    player?.finish();
    onState({ ...state, phase: 'done' });
    return writeWav(concatenateSamples(parts), reader.rate || 24_000, label);
  }

  return {
    done,
    player: () => player,
    stop: () => {
      ended.abort();
      player?.close();
    },
  };
}
