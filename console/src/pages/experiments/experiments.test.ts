import { describe, expect, it } from 'vitest';
import { chooseLanguage } from '../../app/i18n';
import { mergeEpochs } from './compareCurves';
import { layOut } from './graph';
import { changedValues } from './parameterForm';
import { progressText } from './stages';
import { heardEpochs } from './training';

describe('the graph of the stages', () => {
  it('places each after those that it needs, side by side where none needs the other', () => {
    const places = layOut([
      { name: 'slice', needs: ['elsewhere'] },
      { name: 'text', needs: ['slice'] },
      { name: 'content', needs: ['slice'] },
      { name: 'train', needs: ['text', 'content'] },
    ]);
    const [slice, text, content, train] = ['slice', 'text', 'content', 'train'].map((name) => places.get(name)!);
    expect(slice!.x).toBe(0);
    expect(text!.x).toBe(content!.x);
    expect(content!.y).toBeGreaterThan(text!.y);
    expect(train!.x).toBeGreaterThan(text!.x);
  });
});

describe('parameters', () => {
  it('are sent in the types of the schema, without those that were emptied', () => {
    const parameter = (type: string) => ({ type, default: null, description: '' });
    const schema = { parameters: { a: parameter('integer'), b: parameter('boolean'), c: parameter('string'), d: parameter('array') } };
    const values = { a: '4', b: false, c: '', d: '[1, 2]' };
    expect(changedValues(schema, values)).toEqual({ a: 4, b: false, d: [1, 2] });
  });
});

describe('what a training has spoken', () => {
  it('is listed from the model before its first step on, also while it goes on', () => {
    const before = { epoch: 0, sample: 'experiments/e/sovits_1/samples/e0.wav', text: 'Hello.' };
    const epoch = { epoch: 4, checkpoint_id: 'ckpt-4', sample: 'experiments/e/sovits_1/samples/e4.wav', wer: 0.1, dnsmos: null };
    const heard = heardEpochs({ previews: [before, epoch], checkpoints: [epoch] });
    expect(heard.map(({ epoch, id, sample }) => [epoch, id, sample])).toEqual([[0, '', 'e0.wav'], [4, 'ckpt-4', 'e4.wav']]);
    expect(heard[1]!.measures).toMatchObject({ wer: 0.1, dnsmos: undefined });
  });
});

describe('the curves of two experiments', () => {
  it('share their epochs, with gaps where one has none', () => {
    const first = { epochs: [{ epoch: 1, losses: { total: 3 } }, { epoch: 2, losses: { total: 2 } }] };
    const second = { epochs: [{ epoch: 2, losses: { total: 1 } }] };
    const { x, curves } = mergeEpochs([{ name: 'a', result: first }, { name: 'b', result: second }]);
    expect(x).toEqual([1, 2]);
    expect(curves).toEqual([
      { label: 'a: total', values: [3, 2], dash: false },
      { label: 'b: total', values: [null, 1], dash: true },
    ]);
  });
});

describe('what a run says', () => {
  it('is in the language of the page, and an error in its own words', () => {
    chooseLanguage('zh');
    const values = { done: '3', count: '7' };
    const known = { message: 'Transcribed 3 of 7 segments.', message_parts: { code: 'segments_transcribed' as const, values } };
    const waiting = { message: '', message_parts: { code: 'waits_for' as const, values: { stages: 'convert, asr' } } };
    expect(progressText(known)).toBe('已识别 3 / 7 个片段。');
    expect(progressText(waiting)).toContain('格式转换, ');
    expect(progressText({ message: 'Nobody speaks.', message_parts: null })).toBe('Nobody speaks.');
    chooseLanguage('en');
    expect(progressText(known)).toBe('Transcribed 3 of 7 segments.');
  });
});
