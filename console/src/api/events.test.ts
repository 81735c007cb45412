import { describe, expect, it } from 'vitest';
import { EventParser } from './events';

const STREAM = ': watching\n\nid: 5-0\nevent: progress\ndata: {"progress": 0.5}\n\nid: 6-0\r\nevent: completed\r\ndata: {}\r\n\r\n';

describe('an event stream', () => {
  it('gives the same events wherever its pieces end', () => {
    const whole = new EventParser().feed(STREAM);
    expect(whole).toEqual([
      { id: '5-0', kind: 'progress', data: { progress: 0.5 } },
      { id: '6-0', kind: 'completed', data: {} },
    ]);
    const parser = new EventParser();
    const pieces = STREAM.split('').flatMap((character) => parser.feed(character));
    expect(pieces).toEqual(whole);
  });

  it('keeps line separators that JSON has and event streams do not', () => {
    const data = { message: 'one\u2028two\u2029three' };
    expect(new EventParser().feed(`event: log\ndata: ${JSON.stringify(data)}\n\n`)).toEqual([{ id: '', kind: 'log', data }]);
  });

  it('skips comments and data that is no JSON', () => {
    expect(new EventParser().feed(': still here\n\ndata: {broken\n\n')).toEqual([]);
  });
});
