// What a user has typed is kept over a reload.
import { useLayoutEffect, useState } from 'preact/hooks';
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

/** Like `useState`, for one of many forms: kept over a reload as long as it differs from the initial value. */
export function useDraft<T>(name: string, initial: T): [value: T, set: (value: T) => void] {
  const key = PREFIX + name;
  const [value, setValue] = useState<T>(() => restore(localStorage.getItem(key), initial));
  const text = JSON.stringify(value) as string | undefined;
  const initialText = JSON.stringify(initial);
  useLayoutEffect(() => {
    try {
      if (text === undefined || text === initialText) localStorage.removeItem(key);
      else localStorage.setItem(key, text);
    } catch {
      // As above.
    }
  }, [key, text, initialText]);
  return [value, (next) => setValue(() => next)];
}

export function restore<T>(stored: string | null, initial: T): T {
  if (stored === null) return initial;
  try {
    const value = JSON.parse(stored) as T;
    if (initial === undefined) return value;
    if (typeof value !== typeof initial || Array.isArray(value) !== Array.isArray(initial)) return initial;
    const isObject = typeof initial === 'object' && initial !== null && !Array.isArray(initial);
    return isObject ? { ...initial, ...value } : value;
  } catch {
    return initial;
  }
}
