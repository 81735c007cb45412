// The API key of this session, and what it may do.
import { signal } from '@preact/signals';
import type { components } from '../api/schema';

export type Scope = 'speak' | 'train' | 'read' | 'admin';
const KEY = 'sovitsd.key';

/** Kept for the session of this tab only. */
export const apiKey = signal(sessionStorage.getItem(KEY) ?? '');
export const caller = signal<components['schemas']['CallerView'] | null>(null);
/** Why the last session ended; empty when the user ended it. */
export const signedOutBecause = signal('');

export function signIn(key: string): void {
  apiKey.value = key;
  signedOutBecause.value = '';
  sessionStorage.setItem(KEY, key);
}

export function signOut(reason = ''): void {
  apiKey.value = '';
  caller.value = null;
  signedOutBecause.value = reason;
  sessionStorage.removeItem(KEY);
}

/** Whether the key may do what needs one of these scopes. */
export function can(...scopes: Scope[]): boolean {
  return scopes.some((scope) => caller.value?.scopes.includes(scope));
}
