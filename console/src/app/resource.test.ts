import { h, render } from 'preact';
import { act } from 'preact/test-utils';
import { afterEach, describe, expect, it } from 'vitest';
import { chooseLanguage } from './i18n';
import { type Resource, useResource } from './resource';

const container = document.createElement('div');
let resource: Resource<string>;
let respond: ((text: string) => void)[] = [];

function Page({ round }: { round: number }) {
  resource = useResource(() => new Promise<string>((resolve) => respond.push(resolve)), [round]);
  return h('p', null, resource.data);
}

const show = (round: number): Promise<void> => act(() => render(h(Page, { round }), container));
const answer = (request: number, text: string): Promise<void> =>
  act(async () => {
    respond[request]!(text);
    await Promise.resolve();
  });

afterEach(() => {
  render(null, container);
  respond = [];
});

describe('data that is loaded again before it has arrived', () => {
  it('is shown as it arrives, and an older response never replaces a newer one', async () => {
    for (const round of [0, 1, 2]) await show(round);
    await answer(0, 'first');
    expect([container.textContent, resource.loading]).toEqual(['first', true]);
    await answer(2, 'third');
    await answer(1, 'second');
    expect([container.textContent, resource.loading]).toEqual(['third', false]);
  });

  it('does not replace what a change has set since', async () => {
    await show(0);
    await act(() => resource.set('changed'));
    await answer(0, 'first');
    expect(container.textContent).toBe('changed');
  });

  it('is loaded again in the language that is chosen', async () => {
    await show(0);
    await answer(0, 'English');
    await act(() => chooseLanguage('zh'));
    await answer(1, '中文');
    expect(container.textContent).toBe('中文');
  });
});
