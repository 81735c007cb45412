// Data of the API in a component: loaded when what it depends on changes, with its error, and loaded again on request.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, connectionError } from '../api/client';

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
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    let current = true;
    setState((before) => ({ ...before, loading: true }));
    latest.current().then(
      (data) => {
        if (current) setState({ data, loading: false });
      },
      (error: unknown) => {
        if (current) setState((before) => ({ ...before, error: asApiError(error), loading: false }));
      },
    );
    return () => {
      current = false;
    };
  }, [...dependencies, round]);
  const reload = useCallback(() => setRound((count) => count + 1), []);
  const set = useCallback((data: T) => setState({ data, loading: false }), []);
  return { data: state.data, error: state.error, loading: state.loading, reload, set };
}

export function asApiError(error: unknown): ApiError {
  const converted = connectionError(error);
  return converted instanceof ApiError ? converted : new ApiError('internal_error', String(error));
}
