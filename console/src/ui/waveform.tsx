// A recording as a waveform: played, its position chosen by pointer or keyboard, a range marked where one is wanted.
import { useEffect, useRef, useState } from 'preact/hooks';
import WaveSurfer from 'wavesurfer.js';
import RegionsPlugin from 'wavesurfer.js/plugins/regions';
import { formatDuration, t } from '../app/i18n';
import { cssColor, isDark } from '../app/theme';

type Regions = ReturnType<typeof RegionsPlugin.create>;

export interface Range {
  start: number;
  end: number;
}

interface WaveformProps {
  blob: Blob;
  label: string;
  height?: number;
  autoplay?: boolean;
  /** The marked range, where the user may mark one. */
  range?: Range | undefined;
  onRange?: ((range: Range) => void) | undefined;
}

const nonce = document.querySelector<HTMLElement>('meta[property=csp-nonce]')?.nonce ?? '';

export function Waveform({ blob, label, height = 48, autoplay = false, range, onRange }: WaveformProps) {
  const selectable = onRange !== undefined;
  const container = useRef<HTMLDivElement>(null);
  const player = useRef<WaveSurfer>(null);
  const regions = useRef<Regions>(null);
  // A range that is marked before the recording is loaded would be cut to nothing.
  const loaded = useRef(false);
  const marked = useRef<Range | undefined>(undefined);
  marked.current = range;
  const [playing, setPlaying] = useState(false);
  const [time, setTime] = useState(0);
  const [duration, setDuration] = useState(0);
  const [failed, setFailed] = useState(false);
  const dark = isDark();
  useEffect(() => {
    loaded.current = false;
    setDuration(0);
    const plugin = onRange ? RegionsPlugin.create() : undefined;
    const surfer = WaveSurfer.create({
      container: container.current!,
      height,
      waveColor: cssColor('--wave'),
      progressColor: cssColor('--pico-primary'),
      cursorColor: cssColor('--pico-color'),
      barWidth: 2,
      barGap: 1,
      barRadius: 1,
      normalize: true,
      ...(nonce ? { cspNonce: nonce } : {}),
      plugins: plugin ? [plugin] : [],
    });
    player.current = surfer;
    regions.current = plugin ?? null;
    surfer.on('ready', (seconds) => {
      loaded.current = true;
      setDuration(seconds);
      if (autoplay) void surfer.play().catch(() => undefined);
    });
    surfer.on('play', () => setPlaying(true));
    surfer.on('pause', () => setPlaying(false));
    surfer.on('timeupdate', setTime);
    surfer.on('error', () => setFailed(true));
    if (plugin && onRange) {
      plugin.enableDragSelection({ color: cssColor('--wave-range') });
      const report = ({ start, end }: Range): void => {
        if (start !== marked.current?.start || end !== marked.current.end) onRange({ start, end });
      };
      plugin.on('region-created', (region) => {
        for (const other of plugin.getRegions()) if (other !== region) other.remove();
        report(region);
      });
      plugin.on('region-updated', report);
    }
    surfer.loadBlob(blob).catch(() => setFailed(true));
    return () => surfer.destroy();
  }, [blob, dark, selectable]);
  useEffect(() => {
    const plugin = regions.current;
    if (!plugin || !range) return;
    const [region] = plugin.getRegions();
    if (!region && loaded.current) plugin.addRegion({ ...range, color: cssColor('--wave-range') });
    else if (region && (region.start !== range.start || region.end !== range.end)) region.setOptions(range);
  }, [range?.start, range?.end, duration, selectable]);
  const seek = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !player.current) return;
    event.preventDefault();
    player.current.setTime(Math.min(duration, Math.max(0, player.current.getCurrentTime() + step)));
  };
  return (
    <div class="waveform">
      <button
        type="button"
        class="round"
        aria-label={`${playing ? t('audio.pause') : t('audio.play')}: ${label}`}
        disabled={failed || duration === 0}
        onClick={() => void player.current?.playPause()}
      >
        {playing ? '❚❚' : '▶'}
      </button>
      <div
        ref={container}
        class="wave"
        role="slider"
        tabIndex={0}
        aria-label={t('audio.position', { label })}
        aria-valuemin={0}
        aria-valuemax={Math.max(duration, 0.01)}
        aria-valuenow={time}
        aria-valuetext={formatDuration(time)}
        onKeyDown={seek}
      />
      <span class="number muted">
        {failed ? t('audio.unplayable') : `${formatDuration(time)} / ${formatDuration(duration)}`}
      </span>
    </div>
  );
}
