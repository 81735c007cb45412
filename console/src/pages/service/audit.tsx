// Who did what.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { formatTime, t, term } from '../../app/i18n';
import { SelectField, TextField } from '../../ui/fields';
import { Paged } from '../../ui/paged';

const RESULTS = ['', 'done', 'rejected', 'failed'] as const;

export function Audit() {
  const [filter, setFilter] = useState({ caller: '', path: '', result: '' as (typeof RESULTS)[number] });
  return (
    <>
      <div class="grid-fields">
        <TextField label={t('audit.caller')} value={filter.caller} onChange={(caller) => setFilter({ ...filter, caller })} />
        <TextField label={t('audit.path')} value={filter.path} onChange={(path) => setFilter({ ...filter, path })} />
        <SelectField
          label={t('audit.result')}
          value={filter.result}
          options={RESULTS.map((result) => [result, result ? term('status', result) : t('common.all')] as const)}
          onChange={(result) => setFilter({ ...filter, result: result as (typeof RESULTS)[number] })}
        />
      </div>
      <Paged<Schemas['AuditEntryView']>
        label={t('service.audit')}
        load={(limit, offset) => call(api.GET('/api/v1/audit', { params: { query: { limit, offset, ...filter } } }))}
        refresh={[filter.caller, filter.path, filter.result]}
        rowKey={(entry) => entry.request_id + entry.time}
        empty={t('audit.none')}
        columns={[
          { title: t('chart.time'), cell: (entry) => formatTime(entry.time) },
          { title: t('audit.caller'), cell: (entry) => entry.caller || t('audit.local') },
          { title: t('audit.address'), cell: (entry) => entry.address },
          { title: t('audit.request'), cell: (entry) => <code>{`${entry.method} ${entry.path}`}</code> },
          { title: t('common.status'), cell: (entry) => entry.status, right: true },
          { title: t('audit.result'), cell: (entry) => term('status', entry.result) },
        ]}
      />
    </>
  );
}
