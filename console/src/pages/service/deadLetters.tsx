// Dead letters: jobs that failed for good, with their errors, to run again.
import { useState } from 'preact/hooks';
import { api, call, type Schemas } from '../../api/client';
import { formatTime, t, term } from '../../app/i18n';
import { can } from '../../app/session';
import { ActionButton } from '../../ui/action';
import { Notice } from '../../ui/feedback';
import { Paged } from '../../ui/paged';
import { Tree } from '../../ui/tree';
import { errorText } from './jobs';

export function DeadLetters() {
  const [round, setRound] = useState(0);
  const [replayed, setReplayed] = useState('');
  const replay = async (id: string): Promise<void> => {
    await call(api.POST('/api/v1/dead-letters/{job_id}/replay', { params: { path: { job_id: id } } }));
    setReplayed(id);
    setRound((count) => count + 1);
  };
  return (
    <>
      {replayed && <Notice kind="success">{t('service.replayed', { id: replayed })}</Notice>}
      <Paged<Schemas['DeadLetterView']>
        label={t('service.deadLetters')}
        load={(limit, offset) => call(api.GET('/api/v1/dead-letters', { params: { query: { limit, offset } } }))}
        refresh={[round]}
        rowKey={(letter) => letter.job_id}
        empty={t('service.noDeadLetters')}
        columns={[
          { title: t('service.job'), cell: (letter) => <code>{letter.job_id}</code> },
          { title: t('service.role'), cell: (letter) => term('role', letter.role) },
          { title: t('service.attempts'), cell: (letter) => letter.attempts, right: true },
          { title: t('service.died'), cell: (letter) => formatTime(letter.died_at) },
          {
            title: t('service.error'),
            cell: (letter) => (
              <details>
                <summary dir="auto">{errorText(letter.error)}</summary>
                <Tree value={{ ...letter.error, payload: letter.payload, history: letter.history }} />
              </details>
            ),
          },
          {
            title: t('common.actions'),
            cell: (letter) =>
              can('admin') ? <ActionButton work={() => replay(letter.job_id)}>{t('service.replay')}</ActionButton> : '–',
          },
        ]}
      />
    </>
  );
}
