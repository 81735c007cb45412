// English and Chinese: switched without a reload, since every component that calls `t` reads the signal `language`.
import { effect, signal } from '@preact/signals';
import { en } from '../text/en';
import { zh } from '../text/zh';

export type Language = 'en' | 'zh';
export type TextKey = keyof typeof en;
const KEY = 'sovitsd.language';

export function preferredLanguage(stored: string | null, browser: readonly string[]): Language {
  if (stored === 'en' || stored === 'zh') return stored;
  const first = browser.find((tag) => /^(en|zh)\b/i.test(tag));
  return first?.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export const language = signal<Language>(preferredLanguage(localStorage.getItem(KEY), navigator.languages));

export function chooseLanguage(chosen: Language): void {
  language.value = chosen;
  localStorage.setItem(KEY, chosen);
}

effect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';
});

/** Return a text in the chosen language; `{name}` in it becomes a parameter. */
export function t(key: TextKey, parameters: Record<string, string | number> = {}): string {
  return fill((language.value === 'zh' ? zh : en)[key], parameters);
}

export function fill(template: string, parameters: Record<string, string | number>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => String(parameters[name] ?? whole));
}

/** Return the text of a key that is put together at run time, such as a status; the value itself when there is none. */
export function term(group: 'status' | 'stage' | 'role' | 'language' | 'flag' | 'quality' | 'scope' | 'preset' | 'loaded', value: string): string {
  const texts: Record<string, string> = language.value === 'zh' ? zh : en;
  return texts[`${group}.${value}`] ?? value;
}

const locale = (): string => (language.value === 'zh' ? 'zh-CN' : 'en');

export function formatNumber(value: number, digits = 0): string {
  return value.toLocaleString(locale(), { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

export function formatTime(iso: string | null | undefined): string {
  if (!iso) return '–';
  return new Date(iso).toLocaleString(locale(), { dateStyle: 'medium', timeStyle: 'short' });
}

/** Return the time of day of seconds since the epoch. */
export function formatClock(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString(locale(), { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
}

export function formatPercent(share: number): string {
  return share.toLocaleString(locale(), { style: 'percent', maximumFractionDigits: 0 });
}

/** Return a duration as `1:05` or `1:02:03`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const tail = `${hours ? String(minutes).padStart(2, '0') : minutes}:${String(rest).padStart(2, '0')}`;
  return hours ? `${hours}:${tail}` : tail;
}

/** Return a duration in words, rounded: `40 s`, `3 min`, `2 h 10 min`. */
export function formatRemaining(seconds: number): string {
  if (seconds < 90) return t('time.seconds', { n: Math.max(5, Math.round(seconds / 5) * 5) });
  if (seconds < 3600) return t('time.minutes', { n: Math.round(seconds / 60) });
  return t('time.hours', { h: Math.floor(seconds / 3600), m: Math.round((seconds % 3600) / 60) });
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let step = 0;
  while (bytes >= 1024 && step < units.length - 1) {
    bytes /= 1024;
    step++;
  }
  return `${formatNumber(bytes, step && bytes < 100 ? 1 : 0)} ${units[step]!}`;
}
