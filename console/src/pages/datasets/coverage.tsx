// Which phonemes of the language the transcripts lack, and sentences that have them.
import { api, call, type Schemas } from '../../api/client';
import { jobResult } from '../../api/jobs';
import { t } from '../../app/i18n';
import { useState } from 'preact/hooks';
import { useAction } from '../../ui/action';
import { ErrorNote, Notice } from '../../ui/feedback';

interface CoverageView {
  phonemes: number;
  missing: string[];
  sentences: { text: string; phonemes: string[] }[];
}

export function Coverage({ dataset }: { dataset: Schemas['DatasetView'] }) {
  const [coverage, setCoverage] = useState<CoverageView>();
  const find = useAction(async () => {
    const path = { dataset_id: dataset.id };
    const job = await call(
      api.POST('/api/v1/datasets/{dataset_id}/coverage', { params: { path, query: { version: dataset.version } } }),
    );
    setCoverage((await jobResult(job.id)) as unknown as CoverageView);
  });
  return (
    <section class="card">
      <h2>{t('coverage.title')}</h2>
      <p class="muted">{t('coverage.help')}</p>
      <ErrorNote error={find.error} />
      <button type="button" class="outline small" aria-busy={find.busy} disabled={find.busy} onClick={() => void find.run()}>
        {find.busy ? t('coverage.working') : t('coverage.find')}
      </button>
      {coverage && (
        <>
          <p>{t('coverage.share', { have: coverage.phonemes - coverage.missing.length, all: coverage.phonemes })}</p>
          {coverage.missing.length === 0 ? (
            <Notice kind="success">{t('coverage.complete')}</Notice>
          ) : (
            <p>
              {t('coverage.missing')}: <code>{coverage.missing.join(' ')}</code>
            </p>
          )}
          {coverage.sentences.length > 0 && (
            <>
              <h3>{t('coverage.next')}</h3>
              <ol>
                {coverage.sentences.map((sentence) => (
                  <li key={sentence.text} dir="auto">
                    {sentence.text} <code>{sentence.phonemes.join(' ')}</code>
                  </li>
                ))}
              </ol>
            </>
          )}
        </>
      )}
    </section>
  );
}
