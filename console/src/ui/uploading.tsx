// Uploads under way: how much was sent, and a button to cancel.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Schemas } from '../api/client';
import { type Upload, uploadFile } from '../api/upload';
import { t } from '../app/i18n';
import { Name, ProgressBar } from './feedback';

interface Sending {
  name: string;
  share: number;
  cancel: () => void;
}

export interface Uploads {
  current: Sending | undefined;
  /** Upload a file; the promise is rejected with an AbortError when the user cancels. */
  file: (file: Blob, name: string, purpose: string) => Promise<Schemas['FileView']>;
  /** Follow an upload that `start` begins; it gets the function to report progress to. */
  follow: <T>(name: string, start: (onProgress: (share: number) => void) => Upload<T>) => Promise<T>;
}

export function useUploads(): Uploads {
  const [current, setCurrent] = useState<Sending>();
  const running = useRef<Upload<unknown>>(null);
  useEffect(() => () => running.current?.cancel(), []); // nobody waits for it on another page
  const follow = async <T,>(name: string, start: (onProgress: (share: number) => void) => Upload<T>): Promise<T> => {
    const upload = start((share) => setCurrent((before) => before && { ...before, share }));
    running.current = upload;
    setCurrent({ name, share: 0, cancel: upload.cancel });
    try {
      return await upload.done;
    } finally {
      running.current = null;
      setCurrent(undefined);
    }
  };
  const file = (content: Blob, name: string, purpose: string) =>
    follow(name, (onProgress) => uploadFile(content, name, purpose, onProgress));
  return { current, file, follow };
}

export function Uploading({ upload, after }: { upload: Sending | undefined; after?: string }) {
  if (!upload) return null;
  return (
    <div role="status">
      <p>
        {t('common.uploading', { name: '' })} <Name>{upload.name}</Name>
      </p>
      <ProgressBar share={upload.share} label={t('new.upload')} />
      {upload.share >= 1 && after && <p class="muted">{after}</p>}
      <button type="button" class="outline small" onClick={upload.cancel}>
        {t('common.cancel')}
      </button>
    </div>
  );
}
