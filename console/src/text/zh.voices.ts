export const voiceTexts = {};
