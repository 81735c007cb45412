// What a page says about its state: errors, waiting, nothing there, progress, a status.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { ApiError } from '../api/client';
import { formatPercent, t, term } from '../app/i18n';

export function ErrorNote({ error, retry }: { error: ApiError | undefined; retry?: () => void }) {
  if (!error) return null;
  return (
    <div class="note error" role="alert">
      <strong dir="auto">{error.message}</strong>
      {error.hint && <p dir="auto">{error.hint}</p>}
      {retry && (
        <button type="button" class="outline small" onClick={retry}>
          {t('common.retry')}
        </button>
      )}
    </div>
  );
}

export function Notice({ children, kind = 'info' }: { children: ComponentChildren; kind?: 'info' | 'warning' | 'success' }) {
  return (
    <div class={`note ${kind}`} role="status">
      {children}
    </div>
  );
}

/** Appears only after a moment, so that quick responses do not flicker. */
export function Loading() {
  const [visible, setVisible] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setVisible(true), 200);
    return () => clearTimeout(timer);
  }, []);
  return (
    <p class="muted" role="status">
      {visible ? t('common.loading') : '\u00a0'}
    </p>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

const KIND: Record<string, string> = {
  ...{ completed: 'good', done: 'good', ready: 'good', ok: 'good', valid: 'good', admin: 'good', delivered: 'good' },
  ...{ running: 'busy', processing: 'busy', queued: 'waiting', waiting: 'waiting', delayed: 'waiting' },
  ...{ preparing: 'busy', paused: 'warn', stale: 'warn', expired: 'warn', interrupted: 'warn', pending: 'idle' },
  ...{ failed: 'bad', dead: 'bad', withdrawn: 'bad', revoked: 'idle', cancelled: 'idle', rejected: 'warn' },
};

export function Status({ value }: { value: string }) {
  return <span class={`badge ${KIND[value] ?? 'idle'}`}>{term('status', value)}</span>;
}

export function ProgressBar({ share, label }: { share: number; label: string }) {
  const value = Math.min(1, Math.max(0, share));
  return (
    <div class="progress">
      <progress value={value} max={1} aria-label={label} />
      <span class="number">{formatPercent(value)}</span>
    </div>
  );
}

/** Whether a live page hears of changes. */
export function Connection({ connected }: { connected: boolean }) {
  if (connected) return null;
  return (
    <div class="note warning" role="status">
      {t('common.reconnecting')}
    </div>
  );
}

/** A name that a user or a file gave: text of any direction and length. */
export function Name({ children }: { children: string }) {
  return (
    <bdi class="name" title={children}>
      {children}
    </bdi>
  );
}
