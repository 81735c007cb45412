// A training: its loss curves, live, and every saved epoch with its sample and its numbers.
import { useMemo } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { formatNumber, t, term } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { can } from '../../app/session';
import { ActionButton } from '../../ui/action';
import { Chart, type Curve } from '../../ui/chart';
import { Empty, ErrorNote, Loading } from '../../ui/feedback';
import { Recording } from '../../ui/recording';

type Results = Schemas['TrainingResultsView'];

interface Checkpoint {
  /** 0: the model before its first step, which is no checkpoint. */
  epoch: number;
  /** Empty for epoch 0. */
  id: string;
  best: boolean;
  sample: string;
  measures: Record<string, number | undefined>;
}

const POINTS = 400;
const MEASURES = ['loss', 'wer', 'cer', 'similarity', 'dnsmos'] as const;

export function Training(props: { experiment: string; stage: string; voice: string | null; round: string }) {
  const { experiment, stage } = props;
  const results = useResource(
    () =>
      call(
        api.GET('/api/v1/experiments/{exp_id}/stages/{stage}/metrics', {
          params: { path: { exp_id: experiment, stage }, query: { points: POINTS } },
        }),
      ),
    [experiment, stage, props.round],
  );
  const used = useUsedCheckpoints(props.voice, props.round);
  const curves = useMemo(() => (results.data ? lossCurves(results.data) : []), [results.data]);
  if (results.error && !results.data) return <ErrorNote error={results.error} retry={results.reload} />;
  if (!results.data) return <Loading />;
  const checkpoints = heardEpochs(results.data);
  const { voice } = props;
  const use = async (checkpoint: Checkpoint): Promise<void> => {
    const change = stage === 'gpt_train' ? { gpt_checkpoint_id: checkpoint.id } : { sovits_checkpoint_id: checkpoint.id };
    await call(api.PATCH('/api/v1/voices/{voice}', { params: { path: { voice: voice! } }, body: change }));
    used.reload();
  };
  return (
    <section class="card" aria-label={term('stage', stage)}>
      <h2>{term('stage', stage)}</h2>
      {results.data.curve.steps.length > 1 ? (
        <Chart title={t('training.losses')} x={results.data.curve.steps} curves={curves} />
      ) : (
        <Empty>{t('training.noLosses')}</Empty>
      )}
      <h3>{t('training.epochs')}</h3>
      {checkpoints.length === 0 ? (
        <Empty>{t('training.noEpochs')}</Empty>
      ) : (
        <div class="scroll" role="region" tabIndex={0} aria-label={t('training.epochsOf', { stage: term('stage', stage) })}>
          <table class="list">
            <thead>
              <tr>
                <th scope="col">{t('training.epoch')}</th>
                <th scope="col">{t('training.sample')}</th>
                {MEASURES.map((measure) => (
                  <th key={measure} scope="col" class="right">
                    {t(`measure.${measure}`)}
                  </th>
                ))}
                <th scope="col">{t('common.actions')}</th>
              </tr>
            </thead>
            <tbody>
              {checkpoints.map((checkpoint) => (
                <tr key={checkpoint.epoch}>
                  <td>
                    {epochName(checkpoint.epoch)} {checkpoint.best && <span class="badge good">{t('training.best')}</span>}
                  </td>
                  <td>
                    {checkpoint.sample ? (
                      <Recording
                        path={`/api/v1/experiments/${experiment}/stages/${stage}/artefacts/${checkpoint.sample}`}
                        label={sampleName(checkpoint.epoch)}
                      />
                    ) : (
                      '–'
                    )}
                  </td>
                  {MEASURES.map((measure) => (
                    <td key={measure} class="right">
                      {formatMeasure(measure, checkpoint.measures[measure])}
                    </td>
                  ))}
                  <td>
                    {used.data?.includes(checkpoint.id) ? (
                      <span class="badge good">{t('training.published')}</span>
                    ) : voice && checkpoint.id && can('train') ? (
                      <ActionButton work={() => use(checkpoint)}>{t('training.publish')}</ActionButton>
                    ) : (
                      '–'
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <small class="muted">{t('training.measures')}</small>
    </section>
  );
}

/** The checkpoints with which the voice speaks now. */
function useUsedCheckpoints(voice: string | null, round: string) {
  return useResource(async () => {
    if (!voice) return [];
    const record = await call(api.GET('/api/v1/voices/{voice}', { params: { path: { voice } } }));
    return [record.gpt_checkpoint_id, record.sovits_checkpoint_id];
  }, [voice, round]);
}

export function lossCurves(results: Results): Curve[] {
  return Object.entries(results.curve.losses).map(([label, values]) => ({ label, values }));
}

/** What can be heard: the model before its training, then the saved epochs; while it is trained those that have spoken. */
export function heardEpochs(results: Pick<Results, 'checkpoints' | 'previews'>): Checkpoint[] {
  const before = results.previews.filter((preview) => preview['epoch'] === 0);
  return [...before, ...results.checkpoints].map(readCheckpoint);
}

function epochName(epoch: number): string {
  return epoch === 0 ? t('training.before') : String(epoch);
}

function sampleName(epoch: number): string {
  return epoch === 0 ? t('training.sampleBefore') : t('training.sampleOf', { n: epoch });
}

function readCheckpoint(data: Record<string, unknown>): Checkpoint {
  const sample = typeof data['sample'] === 'string' ? data['sample'] : '';
  const measures = Object.fromEntries(
    MEASURES.map((name) => [name, typeof data[name] === 'number' ? data[name] : undefined]),
  );
  return {
    epoch: Number(data['epoch']),
    id: typeof data['checkpoint_id'] === 'string' ? data['checkpoint_id'] : '',
    best: data['best'] === true,
    sample: sample.slice(sample.lastIndexOf('/') + 1),
    measures,
  };
}

function formatMeasure(measure: (typeof MEASURES)[number], value: number | undefined): string {
  if (value === undefined) return '–';
  const digits = measure === 'loss' || measure === 'similarity' ? 3 : 2;
  return formatNumber(value, digits);
}
