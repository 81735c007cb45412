// What the server says of a recording: its length, level, noise and speech, and what to do about its problems.
import { api, call, type Schemas } from '../../api/client';
import { formatDuration, formatNumber, formatPercent, t, type TextKey } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { ErrorNote, Loading, Notice } from '../../ui/feedback';
import { Recording } from '../../ui/recording';

export function Analysis({ file }: { file: string }) {
  const analysis = useResource(
    () => call(api.GET('/api/v1/files/{file_id}/analysis', { params: { path: { file_id: file } } })),
    [file],
  );
  if (analysis.error) return <ErrorNote error={analysis.error} retry={analysis.reload} />;
  if (!analysis.data) return <Loading />;
  const { data } = analysis;
  const facts: [TextKey, string][] = [
    ['analysis.length', formatDuration(data.duration_seconds)],
    ['analysis.speech', `${formatDuration(data.speech_seconds)} (${formatPercent(data.speech_seconds / data.duration_seconds)})`],
    ['analysis.peak', t('analysis.db', { db: formatNumber(data.peak_db, 1) })],
    ['analysis.noise', t('analysis.db', { db: formatNumber(data.noise_db, 1) })],
    ['analysis.snr', t('analysis.ratio', { db: formatNumber(data.signal_to_noise_db, 0) })],
    ['analysis.rate', `${formatNumber(data.sample_rate)} Hz`],
  ];
  return (
    <>
      <Recording path={`/api/v1/files/${file}`} label={t('new.recording')} />
      <dl class="facts">
        {facts.map(([name, value]) => (
          <Fact key={name} name={t(name)} value={value} />
        ))}
      </dl>
      {data.problems.map((problem) => (
        <Notice key={problem} kind="warning">
          {t(`problem.${problem}`)}
        </Notice>
      ))}
      {data.problems.length === 0 && <Notice kind="success">{t('analysis.good')}</Notice>}
    </>
  );
}

export type Problem = Schemas['RecordingAnalysisView']['problems'][number];

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  );
}
