export const trainingTexts = {};
