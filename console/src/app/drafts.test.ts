import { describe, expect, it } from 'vitest';
import { draft, restore } from './drafts';

describe('a draft', () => {
  it('has every field of the initial value, also when an older page kept fewer', () => {
    expect(restore('{"text": "kept"}', { text: '', speed: '1' })).toEqual({ text: 'kept', speed: '1' });
  });

  it('is the initial value when what was kept is damaged or of another type', () => {
    expect(restore('{"text', { text: '' })).toEqual({ text: '' });
    expect(restore('7', { text: '' })).toEqual({ text: '' });
    expect(restore('{}', ['a'])).toEqual(['a']);
  });

  it('is written as soon as it changes', () => {
    draft('test', { text: '' }).value = { text: 'hello' };
    expect(localStorage.getItem('sovitsd.draft.test')).toBe('{"text":"hello"}');
  });
});
