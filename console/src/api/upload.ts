// Uploads by XMLHttpRequest, since fetch reports no progress of what is sent.
import { type Schemas, ApiError, requestHeaders, root, toApiError } from './client';
import { t } from '../app/i18n';

export interface Upload<T> {
  done: Promise<T>;
  cancel: () => void;
}

/** Send a form; `onProgress` gets the share that was sent, from 0 to 1. */
export function sendForm<T>(path: string, form: FormData, onProgress: (share: number) => void): Upload<T> {
  const request = new XMLHttpRequest();
  const done = new Promise<T>((resolve, reject) => {
    request.open('POST', root + path);
    for (const [name, value] of Object.entries(requestHeaders())) request.setRequestHeader(name, value);
    request.responseType = 'json';
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(request.response as T);
      else reject(toApiError(request.response, request.status));
    };
    request.onerror = () => reject(new ApiError('unreachable', t('error.unreachable'), t('error.unreachableHint')));
    request.onabort = () => reject(new DOMException('cancelled', 'AbortError'));
    request.send(form);
  });
  return { done, cancel: () => request.abort() };
}

export function uploadFile(
  file: Blob,
  name: string,
  purpose: string,
  onProgress: (share: number) => void,
): Upload<Schemas['FileView']> {
  const form = new FormData();
  form.append('purpose', purpose);
  form.append('file', file, name);
  return sendForm('/api/v1/files', form, onProgress);
}
