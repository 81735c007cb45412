// Webhooks: URLs that receive events, and what became of each delivery.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { useDraft } from '../../app/drafts';
import { formatTime, t } from '../../app/i18n';
import { can } from '../../app/session';
import { ActionButton, useAction } from '../../ui/action';
import { ErrorNote, Name, Notice, Status } from '../../ui/feedback';
import { TextField } from '../../ui/fields';
import { Paged } from '../../ui/paged';

export function Webhooks() {
  const [round, setRound] = useState(0);
  const again = (): void => setRound((count) => count + 1);
  return (
    <>
      {can('train') && <NewWebhook done={again} />}
      <h2>{t('service.webhooks')}</h2>
      <Paged<Schemas['WebhookView']>
        label={t('service.webhooks')}
        load={(limit, offset) => call(api.GET('/api/v1/webhooks', { params: { query: { limit, offset } } }))}
        refresh={[round]}
        rowKey={(webhook) => webhook.id}
        empty={t('webhooks.none')}
        columns={[
          { title: 'URL', cell: (webhook) => <code>{webhook.url}</code> },
          { title: t('webhooks.events'), cell: (webhook) => webhook.events.join(', ') },
          { title: t('webhooks.description'), cell: (webhook) => <Name>{webhook.description}</Name> },
          { title: t('common.status'), cell: (webhook) => (webhook.enabled ? t('webhooks.enabled') : webhook.message) },
          {
            title: t('common.actions'),
            cell: (webhook) =>
              can('train') ? (
                <ActionButton
                  confirm={t('webhooks.deleteConfirm')}
                  work={async () => {
                    await call(api.DELETE('/api/v1/webhooks/{webhook_id}', { params: { path: { webhook_id: webhook.id } } }));
                    again();
                  }}
                >
                  {t('common.delete')}
                </ActionButton>
              ) : (
                '–'
              ),
          },
        ]}
      />
      <h2>{t('webhooks.deliveries')}</h2>
      <Paged<Schemas['DeliveryView']>
        label={t('webhooks.deliveries')}
        load={(limit, offset) => call(api.GET('/api/v1/webhooks/deliveries', { params: { query: { limit, offset } } }))}
        refresh={[round]}
        rowKey={(delivery) => delivery.id}
        empty={t('webhooks.noDeliveries')}
        columns={[
          { title: t('webhooks.event'), cell: (delivery) => delivery.event },
          { title: 'URL', cell: (delivery) => <code>{delivery.url}</code> },
          { title: t('common.status'), cell: (delivery) => <Status value={delivery.status} /> },
          { title: t('service.attempts'), cell: (delivery) => delivery.attempts, right: true },
          { title: t('service.error'), cell: (delivery) => <span dir="auto">{delivery.error || '–'}</span> },
          { title: t('common.created'), cell: (delivery) => formatTime(delivery.created_at) },
          {
            title: t('common.actions'),
            cell: (delivery) =>
              can('train') ? (
                <ActionButton
                  work={async () => {
                    const path = { delivery_id: delivery.id };
                    await call(api.POST('/api/v1/webhooks/deliveries/{delivery_id}/redeliver', { params: { path } }));
                    again();
                  }}
                >
                  {t('webhooks.again')}
                </ActionButton>
              ) : (
                '–'
              ),
          },
        ]}
      />
    </>
  );
}

function NewWebhook({ done }: { done: () => void }) {
  const [url, setUrl] = useDraft('webhook.url', '');
  const [description, setDescription] = useDraft('webhook.description', '');
  const [created, setCreated] = useState<Schemas['CreatedWebhookView']>();
  const create = useAction(async () => {
    const body = { url: url.trim(), description: description.trim(), events: [], secret: '' };
    setCreated(await call(api.POST('/api/v1/webhooks', { body })));
    setUrl('');
    setDescription('');
    done();
  });
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        void create.run();
      }}
    >
      <div class="grid-fields">
        <TextField label="URL" type="url" value={url} onChange={setUrl} help={t('webhooks.help')} required />
        <TextField label={t('webhooks.description')} value={description} onChange={setDescription} maxLength={200} />
      </div>
      {created && (
        <Notice kind="success">
          <p>{t('webhooks.created')}</p>
          <code class="secret">{created.secret}</code>
        </Notice>
      )}
      <ErrorNote error={create.error} />
      <button type="submit" class="small" disabled={!url.trim() || create.busy}>
        {t('webhooks.add')}
      </button>
    </form>
  );
}
