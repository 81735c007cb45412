// Requests to the API: typed by its OpenAPI document, with the API key of this session, errors as ApiError.
import createClient, { type Middleware } from 'openapi-fetch';
import { language, t } from '../app/i18n';
import { apiKey, signOut } from '../app/session';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];
export type Page<T> = { items: T[]; total: number; limit: number; offset: number };

/** The folder that the API is served in: the parent of the console's. */
export const root = new URL('../', document.baseURI).href.replace(/\/$/, '');
const TIMEOUT_MS = 30_000;

/** A failed request: what was wrong, and what would work. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint = '',
    readonly status = 0,
    readonly details: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

export function requestHeaders(): Record<string, string> {
  const headers: Record<string, string> = { 'Accept-Language': language.value };
  if (apiKey.value) headers['Authorization'] = `Bearer ${apiKey.value}`;
  return headers;
}

const authentication: Middleware = {
  onRequest({ request }) {
    for (const [name, value] of Object.entries(requestHeaders())) request.headers.set(name, value);
    return request;
  },
};

/** Fetch with a limit on the time until the response begins; a page never waits forever. */
export async function timedFetch(request: Request): Promise<Response> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new DOMException('timed out', 'TimeoutError')), TIMEOUT_MS);
  try {
    return await fetch(request, { signal: AbortSignal.any([request.signal, limit.signal]) });
  } finally {
    clearTimeout(timer);
  }
}

export const api = createClient<paths>({ baseUrl: root, fetch: timedFetch });
api.use(authentication);

/** Return the body of a response; throw an ApiError for a failed request. */
export async function call<T>(pending: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  let outcome;
  try {
    outcome = await pending;
  } catch (error) {
    throw connectionError(error);
  }
  if (!outcome.response.ok) throw toApiError(outcome.error, outcome.response.status);
  return outcome.data as T;
}

/** Fetch bytes, such as a recording, which an `<audio>` element cannot: it sends no API key. */
export async function fetchBlob(path: string, signal?: AbortSignal): Promise<Blob> {
  const response = await openResponse(path, signal ? { signal } : {});
  return response.blob();
}

/** Send a request outside of the typed client, for bodies that are read as they arrive. */
export async function openResponse(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = { ...requestHeaders(), ...(options.headers as Record<string, string> | undefined) };
  let response;
  try {
    response = await timedFetch(new Request(root + path, { ...options, headers }));
  } catch (error) {
    throw connectionError(error);
  }
  if (!response.ok) throw toApiError(await response.json().catch(() => null), response.status);
  return response;
}

export function connectionError(error: unknown): unknown {
  if (error instanceof ApiError) return error;
  if (error instanceof DOMException && error.name === 'AbortError') return error;
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return new ApiError('timed_out', t('error.timedOut'), t('error.timedOutHint'));
  }
  return new ApiError('unreachable', t('error.unreachable'), t('error.unreachableHint'));
}

/** Read an error in any of the API's formats. */
export function toApiError(body: unknown, status: number): ApiError {
  const error = (body as { error?: Record<string, unknown> } | null)?.error;
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  if (status === 401 && apiKey.value) signOut(text(error?.['message']));
  return new ApiError(
    text(error?.['code']) || 'internal_error',
    text(error?.['message']) || t('error.status', { status }),
    text(error?.['hint']),
    status,
    (error?.['details'] as Record<string, unknown> | undefined) ?? {},
  );
}
