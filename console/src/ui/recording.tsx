// A recording of the API: fetched when it is asked for (it needs the API key), then shown as a waveform.
import { useEffect, useState } from 'preact/hooks';
import { fetchBlob } from '../api/client';
import { t } from '../app/i18n';
import { useAction } from './action';
import { ErrorNote } from './feedback';
import { type Range, Waveform } from './waveform';

interface RecordingProps {
  path: string;
  label: string;
  /** Offers to save it under this name. */
  download?: string;
  /** Shows the waveform at once. */
  eager?: boolean;
  /** The marked range, where the user may mark one. */
  range?: Range | undefined;
  onRange?: ((range: Range) => void) | undefined;
}

export function Recording({ path, label, download, eager = false, range, onRange }: RecordingProps) {
  const [loaded, setLoaded] = useState<{ path: string; blob: Blob }>();
  const action = useAction(async () => setLoaded({ path, blob: await fetchBlob(path) }));
  useEffect(() => {
    if (eager) void action.run();
  }, [path, eager]);
  if (loaded?.path === path) {
    return (
      <div class="row nowrap">
        <Waveform blob={loaded.blob} label={label} height={36} autoplay={!eager} range={range} onRange={onRange} />
        {download && <DownloadLink blob={loaded.blob} name={download} />}
      </div>
    );
  }
  return (
    <>
      <button
        type="button"
        class="round"
        aria-label={`${t('audio.play')}: ${label}`}
        aria-busy={action.busy}
        disabled={action.busy}
        onClick={() => void action.run()}
      >
        {action.busy ? '' : '▶'}
      </button>
      <ErrorNote error={action.error} />
    </>
  );
}

function DownloadLink({ blob, name }: { blob: Blob; name: string }) {
  return (
    <button type="button" class="outline small" onClick={() => saveBlob(blob, name)}>
      {t('common.download')}
    </button>
  );
}

/** Save bytes under a name, as if a link to them had been followed. */
export function saveBlob(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
