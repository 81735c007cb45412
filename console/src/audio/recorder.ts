// Records the microphone as samples, without compression, noise suppression or gain control: a training hears the room.
import { concatenateSamples, writeWav } from './wav';
import workletUrl from './recorder-worklet.js?url';

export interface Level {
  /** Of the newest piece, in dB of full scale. */
  peak: number;
  clipped: boolean;
  seconds: number;
}

const METER_SECONDS = 0.1;

export class Recorder {
  private readonly parts: Int16Array[] = [];
  private seconds = 0;
  private peak = 0;
  private sinceLevel = 0;
  private clipped = false;

  private constructor(
    private readonly context: AudioContext,
    private readonly stream: MediaStream,
    private readonly onLevel: (level: Level) => void,
  ) {}

  /** Begin to record; the browser asks the user for permission. */
  static async start(onLevel: (level: Level) => void): Promise<Recorder> {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const context = new AudioContext();
    const recorder = new Recorder(context, stream, onLevel);
    try {
      await context.audioWorklet.addModule(workletUrl);
    } catch (error) {
      recorder.stop(); // or the microphone stays on
      throw error;
    }
    const node = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }: MessageEvent<Float32Array>) => recorder.add(data);
    context.createMediaStreamSource(stream).connect(node);
    return recorder;
  }

  private add(samples: Float32Array): void {
    const part = new Int16Array(samples.length);
    for (let i = 0; i < samples.length; i++) {
      const value = Math.max(-1, Math.min(1, samples[i]!));
      part[i] = Math.round(value * 32767);
      this.peak = Math.max(this.peak, Math.abs(value));
    }
    this.parts.push(part);
    const duration = samples.length / this.context.sampleRate;
    this.seconds += duration;
    this.sinceLevel += duration;
    this.clipped ||= this.peak > 0.99;
    if (this.sinceLevel >= METER_SECONDS) {
      this.onLevel({ peak: decibels(this.peak), clipped: this.clipped, seconds: this.seconds });
      this.peak = this.sinceLevel = 0;
    }
  }

  /** End the recording and return it as a WAV. */
  stop(): Blob {
    for (const track of this.stream.getTracks()) track.stop();
    const rate = this.context.sampleRate;
    void this.context.close();
    return writeWav(concatenateSamples(this.parts), rate);
  }
}

export function decibels(amplitude: number): number {
  return amplitude > 0 ? Math.max(-90, 20 * Math.log10(amplitude)) : -90;
}
