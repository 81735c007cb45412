// Live speech: requested as a stream, played while it is generated, kept when it is complete.
import { openResponse } from '../../api/client';
import { concatenateSamples, WavReader, writeWav } from '../../audio/wav';
import { StreamPlayer } from '../../audio/streamPlayer';
import { speechBody, type SpeechSettings } from './settings';

export interface LiveState {
  phase: 'waiting' | 'speaking' | 'done';
  /** Seconds of audio that have arrived. */
  arrived: number;
  /** Milliseconds from the request to the first audio. */
  firstAudio: number;
}

export interface LiveSpeech {
  done: Promise<Blob>;
  player: () => StreamPlayer | undefined;
  stop: () => void;
}

/** Always a WAV, whatever format is saved in the end: it can be played from its first byte in every browser. */
export function speakLive(settings: SpeechSettings, onState: (state: LiveState) => void, onPlayed: () => void): LiveSpeech {
  const ended = new AbortController();
  let player: StreamPlayer | undefined;
  const done = receive();

  async function receive(): Promise<Blob> {
    const began = performance.now();
    const state: LiveState = { phase: 'waiting', arrived: 0, firstAudio: 0 };
    onState(state);
    const response = await openResponse('/v1/audio/speech', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(speechBody({ ...settings, format: 'wav' })),
      signal: ended.signal,
    });
    const reader = new WavReader();
    const parts: Int16Array[] = [];
    const stream = response.body!.getReader();
    try {
      for (;;) {
        const { done: complete, value } = await stream.read();
        if (complete) break;
        const samples = reader.feed(value);
        if (samples.length === 0) continue;
        player ??= new StreamPlayer(reader.rate, onPlayed);
        player.feed(samples);
        parts.push(samples);
        state.arrived += samples.length / reader.rate;
        state.firstAudio ||= performance.now() - began;
        onState({ ...state, phase: 'speaking' });
      }
    } catch (error) {
      player?.close();
      throw error;
    }
    player?.finish();
    onState({ ...state, phase: 'done' });
    return writeWav(concatenateSamples(parts), reader.rate || 24_000);
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
