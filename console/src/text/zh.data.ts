export const dataTexts = {};
