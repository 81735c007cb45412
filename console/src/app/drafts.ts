// What a user has typed is kept over a reload.
import { effect, signal, type Signal } from '@preact/signals';

const PREFIX = 'sovitsd.draft.';
const drafts = new Map<string, Signal<unknown>>();

/** Return a signal whose value is kept in this browser. An object that was kept lacks no field of the initial one. */
export function draft<T>(name: string, initial: T): Signal<T> {
  const existing = drafts.get(name) as Signal<T> | undefined;
  if (existing) return existing;
  const created = signal<T>(restore(localStorage.getItem(PREFIX + name), initial));
  drafts.set(name, created);
  effect(() => {
    try {
      localStorage.setItem(PREFIX + name, JSON.stringify(created.value));
    } catch {
      // The browser's storage is full or forbidden: the draft lasts as long as the page.
    }
  });
  return created;
}

export function restore<T>(stored: string | null, initial: T): T {
  if (stored === null) return initial;
  try {
    const value = JSON.parse(stored) as T;
    if (typeof value !== typeof initial || Array.isArray(value) !== Array.isArray(initial)) return initial;
    const isObject = typeof initial === 'object' && initial !== null && !Array.isArray(initial);
    return isObject ? { ...initial, ...value } : value;
  } catch {
    return initial;
  }
}
