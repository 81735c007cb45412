import { h, render } from 'preact';
import { act } from 'preact/test-utils';
import { describe, expect, it } from 'vitest';
import { draft, restore, useDraft } from './drafts';

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

describe('a draft of one of many forms', () => {
  const container = document.createElement('div');
  let set: (text: string | undefined) => void;
  function Form({ name }: { name: string | undefined }) {
    const [text, change] = useDraft('form.1', name);
    set = change;
    return h('p', null, text ?? 'none');
  }
  const show = (name: string | undefined): Promise<void> => act(() => render(h(Form, { name }), container));

  it('outlives the page while it differs from what it began with, and is forgotten once it does not', async () => {
    await show(undefined);
    await act(() => set('typed'));
    expect(container.textContent).toBe('typed');
    render(null, container);
    await show(undefined);
    expect(container.textContent).toBe('typed');
    await show('typed'); // what was saved is what it would begin with now
    expect(localStorage.getItem('sovitsd.draft.form.1')).toBeNull();
    await act(() => set(undefined));
    expect(container.textContent).toBe('none');
  });
});
