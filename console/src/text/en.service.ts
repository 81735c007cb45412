export const serviceTexts = {};
