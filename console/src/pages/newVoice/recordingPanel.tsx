// Recording in the browser: a text to read aloud, a level meter, and the result to listen to before it is sent.
import { useEffect, useRef, useState } from 'preact/hooks';
import { formatDuration, t } from '../../app/i18n';
import { type Level, Recorder } from '../../audio/recorder';
import { Notice } from '../../ui/feedback';
import { Waveform } from '../../ui/waveform';

const LOW_DB = -30;

interface RecordingPanelProps {
  title: string;
  help: string;
  /** What is read aloud. */
  text: string;
  onRecording: (blob: Blob) => void;
}

export function RecordingPanel({ title, help, text, onRecording }: RecordingPanelProps) {
  const recorder = useRef<Recorder>(null);
  const [level, setLevel] = useState<Level>();
  const [result, setResult] = useState<Blob>();
  const [problem, setProblem] = useState('');
  const [loudest, setLoudest] = useState(-90);
  const left = useRef(false);
  useEffect(
    () => () => {
      left.current = true;
      recorder.current?.stop();
      recorder.current = null;
    },
    [],
  );
  const start = async (): Promise<void> => {
    setProblem('');
    setResult(undefined);
    setLoudest(-90);
    try {
      const started = await Recorder.start((newest) => {
        setLevel(newest);
        setLoudest((before) => Math.max(before, newest.peak));
      });
      if (left.current) started.stop(); // the page was left while the browser asked for permission
      else recorder.current = started;
    } catch (error) {
      const denied = error instanceof DOMException && error.name === 'NotAllowedError';
      setProblem(denied ? t('record.denied') : t('record.noMicrophone'));
    }
  };
  const stop = (): void => {
    setResult(recorder.current?.stop());
    recorder.current = null;
    setLevel(undefined);
  };
  return (
    <details>
      <summary>{title}</summary>
      <p class="muted">{help}</p>
      <blockquote dir="auto" class="read-aloud">
        {text}
      </blockquote>
      {problem && <Notice kind="warning">{problem}</Notice>}
      {level ? (
        <>
          <div class="row" role="group" aria-label={title}>
            <button type="button" class="small" onClick={stop}>
              {t('record.stop')}
            </button>
            <span class="number">{formatDuration(level.seconds)}</span>
            <meter
              min={-60}
              max={0}
              low={LOW_DB}
              high={-1}
              optimum={-12}
              value={level.peak}
              aria-label={t('record.level')}
            />
            <span class="number muted">{t('analysis.db', { db: Math.round(level.peak) })}</span>
          </div>
          {level.clipped && <Notice kind="warning">{t('problem.clipped')}</Notice>}
        </>
      ) : (
        <button type="button" class="outline small" onClick={() => void start()}>
          {result ? t('record.again') : t('record.start')}
        </button>
      )}
      {result && (
        <>
          <Waveform blob={result} label={t('record.result')} />
          {loudest < LOW_DB && <Notice kind="warning">{t('problem.too_quiet')}</Notice>}
          <button type="button" class="small" onClick={() => onRecording(result)}>
            {t('record.use')}
          </button>
        </>
      )}
    </details>
  );
}
