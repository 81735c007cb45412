// Buttons that put markup into the text, around what is selected.
import type { RefObject } from 'preact';
import { t } from '../../app/i18n';

interface Mark {
  label: string;
  insert: (selected: string) => string;
}

export function MarkupPalette(props: { area: RefObject<HTMLElement | null>; text: string; onText: (text: string) => void }) {
  const ssml = props.text.trimStart().startsWith('<speak');
  const marks: Mark[] = ssml
    ? [
        { label: t('markup.pause'), insert: (selected) => `${selected}<break time="500ms"/>` },
        { label: t('markup.pronounce'), insert: (selected) => `<phoneme ph="">${selected}</phoneme>` },
        { label: t('markup.replace'), insert: (selected) => `<sub alias="">${selected}</sub>` },
        { label: t('markup.slower'), insert: (selected) => `<prosody rate="slow">${selected}</prosody>` },
        { label: t('markup.spell'), insert: (selected) => `<say-as interpret-as="characters">${selected}</say-as>` },
      ]
    : [
        { label: t('markup.pause'), insert: (selected) => `${selected}{500ms}` },
        { label: t('markup.pronounce'), insert: (selected) => `{${selected}|}` },
        { label: t('markup.replace'), insert: (selected) => `{${selected}|=}` },
        { label: 'SSML', insert: (selected) => `<speak>${selected || props.text}</speak>` },
      ];
  const apply = (mark: Mark): void => {
    const area = props.area.current?.querySelector('textarea');
    const start = area?.selectionStart ?? props.text.length;
    const end = area?.selectionEnd ?? start;
    const selected = props.text.slice(start, end);
    const inserted = mark.insert(selected);
    const whole = mark.label === 'SSML' && !selected;
    props.onText(whole ? inserted : props.text.slice(0, start) + inserted + props.text.slice(end));
    area?.focus();
  };
  return (
    <div class="palette" role="toolbar" aria-label={t('markup.title')}>
      {marks.map((mark) => (
        <button key={mark.label} type="button" class="outline small" onClick={() => apply(mark)}>
          {mark.label}
        </button>
      ))}
    </div>
  );
}
