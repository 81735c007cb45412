import { describe, expect, it } from 'vitest';
import { endOfDay, usesOf } from './consent';

describe('a consent as it is typed', () => {
  it('has uses between commas of both languages', () => {
    expect(usesOf('news, audio guide，有声书、, ')).toEqual(['news', 'audio guide', '有声书']);
  });

  it('counts until the end of its last day', () => {
    expect(endOfDay('')).toBeNull();
    expect(new Date(endOfDay('2030-01-31')!).getTime()).toBe(new Date(2030, 0, 31, 23, 59, 59).getTime());
  });
});
