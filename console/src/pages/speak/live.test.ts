import { describe, expect, it } from 'vitest';
import { wordAt } from './live';

const WORDS = [
  { text_start: 0, text_end: 6, start: 0.1, end: 0.4 },
  { text_start: 6, text_end: 11, start: 0.6, end: 0.9 },
];

describe('the word that is heard', () => {
  it.each([
    [0, -1],
    [0.1, 0],
    [0.5, 0],
    [0.6, 1],
    [9, 1],
  ])('at %f s is number %i', (seconds, index) => {
    expect(wordAt(WORDS, seconds)).toBe(index);
  });
});
