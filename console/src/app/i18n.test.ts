import { describe, expect, it } from 'vitest';
import { en } from '../text/en';
import { zh } from '../text/zh';
import { chooseLanguage, fill, formatBytes, formatDuration, formatRemaining, preferredLanguage, t, term } from './i18n';

describe('texts', () => {
  it('have the same parameters in both languages', () => {
    const parameters = (text: string): string[] => [...text.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();
    for (const [key, text] of Object.entries(en)) {
      expect(parameters(zh[key as keyof typeof en]), key).toEqual(parameters(text));
    }
  });

  it('are Chinese in Chinese, but for names that have no translation', () => {
    const same = Object.entries(en).filter(([key, text]) => zh[key as keyof typeof en] === text && /[a-z]{4}/.test(text));
    expect(same).toEqual([]);
  });

  it('change with the language', () => {
    chooseLanguage('zh');
    expect(t('speak.speak')).toBe('开始朗读');
    expect(term('status', 'running')).toBe('运行中');
    expect(document.documentElement.lang).toBe('zh-CN');
    chooseLanguage('en');
    expect(t('speak.speak')).toBe('Speak');
    expect(term('status', 'something new')).toBe('something new');
  });

  it('keep what looks like a parameter in a value as it is', () => {
    expect(fill('{a} and {b}', { a: '{b}', b: 1 })).toBe('{b} and 1');
  });
});

describe('the first language', () => {
  it('is the one chosen before, else the browser’s first one that exists, else English', () => {
    expect(preferredLanguage('en', ['zh-CN'])).toBe('en');
    expect(preferredLanguage(null, ['fr', 'zh-TW', 'en'])).toBe('zh');
    expect(preferredLanguage(null, ['en-GB', 'zh'])).toBe('en');
    expect(preferredLanguage(null, ['fr'])).toBe('en');
  });
});

describe('numbers', () => {
  it('are durations, remaining times and sizes', () => {
    expect([0, 65, 3723].map(formatDuration)).toEqual(['0:00', '1:05', '1:02:03']);
    expect([3, 62, 600, 7800].map(formatRemaining)).toEqual(['about 5 s', 'about 60 s', 'about 10 min', 'about 2 h 10 min']);
    expect([512, 1536, 5 * 2 ** 20].map(formatBytes)).toEqual(['512 B', '1.5 KiB', '5.0 MiB']);
  });
});
