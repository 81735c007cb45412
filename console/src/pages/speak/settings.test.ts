import { describe, expect, it } from 'vitest';
import { form, inferenceBody, speechBody, subtitleTexts } from './settings';

describe('subtitles', () => {
  it('are texts without numbers, times and markup', () => {
    const srt = '\ufeff1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>Hello</i>\r\nagain.\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\n{\\an8}42\r\n';
    expect(subtitleTexts(srt)).toEqual(['Hello again.', '42']);
  });

  it('are none in an empty file', () => {
    expect(subtitleTexts('\n\n')).toEqual([]);
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
