// The dictionary of a voice: words and how they are pronounced.
import { useState } from 'preact/hooks';
import { useDraft } from '../../app/drafts';
import { t } from '../../app/i18n';
import type { Resource } from '../../app/resource';
import { ActionButton, useAction } from '../../ui/action';
import { Empty, ErrorNote } from '../../ui/feedback';
import { TextField } from '../../ui/fields';
import { Pager } from '../../ui/paged';
import { changeVoice, type Voice } from './changes';

const PAGE = 20;

export function Pronunciations({ voice, data, editable }: { voice: Resource<Voice>; data: Voice; editable: boolean }) {
  const [word, setWord] = useDraft(`pronunciation.${data.id}.word`, '');
  const [pronunciation, setPronunciation] = useDraft(`pronunciation.${data.id}.value`, '');
  const [offset, setOffset] = useState(0);
  const entries = Object.entries(data.pronunciations);
  const add = useAction(async () => {
    const pronunciations = { ...data.pronunciations, [word.trim()]: pronunciation.trim() };
    voice.set(await changeVoice(data.id, { pronunciations }));
    setWord('');
    setPronunciation('');
  });
  const remove = async (removed: string): Promise<void> => {
    const pronunciations = Object.fromEntries(entries.filter(([existing]) => existing !== removed));
    voice.set(await changeVoice(data.id, { pronunciations }));
  };
  return (
    <section class="card">
      <h3>{t('pronunciations.title')}</h3>
      {entries.length === 0 && <Empty>{t('pronunciations.none')}</Empty>}
      {entries.length > 0 && (
        <table class="list">
          <thead>
            <tr>
              <th scope="col">{t('pronunciations.word')}</th>
              <th scope="col">{t('pronunciations.pronunciation')}</th>
              <th scope="col">{t('common.actions')}</th>
            </tr>
          </thead>
          <tbody>
            {entries.slice(offset, offset + PAGE).map(([existing, value]) => (
              <tr key={existing}>
                <td dir="auto">{existing}</td>
                <td dir="auto">{value}</td>
                <td>{editable && <ActionButton work={() => remove(existing)}>{t('common.delete')}</ActionButton>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Pager offset={offset} size={PAGE} total={entries.length} go={setOffset} />
      {editable && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void add.run();
          }}
        >
          <div class="grid-fields">
            <TextField label={t('pronunciations.word')} value={word} onChange={setWord} maxLength={100} />
            <TextField
              label={t('pronunciations.pronunciation')}
              value={pronunciation}
              onChange={setPronunciation}
              maxLength={500}
              help={t('pronunciations.help')}
            />
          </div>
          <ErrorNote error={add.error} />
          <button type="submit" class="small" disabled={!word.trim() || !pronunciation.trim() || add.busy}>
            {t('common.add')}
          </button>
        </form>
      )}
    </section>
  );
}
