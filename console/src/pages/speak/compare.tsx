// Two speeches at once, one of them heard: switching keeps the position, so that only the difference is noticed.
import { useEffect, useRef, useState } from 'preact/hooks';
import { formatDuration, t } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { keptAudio } from '../../audio/store';
import { active } from './active';

export function Compare({ ids, close }: { ids: string[]; close: () => void }) {
  const blobs = useResource(() => Promise.all(ids.map(async (id) => active.value[id]?.blob ?? keptAudio(id))), ids);
  const players = useRef<HTMLAudioElement[]>([]);
  const [heard, setHeard] = useState(0);
  const [playing, setPlaying] = useState(false);
  const [time, setTime] = useState(0);
  useEffect(() => {
    const urls = (blobs.data ?? []).filter((blob) => blob !== undefined).map((blob) => URL.createObjectURL(blob));
    players.current = urls.map((url) => new Audio(url));
    for (const player of players.current) {
      player.onended = () => setPlaying(false);
      player.ontimeupdate = () => setTime(player.currentTime);
    }
    return () => {
      for (const player of players.current) player.pause();
      urls.forEach((url) => URL.revokeObjectURL(url));
    };
  }, [blobs.data]);
  const play = (side: number): void => {
    const [from, to] = [players.current[heard], players.current[side]];
    if (!from || !to) return;
    if (side === heard && playing) {
      from.pause();
      setPlaying(false);
      return;
    }
    if (side !== heard) {
      to.currentTime = playing ? from.currentTime : 0;
      from.pause();
    }
    setHeard(side);
    void to.play().then(() => setPlaying(true));
  };
  return (
    <section class="card compare" aria-label={t('compare.title')}>
      <div class="row">
        <strong>{t('compare.title')}</strong>
        {['A', 'B'].map((side, index) => (
          <button key={side} type="button" class={heard === index && playing ? 'small' : 'outline small'} aria-pressed={heard === index && playing} onClick={() => play(index)}>
            {heard === index && playing ? '❚❚' : '▶'} {side}
          </button>
        ))}
        <span class="number muted">{formatDuration(time)}</span>
        <button type="button" class="outline small secondary" onClick={close}>
          {t('common.close')}
        </button>
      </div>
      <small class="muted">{t('compare.help')}</small>
    </section>
  );
}
