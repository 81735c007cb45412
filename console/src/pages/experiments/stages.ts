// What the pages about stages share: their names, states and dependencies.
export const TRAININGS = ['sovits_train', 'gpt_train'];

/** A run that has not ended. */
export const ACTIVE = ['queued', 'running', 'interrupted'];

/** The state in sovitsd's own words (paused, stale …), where the API says it beside the status. */
export function stageState(stage: { status: string; state?: string }): string {
  return stage.state ?? stage.status;
}
