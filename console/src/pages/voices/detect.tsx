// Is this synthetic? A recording is examined for the marks of this installation; nothing of it is kept.
import { useState } from 'preact/hooks';
import type { Schemas } from '../../api/client';
import { sendForm } from '../../api/upload';
import { formatNumber, t } from '../../app/i18n';
import { useAction } from '../../ui/action';
import { Dropzone } from '../../ui/dropzone';
import { ErrorNote, Name, Notice } from '../../ui/feedback';
import { Uploading, useUploads } from '../../ui/uploading';

type Detection = Schemas['DetectionView'];

export function Detect() {
  const [result, setResult] = useState<{ name: string; detection: Detection }>();
  const uploads = useUploads();
  const examine = useAction(async (file: File) => {
    setResult(undefined);
    const form = new FormData();
    form.append('file', file, file.name);
    const detection = await uploads.follow(file.name, (onProgress) => sendForm<Detection>('/api/v1/detect', form, onProgress));
    setResult({ name: file.name, detection });
  });
  return (
    <section class="card">
      <h2>{t('detect.title')}</h2>
      <p class="muted">{t('detect.help')}</p>
      {!uploads.current && <Dropzone label={t('new.choose')} accept="audio/*" onFiles={([file]) => file && void examine.run(file)} />}
      <Uploading upload={uploads.current} after={t('new.examining')} />
      <ErrorNote error={examine.error} />
      {result && <Result {...result} />}
    </section>
  );
}

function Result({ name, detection }: { name: string; detection: Detection }) {
  const { synthetic, watermark } = detection;
  const facts: [string, string][] = [
    [t('detect.score'), `${formatNumber(watermark.score, 1)} (${t('detect.threshold', { n: formatNumber(watermark.threshold, 1) })})`],
    [t('detect.from'), watermark.start_seconds === null ? '–' : `${formatNumber(watermark.start_seconds, 1)} s`],
    [t('detect.mark'), watermark.mark_id ?? '–'],
  ];
  return (
    <div role="status">
      <p>
        <Name>{name}</Name>
      </p>
      <Notice kind={synthetic ? 'warning' : 'info'}>{t(synthetic ? 'detect.synthetic' : 'detect.unknown')}</Notice>
      <dl class="facts">
        {facts.map(([fact, value]) => [<dt key={`${fact}-name`}>{fact}</dt>, <dd key={fact}>{value}</dd>])}
      </dl>
    </div>
  );
}
