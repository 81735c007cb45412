import { describe, expect, it } from 'vitest';
import { chosenVoice, form, inferenceBody, speechBody, subtitleTexts } from './settings';

describe('subtitles', () => {
  it('are texts without numbers, times and markup', () => {
    const srt = '\ufeff1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>Hello</i>\r\nagain.\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\n{\\an8}42\r\n';
    expect(subtitleTexts(srt)).toEqual(['Hello again.', '42']);
  });

  it('are none in an empty file', () => {
    expect(subtitleTexts('\n\n')).toEqual([]);
  });
});

describe('the voice', () => {
  const bundled = [
    { id: 'a', exp_id: null, language: 'en' },
    { id: 'x', exp_id: null, language: 'all_zh' },
    { id: 'y', exp_id: null, language: 'zh' },
  ];
  const trained = { id: 't', exp_id: 'exp-1', language: 'ja' };

  it('is the chosen one where it is still there', () => {
    expect(chosenVoice([trained, ...bundled], 'y', 'en').id).toBe('y');
  });

  it('is at first the newest, which if it was not trained here speaks the language of the page', () => {
    expect(chosenVoice(bundled, '', 'en').id).toBe('a');
    expect(chosenVoice(bundled, 'deleted', 'zh').id).toBe('x');
    expect(chosenVoice(bundled.slice(0, 1), '', 'zh').id).toBe('a');
    expect(chosenVoice([trained, ...bundled], '', 'zh').id).toBe('t');
  });
});

describe('a request', () => {
  it('has the settings of the form', () => {
    const settings = { ...form.value, text: 'Hi.', voice: 'voice-1', seed: '7', speed: '1.5', emotion: 'sad', sampling: { top_k: '5', top_p: '' } };
    expect(speechBody(settings)).toMatchObject({ input: 'Hi.', voice: 'voice-1', seed: 7, speed: 1.5, emotion: 'sad', top_k: 5 });
    expect(speechBody(settings)).not.toHaveProperty('top_p');
    expect(inferenceBody(settings)).toMatchObject({ text: 'Hi.', voice: 'voice-1', seed: 7, speed: 1.5, emotion: 'sad' });
  });
});
