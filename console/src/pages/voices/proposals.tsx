// Passages of the voice's recordings that the server proposes as prompts: heard here, added like any other prompt.
import { useState } from 'preact/hooks';
import { type Schemas, api, call, fetchBlob } from '../../api/client';
import { uploadFile } from '../../api/upload';
import { formatNumber, t, term } from '../../app/i18n';
import type { Resource } from '../../app/resource';
import { ActionButton, useAction } from '../../ui/action';
import { ErrorNote } from '../../ui/feedback';
import { AreaField, TextField } from '../../ui/fields';
import { Dropzone } from '../../ui/dropzone';
import { Recording } from '../../ui/recording';
import { Uploading, useUploads } from '../../ui/uploading';
import type { Voice } from './changes';

type Proposal = Schemas['ProposalView'];

export function Proposals({ voice, data }: { voice: Resource<Voice>; data: Voice }) {
  const [proposals, setProposals] = useState<Proposal[]>();
  const [file, setFile] = useState<File>();
  const uploads = useUploads();
  const propose = useAction(async () => {
    const query = file ? { file_id: (await uploads.file(file, file.name, 'prompt')).id } : {};
    const found = await call(api.GET('/api/v1/voices/{voice}/prompts/proposals', { params: { path: { voice: data.id }, query } }));
    setProposals(found.items);
  });
  return (
    <details>
      <summary>{t('proposals.title')}</summary>
      <p class="muted">{t('proposals.help')}</p>
      <Dropzone label={t('proposals.file')} accept="audio/*" onFiles={([chosen]) => setFile(chosen)} />
      {file && <p>{file.name}</p>}
      <Uploading upload={uploads.current} />
      <button type="button" class="small" disabled={propose.busy} aria-busy={propose.busy} onClick={() => void propose.run()}>
        {t('proposals.propose')}
      </button>
      <ErrorNote error={propose.error} />
      {proposals?.length === 0 && <p>{t('proposals.none')}</p>}
      {proposals?.map((proposal) => <ProposedPrompt key={proposal.id} voice={voice} data={data} proposal={proposal} />)}
    </details>
  );
}

function ProposedPrompt({ voice, data, proposal }: { voice: Resource<Voice>; data: Voice; proposal: Proposal }) {
  const [name, setName] = useState('');
  const [text, setText] = useState(proposal.text);
  const [added, setAdded] = useState(false);
  return (
    <div class="item">
      <div class="row">
        <span class="badge">{formatNumber(proposal.score, 2)}</span>
        <span class="muted">{t('proposals.seconds', { seconds: formatNumber(proposal.seconds, 1) })}</span>
        <span class="muted">{term('language', proposal.language)}</span>
      </div>
      <Recording path={proposal.audio_url} label={proposal.text} />
      <AreaField label={t('prompts.text')} value={text} onChange={setText} rows={2} />
      {added ? (
        <p role="status">{t('proposals.added')}</p>
      ) : (
        <div class="row">
          <TextField label={t('prompts.name')} value={name} onChange={setName} maxLength={100} />
          <ActionButton
            disabled={!name.trim() || !text.trim()}
            work={async () => {
              const recording = await fetchBlob(proposal.audio_url);
              const uploaded = await uploadFile(recording, `${name.trim()}.wav`, 'prompt', () => undefined).done;
              const body = { name: name.trim(), file_id: uploaded.id, text: text.trim(), language: proposal.language };
              voice.set(await call(api.POST('/api/v1/voices/{voice}/prompts', { params: { path: { voice: data.id } }, body })));
              setAdded(true);
            }}
          >
            {t('proposals.add')}
          </ActionButton>
        </div>
      )}
    </div>
  );
}
