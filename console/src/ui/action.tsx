// Buttons that send a request: busy meanwhile, and the error shown where the button is.
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ApiError } from '../api/client';
import { asApiError } from '../app/resource';
import { t } from '../app/i18n';
import { ErrorNote } from './feedback';

export interface Action<A extends unknown[]> {
  run: (...parameters: A) => Promise<boolean>;
  busy: boolean;
  error: ApiError | undefined;
  clear: () => void;
}

export function useAction<A extends unknown[]>(work: (...parameters: A) => Promise<unknown>): Action<A> {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const run = async (...parameters: A): Promise<boolean> => {
    setBusy(true);
    setError(undefined);
    try {
      await work(...parameters);
      return true;
    } catch (failure) {
      if (!(failure instanceof DOMException && failure.name === 'AbortError')) setError(asApiError(failure));
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { run, busy, error, clear: () => setError(undefined) };
}

interface ActionButtonProps {
  work: () => Promise<unknown>;
  children: ComponentChildren;
  class?: string;
  disabled?: boolean;
  /** Asked before it is done, where it cannot be undone. */
  confirm?: string;
  label?: string;
}

export function ActionButton({ work, children, confirm, disabled, label, ...rest }: ActionButtonProps) {
  const action = useAction(work);
  const [asking, setAsking] = useState(false);
  const kind = rest.class ?? 'outline small';
  if (asking && confirm) {
    return (
      <span class="confirm" role="alertdialog" aria-label={confirm}>
        <span>{confirm}</span>
        <button
          type="button"
          class="small danger"
          aria-busy={action.busy}
          disabled={action.busy}
          onClick={() => void action.run().then((done) => done && setAsking(false))}
        >
          {t('common.yes')}
        </button>
        <button type="button" class="outline small secondary" onClick={() => setAsking(false)}>
          {t('common.no')}
        </button>
        <ErrorNote error={action.error} />
      </span>
    );
  }
  return (
    <>
      <button
        type="button"
        class={kind}
        aria-label={label}
        aria-busy={action.busy}
        disabled={disabled === true || action.busy}
        onClick={() => (confirm ? setAsking(true) : void action.run())}
      >
        {children}
      </button>
      <ErrorNote error={action.error} />
    </>
  );
}
