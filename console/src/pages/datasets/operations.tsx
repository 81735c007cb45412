// Operations that make a new version: more files, split, augment, crop.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { uploadFile } from '../../api/upload';
import { t, type TextKey } from '../../app/i18n';
import { useAction } from '../../ui/action';
import { Dropzone } from '../../ui/dropzone';
import { ErrorNote, ProgressBar } from '../../ui/feedback';
import { CheckField, NumberField } from '../../ui/fields';

type Dataset = Schemas['DatasetView'];
const KINDS = ['noise', 'pitch', 'tempo', 'room', 'loudness', 'treble'] as const;
const DEFAULT_KINDS = KINDS.slice(0, 4);

interface OperationProps {
  dataset: Dataset;
  busy: boolean;
  changed: () => void;
}

export function Operations({ dataset, busy, changed }: OperationProps) {
  const path = { dataset_id: dataset.id };
  const [shares, setShares] = useState({ val: '0.1', test: '0' });
  const [kinds, setKinds] = useState<string[]>(DEFAULT_KINDS);
  const [copies, setCopies] = useState('1');
  const [range, setRange] = useState({ start: '0', end: '' });
  const [share, setShare] = useState<number>();
  const add = useAction(async (files: File[]) => {
    const ids: string[] = [];
    try {
      for (const file of files) ids.push((await uploadFile(file, file.name, 'dataset', setShare).done).id);
    } finally {
      setShare(undefined);
    }
    await call(api.POST('/api/v1/datasets/{dataset_id}/files', { params: { path }, body: { file_ids: ids, files: [], priority: 5 } }));
    changed();
  });
  const split = useAction(async () => {
    const body = { val: Number(shares.val), test: Number(shares.test) };
    await call(api.POST('/api/v1/datasets/{dataset_id}/split', { params: { path }, body: body }));
    changed();
  });
  const augment = useAction(async () => {
    const body = { kinds, copies: Number(copies) } as Schemas['AugmentOptions'];
    await call(api.POST('/api/v1/datasets/{dataset_id}/augment', { params: { path }, body }));
    changed();
  });
  const crop = useAction(async () => {
    const body = { start_seconds: Number(range.start), end_seconds: range.end ? Number(range.end) : null, recordings: [], segments: [] };
    await call(api.POST('/api/v1/datasets/{dataset_id}/crop', { params: { path }, body }));
    changed();
  });
  const button = (label: TextKey, action: { run: () => Promise<boolean>; busy: boolean }, disabled = false) => (
    <button type="button" class="small" disabled={busy || action.busy || disabled} onClick={() => void action.run()}>
      {t(label)}
    </button>
  );
  return (
    <details class="card">
      <summary>{t('operation.title')}</summary>
      <h3>{t('operation.add')}</h3>
      <Dropzone label={t('dataset.files')} accept="audio/*,.zip" multiple onFiles={(files) => void add.run(files)} />
      {share !== undefined && <ProgressBar share={share} label={t('new.upload')} />}
      <ErrorNote error={add.error} />
      <h3>{t('operation.split')}</h3>
      <div class="grid-fields">
        <NumberField label={t('operation.val')} value={shares.val} onChange={(val) => setShares({ ...shares, val })} min={0} max={0.99} step="any" />
        <NumberField label={t('operation.test')} value={shares.test} onChange={(test) => setShares({ ...shares, test })} min={0} max={0.99} step="any" />
      </div>
      <ErrorNote error={split.error} />
      {button('operation.doSplit', split)}
      <h3>{t('operation.augment')}</h3>
      <div class="row">
        {KINDS.map((kind) => (
          <CheckField
            key={kind}
            label={t(`operation.${kind}`)}
            checked={kinds.includes(kind)}
            onChange={(checked) => setKinds(checked ? [...kinds, kind] : kinds.filter((other) => other !== kind))}
          />
        ))}
      </div>
      <div class="grid-fields">
        <NumberField label={t('operation.copies')} value={copies} onChange={setCopies} min={1} max={10} step={1} />
      </div>
      <ErrorNote error={augment.error} />
      {button('operation.doAugment', augment, kinds.length === 0)}
      <h3>{t('operation.crop')}</h3>
      <div class="grid-fields">
        <NumberField label={t('operation.start')} value={range.start} onChange={(start) => setRange({ ...range, start })} min={0} step="any" />
        <NumberField label={t('operation.end')} value={range.end} onChange={(end) => setRange({ ...range, end })} min={0} step="any" placeholder={t('operation.toEnd')} />
      </div>
      <ErrorNote error={crop.error} />
      {button('operation.doCrop', crop)}
    </details>
  );
}
