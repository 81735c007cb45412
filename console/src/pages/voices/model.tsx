// One checkpoint: its numbers, where it comes from, who speaks with it.
import { api, call } from '../../api/client';
import { formatBytes, formatNumber, formatTime, t } from '../../app/i18n';
import { useResource } from '../../app/resource';
import { linkTo, navigate } from '../../app/router';
import { can } from '../../app/session';
import { ActionButton } from '../../ui/action';
import { ErrorNote, Loading, Name } from '../../ui/feedback';
import { Tree } from '../../ui/tree';

export function ModelPage({ id }: { id: string }) {
  const path = { model_id: id };
  const model = useResource(() => call(api.GET('/api/v1/models/{model_id}', { params: { path } })), [id]);
  if (model.error && !model.data) return <ErrorNote error={model.error} retry={model.reload} />;
  if (!model.data) return <Loading />;
  const { data } = model;
  const numbers = Object.entries(data.metrics).filter(([, value]) => typeof value === 'number') as [string, number][];
  return (
    <>
      <p>
        <a href={linkTo('voices', 'models')}>← {t('voices.models')}</a>
      </p>
      <article class="card">
        <h2>
          <Name>{data.name}</Name>
        </h2>
        <dl class="facts">
          <dt>{t('models.type')}</dt>
          <dd>{data.type === 'gpt' ? 'GPT' : 'SoVITS'} · {data.version}</dd>
          <dt>{t('training.epoch')}</dt>
          <dd>{data.epoch ?? '–'} {data.step !== null && `(${t('models.step', { n: data.step })})`}</dd>
          <dt>{t('models.size')}</dt>
          <dd>{formatBytes(data.size_bytes)}</dd>
          <dt>SHA-256</dt>
          <dd><code>{data.sha256}</code></dd>
          <dt>{t('common.created')}</dt>
          <dd>{formatTime(data.created_at)}</dd>
          <dt>{t('models.usedBy')}</dt>
          <dd>
            {data.voices.length === 0 && '–'}
            {data.voices.map((voice) => (
              <a key={voice.id} href={linkTo('voices', voice.id)}><Name>{voice.name}</Name> </a>
            ))}
          </dd>
          {data.exp_id && (
            <>
              <dt>{t('models.experiment')}</dt>
              <dd><a href={linkTo('experiments', data.exp_id)}>{data.exp_id}</a></dd>
            </>
          )}
          {numbers.map(([name, value]) => [<dt key={`${name}-name`}><code>{name}</code></dt>, <dd key={name}>{formatNumber(value, 4)}</dd>])}
        </dl>
        <h3>{t('models.lineage')}</h3>
        {Object.keys(data.lineage).length === 0 ? <p class="muted">{t('models.noLineage')}</p> : <Tree value={data.lineage} />}
        {can('train') && (
          <div class="row">
            <ActionButton
              work={async () =>
                model.set(await call(api.POST('/api/v1/models/{model_id}/promote', { params: { path }, body: { promoted: !data.promoted } })))
              }
            >
              {data.promoted ? t('models.unpromote') : t('models.promote')}
            </ActionButton>
            <ActionButton
              confirm={t('models.deleteConfirm')}
              work={async () => {
                await call(api.DELETE('/api/v1/models/{model_id}', { params: { path } }));
                navigate('voices', 'models');
              }}
            >
              {t('common.delete')}
            </ActionButton>
          </div>
        )}
        <small class="muted">{t('models.promoteHelp')}</small>
      </article>
    </>
  );
}
