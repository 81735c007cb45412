// Server-sent events over fetch, which can send an API key; a connection that breaks is opened again where it ended.
import { ApiError, openResponse } from './client';

export interface StreamEvent {
  id: string;
  kind: string;
  data: Record<string, unknown>;
}

export const TERMINAL = new Set(['completed', 'failed', 'cancelled', 'paused']);
const SILENCE_MS = 45_000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 5_000;

/** Splits a stream of text into events; pieces may end anywhere. */
export class EventParser {
  private rest = '';

  feed(text: string): StreamEvent[] {
    const blocks = (this.rest + text).replaceAll('\r\n', '\n').split('\n\n');
    this.rest = blocks.pop() ?? '';
    return blocks.map(parseBlock).filter((event) => event !== null);
  }
}

function parseBlock(block: string): StreamEvent | null {
  const event: StreamEvent = { id: '', kind: 'message', data: {} };
  const lines: string[] = [];
  for (const line of block.split('\n')) {
    const [, field = '', value = ''] = /^(\w+): ?(.*)$/s.exec(line) ?? [];
    if (field === 'id') event.id = value;
    else if (field === 'event') event.kind = value;
    else if (field === 'data') lines.push(value);
  }
  if (lines.length === 0) return null;
  try {
    event.data = JSON.parse(lines.join('\n')) as Record<string, unknown>;
  } catch {
    return null;
  }
  return event;
}

export interface Follower {
  onEvent: (event: StreamEvent) => void;
  /** Whether the connection is open now. */
  onConnection?: (connected: boolean) => void;
  /** The server rejects the stream; it is not tried again. */
  onError?: (error: ApiError) => void;
}

/** Follow a stream until its terminal event; return a function that ends it. */
export function followEvents(path: string, follower: Follower): () => void {
  const ended = new AbortController();
  void follow(path, follower, ended.signal);
  return () => ended.abort();
}

async function follow(path: string, follower: Follower, ended: AbortSignal): Promise<void> {
  let lastId = '';
  let retry = FIRST_RETRY_MS;
  const isEnded = (): boolean => ended.aborted;
  while (!isEnded()) {
    const silence = new AbortController();
    const signal = AbortSignal.any([ended, silence.signal]);
    let watchdog = 0;
    const heard = (): void => {
      clearTimeout(watchdog);
      watchdog = window.setTimeout(() => silence.abort(), SILENCE_MS);
    };
    try {
      const headers: Record<string, string> = { Accept: 'text/event-stream' };
      if (lastId) headers['Last-Event-ID'] = lastId;
      const response = await openResponse(path, { headers, signal });
      follower.onConnection?.(true);
      retry = FIRST_RETRY_MS;
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      heard();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        heard();
        for (const event of parser.feed(value)) {
          if (event.id) lastId = event.id;
          follower.onEvent(event);
          if (TERMINAL.has(event.kind)) return;
        }
      }
    } catch (error) {
      if (isEnded()) return;
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) {
        follower.onError?.(error);
        return;
      }
    } finally {
      clearTimeout(watchdog);
    }
    follower.onConnection?.(false);
    await new Promise((resolve) => setTimeout(resolve, retry));
    retry = Math.min(retry * 2, LAST_RETRY_MS);
  }
}
