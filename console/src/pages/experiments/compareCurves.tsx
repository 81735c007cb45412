// The loss of an epoch of two experiments in one chart.
import { useMemo, useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { t } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { Chart, type Curve } from '../../ui/chart';
import { ErrorNote } from '../../ui/feedback';
import { SelectField } from '../../ui/fields';

type Results = Schemas['TrainingResultsView'];

export function CompareCurves(props: { experiment: Schemas['ExperimentView']; stage: string; round: string }) {
  const { experiment, stage } = props;
  const [other, setOther] = useState('');
  const others = useResource(() => call(api.GET('/api/v1/experiments', { params: { query: { limit: 500 } } })), []);
  const results = useResource(
    () => Promise.all([experiment.id, ...(other ? [other] : [])].map((id) => read(id, stage))),
    [experiment.id, other, stage, props.round],
  );
  const names = new Map((others.data?.items ?? []).map((item) => [item.id, item.exp_name]));
  const chart = useMemo(
    () => mergeEpochs((results.data ?? []).map((result) => ({ name: names.get(result.exp_id) ?? result.exp_id, result }))),
    [results.data, others.data],
  );
  const options = (others.data?.items ?? []).filter((item) => item.id !== experiment.id);
  return (
    <section class="card">
      <h2>{t('experiment.compare')}</h2>
      <div class="grid-fields">
        <SelectField
          label={t('experiment.compareWith')}
          value={other}
          options={[['', t('common.none')] as const, ...options.map((item) => [item.id, `${item.exp_name} (${item.version})`] as const)]}
          onChange={setOther}
        />
      </div>
      <ErrorNote error={others.error ?? results.error} retry={results.reload} />
      {chart.x.length > 0 && <Chart title={t('experiment.byEpoch')} x={chart.x} curves={chart.curves} xLabel={t('training.epoch')} />}
    </section>
  );
}

function read(id: string, stage: string): Promise<Results> {
  return call(api.GET('/api/v1/experiments/{exp_id}/stages/{stage}/metrics', { params: { path: { exp_id: id, stage } } }));
}

/** Return the losses by epoch, those of the second experiment dashed. */
export function mergeEpochs(runs: { name: string; result: Pick<Results, 'epochs'> }[]): { x: number[]; curves: Curve[] } {
  const x = [...new Set(runs.flatMap(({ result }) => result.epochs.map(({ epoch }) => epoch)))].sort((a, b) => a - b);
  const curves = runs.flatMap(({ name, result }, index) => {
    const losses = [...new Set(result.epochs.flatMap((epoch) => Object.keys(epoch.losses)))];
    return losses.map((loss) => ({
      label: runs.length > 1 ? `${name}: ${loss}` : loss,
      values: x.map((epoch) => result.epochs.find((entry) => entry.epoch === epoch)?.losses[loss] ?? null),
      dash: index > 0,
    }));
  });
  return { x, curves };
}
