// What the pages about stages share: their names, states and dependencies.
export const TRAININGS = ['sovits_train', 'gpt_train'];

/** In the order in which they run; each after those that it needs. */
export const STAGE_ORDER = [
  'convert',
  'audio_slice',
  'denoise',
  'asr',
  'text_feature',
  'hubert_feature',
  'speaker_vector',
  'semantic_token',
  'sovits_train',
  'gpt_train',
  'test_inference',
];

/** The state in sovitsd's own words (paused, stale …), where the API says it beside the status. */
export function stageState(stage: { status: string; state?: string }): string {
  return stage.state ?? stage.status;
}
