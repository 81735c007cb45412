// Plays samples while they arrive: each piece is scheduled to begin where the one before it ends.

const LEAD_SECONDS = 0.05;

export class StreamPlayer {
  private readonly context = new AudioContext();
  private readonly sources = new Set<AudioBufferSourceNode>();
  private next = 0;
  private startedAt = -1;
  private finished = false;

  constructor(
    private readonly rate: number,
    private readonly onEnd: () => void,
  ) {}

  feed(samples: Int16Array): void {
    if (samples.length === 0 || this.context.state === 'closed') return;
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    const channel = buffer.getChannelData(0);
    for (let i = 0; i < samples.length; i++) channel[i] = samples[i]! / 32768;
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    const start = Math.max(this.next, this.context.currentTime + LEAD_SECONDS);
    if (this.startedAt < 0) this.startedAt = start;
    source.start(start);
    this.next = start + buffer.duration;
    this.sources.add(source);
    source.onended = () => {
      this.sources.delete(source);
      if (this.finished && this.sources.size === 0) this.close();
    };
  }

  /** No more samples come. */
  finish(): void {
    this.finished = true;
    if (this.sources.size === 0) this.close();
  }

  /** Seconds that were played. */
  get time(): number {
    return this.startedAt < 0 ? 0 : Math.max(0, this.context.currentTime - this.startedAt);
  }

  get paused(): boolean {
    return this.context.state === 'suspended';
  }

  async toggle(): Promise<void> {
    await (this.paused ? this.context.resume() : this.context.suspend());
  }

  close(): void {
    if (this.context.state === 'closed') return;
    void this.context.close();
    this.onEnd();
  }
}
