// Data of the API in a component: loaded when what it depends on changes, with its error, and loaded again on request.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, connectionError } from '../api/client';
import { language } from './i18n';

export interface Resource<T> {
  data: T | undefined;
  error: ApiError | undefined;
  loading: boolean;
  reload: () => void;
  set: (data: T) => void;
}

export function useResource<T>(load: () => Promise<T>, dependencies: readonly unknown[]): Resource<T> {
  const [state, setState] = useState<{ data?: T; error?: ApiError; loading: boolean }>({ loading: true });
  const [round, setRound] = useState(0);
  // Responses are shown in the order of their requests. One that is late is shown, too, until a newer one comes: a
  // page that loads its data again more often than the server responds would never change otherwise.
  const requests = useRef({ sent: 0, shown: 0 });
  useEffect(() => {
    const { current } = requests;
    const number = ++current.sent;
    const show = (change: { data?: T; error?: ApiError }): void => {
      if (number <= current.shown) return;
      current.shown = number;
      setState((before) => ({ data: before.data, ...change, loading: number < current.sent }));
    };
    setState((before) => ({ ...before, loading: true }));
    load().then(
      (data) => show({ data }),
      (error: unknown) => show({ error: asApiError(error) }),
    );
  }, [...dependencies, round, language.value]); // messages of records come in the language of the request
  useEffect(() => () => void (requests.current.shown = Infinity), []);
  const reload = useCallback(() => setRound((count) => count + 1), []);
  const set = useCallback((data: T) => {
    requests.current.shown = requests.current.sent; // what was requested before is older
    setState({ data, loading: false });
  }, []);
  return { data: state.data, error: state.error, loading: state.loading, reload, set };
}

const REFRESH_MS = 5_000;

/** Load again every few seconds while the page is seen, and as soon as it is seen again: others change things, too. */
export function useRefresh(reload: () => void, wanted = true): void {
  useEffect(() => {
    if (!wanted) return;
    const refresh = (): void => {
      if (document.visibilityState === 'visible') reload();
    };
    const timer = setInterval(refresh, REFRESH_MS);
    document.addEventListener('visibilitychange', refresh);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', refresh);
    };
  }, [reload, wanted]);
}

export function asApiError(error: unknown): ApiError {
  const converted = connectionError(error);
  return converted instanceof ApiError ? converted : new ApiError('internal_error', String(error));
}
