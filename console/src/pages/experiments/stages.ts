// What the pages about stages share: their names, states and dependencies.
import type { Schemas } from '../../api/client';
import { formatTime, t, term } from '../../app/i18n';

export const TRAININGS = ['sovits_train', 'gpt_train'];

/** A run that has not ended. */
export const ACTIVE = ['queued', 'running', 'interrupted'];

/** The state in sovitsd's own words (paused, stale …), where the API says it beside the status. */
export function stageState(stage: { status: string; state?: string }): string {
  return stage.state ?? stage.status;
}

/** What a run says, in the language of the page; an error in its own words. */
export function progressText(run: Pick<Schemas['StageView'], 'message' | 'message_parts'>): string {
  if (!run.message_parts) return run.message ?? '';
  const { code, values } = run.message_parts;
  const { stages, time } = values;
  return t(`message.${code}`, {
    ...values,
    ...(stages ? { stages: stages.split(', ').map((stage) => term('stage', stage)).join(', ') } : {}),
    ...(time ? { time: formatTime(time) } : {}),
  });
}
