// API keys: who may do what, until when, and how much.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { useDraft } from '../../app/drafts';
import { formatTime, t, term, type TextKey } from '../../app/i18n';
import type { Scope } from '../../app/session';
import { caller, signIn } from '../../app/session';
import { ActionButton, useAction } from '../../ui/action';
import { ErrorNote, Name, Notice, Status } from '../../ui/feedback';
import { CheckField, NumberField, TextField } from '../../ui/fields';
import { Paged } from '../../ui/paged';

type Key = Schemas['KeyView'];
const SCOPES: Scope[] = ['speak', 'train', 'read', 'admin'];
const DEFAULT_SCOPES: Scope[] = ['speak', 'train', 'read'];
const QUOTAS = ['jobs_waiting', 'bytes_stored', 'characters_per_day', 'requests_per_minute'] as const;

export function Keys() {
  const [round, setRound] = useState(0);
  return (
    <>
      <NewKey done={() => setRound((count) => count + 1)} />
      <Paged<Key>
        label={t('service.keys')}
        load={(limit, offset) => call(api.GET('/api/v1/keys', { params: { query: { limit, offset } } }))}
        refresh={[round]}
        rowKey={(key) => key.id}
        empty={t('keys.none')}
        columns={[
          { title: t('common.name'), cell: (key) => <Name>{key.name}</Name> },
          { title: t('keys.owner'), cell: (key) => <Name>{key.owner}</Name> },
          { title: t('keys.shown'), cell: (key) => <code>{key.shown}</code> },
          { title: t('keys.scopes'), cell: (key) => key.scopes.map((scope) => term('scope', scope)).join(', ') },
          { title: t('common.status'), cell: (key) => <Status value={key.status} /> },
          { title: t('keys.quota'), cell: quotaText },
          { title: t('keys.lastUsed'), cell: (key) => formatTime(key.last_used_at) },
          { title: t('keys.expires'), cell: (key) => formatTime(key.expires_at) },
          {
            title: t('common.actions'),
            cell: (key) =>
              key.status === 'revoked' ? (
                '–'
              ) : (
                <ActionButton
                  confirm={t('keys.revokeConfirm')}
                  work={async () => {
                    await call(api.DELETE('/api/v1/keys/{key_id}', { params: { path: { key_id: key.id } } }));
                    setRound((count) => count + 1);
                  }}
                >
                  {t('keys.revoke')}
                </ActionButton>
              ),
          },
        ]}
      />
    </>
  );
}

function quotaText(key: Key): string {
  const parts = QUOTAS.filter((name) => key.quota[name] !== null).map((name) => `${t(`quota.${name}`)}: ${key.quota[name]!}`);
  return parts.join(', ') || '–';
}

function NewKey({ done }: { done: () => void }) {
  const first = caller.value?.key_required === false;
  const [name, setName] = useDraft('key.name', '');
  const [owner, setOwner] = useDraft('key.owner', '');
  const [expires, setExpires] = useDraft('key.expires', '');
  const [scopes, setScopes] = useDraft<Scope[]>('key.scopes', first ? ['admin'] : DEFAULT_SCOPES);
  const [quota, setQuota] = useDraft<Partial<Record<(typeof QUOTAS)[number], string>>>('key.quota', {});
  const [created, setCreated] = useState<Schemas['CreatedKeyView']>();
  const create = useAction(async () => {
    const limits = Object.fromEntries(QUOTAS.filter((limit) => quota[limit]).map((limit) => [limit, Number(quota[limit])]));
    const body = {
      name: name.trim(),
      owner: owner.trim(),
      scopes,
      expires_at: expires ? new Date(expires).toISOString() : null,
      quota: limits as Schemas['QuotaFields'],
    };
    const key = await call(api.POST('/api/v1/keys', { body }));
    setCreated(key);
    setName('');
    setOwner('');
    setExpires('');
    setScopes(DEFAULT_SCOPES);
    setQuota({});
    if (first) signIn(key.key);
    done();
  });
  return (
    <details class="card" open={created !== undefined}>
      <summary>{t('keys.create')}</summary>
      {first && <Notice kind="warning">{t('keys.first')}</Notice>}
      {created && (
        <Notice kind="success">
          <p>{t('keys.created', { name: created.name })}</p>
          <code class="secret">{created.key}</code>
        </Notice>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void create.run();
        }}
      >
        <div class="grid-fields">
          <TextField label={t('common.name')} value={name} onChange={setName} maxLength={200} required />
          <TextField label={t('keys.owner')} value={owner} onChange={setOwner} maxLength={200} help={t('keys.ownerHelp')} />
          <TextField label={t('keys.expires')} type="datetime-local" value={expires} onChange={setExpires} />
        </div>
        <fieldset>
          <legend>{t('keys.scopes')}</legend>
          {SCOPES.map((scope) => (
            <CheckField
              key={scope}
              label={`${term('scope', scope)}: ${t(`scopeHelp.${scope}`)}`}
              checked={scopes.includes(scope)}
              onChange={(checked) => setScopes(checked ? [...scopes, scope] : scopes.filter((other) => other !== scope))}
            />
          ))}
        </fieldset>
        <div class="grid-fields">
          {QUOTAS.map((limit) => (
            <NumberField
              key={limit}
              label={t(`quota.${limit}` satisfies TextKey)}
              value={quota[limit] ?? ''}
              onChange={(value) => setQuota({ ...quota, [limit]: value })}
              min={1}
              step={1}
              placeholder={t('keys.unlimited')}
            />
          ))}
        </div>
        <ErrorNote error={create.error} />
        <button type="submit" class="small" disabled={!name.trim() || scopes.length === 0 || create.busy}>
          {t('keys.create')}
        </button>
      </form>
    </details>
  );
}
