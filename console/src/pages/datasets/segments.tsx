// Segments as waveforms with their transcripts: listened to, corrected, cut, left out.
import { useEffect, useState } from 'preact/hooks';
import { api, call, type Page, type Schemas } from '../../api/client';
import { useDraft } from '../../app/drafts';
import { formatDuration, t, term } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { can } from '../../app/session';
import { ActionButton, useAction } from '../../ui/action';
import { Empty, ErrorNote, Loading, Name } from '../../ui/feedback';
import { AreaField, NumberField } from '../../ui/fields';
import { Pager } from '../../ui/paged';
import { Recording } from '../../ui/recording';

type Dataset = Schemas['DatasetView'];
type Segment = Schemas['DatasetSegmentView'];
const PAGE = 10;

export function Segments({ dataset, problem, changed }: { dataset: Dataset; problem: string; changed: () => void }) {
  const [offset, setOffset] = useState(0);
  useEffect(() => setOffset(0), [problem, dataset.version]);
  const segments = useResource(
    () => (problem ? withProblem(dataset, problem, offset) : page(dataset, offset)),
    [dataset.id, dataset.version, dataset.report_status, problem, offset],
  );
  if (segments.error && !segments.data) return <ErrorNote error={segments.error} retry={segments.reload} />;
  if (!segments.data) return <Loading />;
  const { items, total } = segments.data;
  return (
    <section class="card">
      <h2>{problem ? t('segment.withProblem', { problem: term('flag', problem) }) : t('dataset.segments')}</h2>
      {items.length === 0 && <Empty>{t('segment.none')}</Empty>}
      {items.map((segment) => (
        <SegmentItem key={`${dataset.version} ${segment.number}`} dataset={dataset} segment={segment} changed={changed} />
      ))}
      <Pager offset={offset} size={PAGE} total={total} go={setOffset} />
    </section>
  );
}

async function page(dataset: Dataset, offset: number): Promise<Page<Segment>> {
  const query = { limit: PAGE, offset, version: dataset.version };
  return call(api.GET('/api/v1/datasets/{dataset_id}/segments', { params: { path: { dataset_id: dataset.id }, query } }));
}

/** The report names the segments of a problem; a page of them is fetched. */
async function withProblem(dataset: Dataset, problem: string, offset: number): Promise<Page<Segment>> {
  const path = { dataset_id: dataset.id };
  const query = { version: dataset.version };
  const report = await call(api.GET('/api/v1/datasets/{dataset_id}/report', { params: { path, query } }));
  const numbers = report.files.filter((file) => problemsOf(file).includes(problem)).map((file) => Number(file['segment']));
  const items = await Promise.all(
    numbers
      .slice(offset, offset + PAGE)
      .map((number) =>
        call(api.GET('/api/v1/datasets/{dataset_id}/segments/{number}', { params: { path: { ...path, number }, query } })),
      ),
  );
  return { items, total: numbers.length, limit: PAGE, offset };
}

function problemsOf(file: Record<string, unknown>): string[] {
  const problems = file['problems'];
  return Array.isArray(problems) ? problems.map((flag: { code?: string }) => flag.code ?? '') : [];
}

function SegmentItem({ dataset, segment, changed }: { dataset: Dataset; segment: Segment; changed: () => void }) {
  const draft = `segment.${dataset.id}.${segment.number}`;
  const [text, setText] = useDraft<string | undefined>(`${draft}.text`, undefined);
  const [span, setSpan] = useDraft<{ start: string; end: string } | undefined>(`${draft}.span`, undefined);
  const change = async (body: { transcript?: string; left_out?: boolean }): Promise<void> => {
    const path = { dataset_id: dataset.id, number: segment.number };
    await call(
      api.PATCH('/api/v1/datasets/{dataset_id}/segments/{number}', {
        params: { path },
        body: { ...body, base_version: dataset.latest_version },
      }),
    );
    changed();
  };
  const save = useAction(async () => {
    await change({ transcript: text ?? '' });
    setText(undefined);
  });
  const cut = useAction(async () => {
    const body = { start_seconds: Number(span!.start), end_seconds: Number(span!.end), recordings: [], segments: [segment.number] };
    await call(api.POST('/api/v1/datasets/{dataset_id}/crop', { params: { path: { dataset_id: dataset.id } }, body }));
    setSpan(undefined);
    changed();
  });
  const seconds = segment.duration_seconds.toFixed(2);
  const sensible = span && Number(span.start) >= 0 && Number(span.end) > Number(span.start);
  const editable = can('train') && dataset.version === dataset.latest_version;
  return (
    <div class={segment.left_out ? 'item left-out' : 'item'} data-segment={segment.number}>
      <div class="row">
        <strong>{segment.number}</strong>
        <Name>{segment.name}</Name>
        <span class="muted">
          {formatDuration(segment.start_seconds)} + {segment.duration_seconds.toFixed(1)} s · {term('language', segment.language)}
        </span>
        {segment.left_out && <span class="badge warn">{t('segment.leftOut')}</span>}
        {segment.flags.map((flag, index) => (
          <span key={index} class="badge warn" title={typeof flag['message'] === 'string' ? flag['message'] : ''}>
            {term('flag', typeof flag['code'] === 'string' ? flag['code'] : '')}
          </span>
        ))}
      </div>
      <Recording
        eager
        path={`/api/v1/datasets/${dataset.id}/segments/${segment.number}/audio?version=${dataset.version}`}
        label={t('segment.number', { n: segment.number })}
        range={span && { start: Number(span.start), end: Number(span.end) }}
        onRange={span && (({ start, end }) => setSpan({ start: start.toFixed(2), end: end.toFixed(2) }))}
      />
      {span && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void cut.run();
          }}
        >
          <p class="muted">{t('segment.cutHelp')}</p>
          <div class="grid-fields">
            <NumberField label={t('operation.start')} value={span.start} onChange={(start) => setSpan({ ...span, start })} min={0} step="any" />
            <NumberField label={t('operation.end')} value={span.end} onChange={(end) => setSpan({ ...span, end })} min={0} step="any" />
          </div>
          <ErrorNote error={cut.error} />
          <div class="row">
            <button type="submit" class="small" disabled={!sensible || cut.busy}>
              {t('segment.keepPart')}
            </button>
            <button type="button" class="outline small secondary" onClick={() => setSpan(undefined)}>
              {t('common.cancel')}
            </button>
          </div>
        </form>
      )}
      {text === undefined ? (
        <p dir="auto" class="transcript">
          {segment.transcript || <span class="muted">{t('segment.noTranscript')}</span>}
        </p>
      ) : (
        <AreaField label={t('segment.transcript')} value={text} onChange={setText} rows={2} />
      )}
      <ErrorNote error={save.error} />
      {editable && (
        <div class="row">
          {text === undefined ? (
            <button type="button" class="outline small" onClick={() => setText(segment.transcript)}>
              {t('prompts.correct')}
            </button>
          ) : (
            <>
              <button type="button" class="small" disabled={save.busy} onClick={() => void save.run()}>
                {t('common.save')}
              </button>
              <button type="button" class="outline small secondary" onClick={() => setText(undefined)}>
                {t('common.cancel')}
              </button>
            </>
          )}
          {!span && (
            <button type="button" class="outline small" onClick={() => setSpan({ start: '0', end: seconds })}>
              {t('segment.cut')}
            </button>
          )}
          <ActionButton work={() => change({ left_out: !segment.left_out })}>
            {segment.left_out ? t('segment.include') : t('segment.exclude')}
          </ActionButton>
        </div>
      )}
    </div>
  );
}
