// What the parts of a voice's page share.
import { api, call, type Schemas } from '../../api/client';

export type Voice = Schemas['VoiceView'];

export async function changeVoice(id: string, change: Schemas['VoiceChange']): Promise<Voice> {
  return call(api.PATCH('/api/v1/voices/{voice}', { params: { path: { voice: id } }, body: change }));
}
