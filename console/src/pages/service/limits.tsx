// How many jobs may run at once on each device, changed while the service runs.
import { useState } from 'preact/hooks';
import { api, call } from '../../api/client';
import { useDraft } from '../../app/drafts';
import { t } from '../../app/i18n';
import { useRefresh, useResource } from '../../app/resource';
import { can } from '../../app/session';
import { useAction } from '../../ui/action';
import { ErrorNote, Loading, Notice } from '../../ui/feedback';

const KINDS = ['training', 'inference'] as const;

export function Limits() {
  const resources = useResource(() => call(api.GET('/api/v1/resources')), []);
  const [edited, setEdited] = useDraft<Record<string, string>>('limits', {});
  useRefresh(resources.reload);
  const [saved, setSaved] = useState(false);
  const save = useAction(async () => {
    const changes: Record<string, Record<string, number>> = {};
    for (const [name, value] of Object.entries(edited)) {
      const [device = '', kind = ''] = name.split(' ');
      (changes[device] ??= {})[kind] = Number(value);
    }
    await call(api.POST('/api/v1/resources/config', { body: { max_concurrent: changes } }));
    setEdited({});
    setSaved(true);
    resources.reload();
  });
  if (resources.error && !resources.data) return <ErrorNote error={resources.error} retry={resources.reload} />;
  if (!resources.data) return <Loading />;
  const { limits, device_usage: usage } = resources.data;
  const changeable = can('admin');
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        void save.run();
      }}
    >
      <p class="muted">{t('limits.help')}</p>
      <table class="list">
        <caption class="hidden">{t('service.limits')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('service.device')}</th>
            {KINDS.map((kind) => (
              <th key={kind} scope="col">
                {t(`service.${kind}`)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {Object.entries(limits).map(([device, byKind]) => (
            <tr key={device}>
              <th scope="row">{device}</th>
              {KINDS.map((kind) => (
                <td key={kind}>
                  <div class="row">
                    {changeable ? (
                      <input
                        class="narrow"
                        type="number"
                        min={0}
                        max={64}
                        required
                        aria-label={t('limits.of', { device, kind: t(`service.${kind}`) })}
                        value={edited[`${device} ${kind}`] ?? String(byKind[kind])}
                        onInput={(event) => {
                          setSaved(false);
                          setEdited({ ...edited, [`${device} ${kind}`]: event.currentTarget.value });
                        }}
                      />
                    ) : (
                      byKind[kind]
                    )}
                    <span class="muted">{t('limits.inUse', { n: usage[device]?.[kind] ?? 0 })}</span>
                  </div>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      <ErrorNote error={save.error} />
      {saved && <Notice kind="success">{t('common.saved')}</Notice>}
      {changeable && (
        <button type="submit" class="small" disabled={Object.keys(edited).length === 0 || save.busy}>
          {t('common.save')}
        </button>
      )}
    </form>
  );
}
