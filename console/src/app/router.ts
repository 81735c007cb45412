// Pages by the fragment of the URL: `#/voices/ID`; the server needs to know no page.
import { signal } from '@preact/signals';

function currentPath(): string[] {
  return location.hash
    .replace(/^#?\/?/, '')
    .split('/')
    .filter(Boolean)
    .map(decodePart);
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const path = signal<string[]>(currentPath());
addEventListener('hashchange', () => {
  path.value = currentPath();
});

export function linkTo(...parts: string[]): string {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

export function navigate(...parts: string[]): void {
  location.hash = linkTo(...parts);
}
