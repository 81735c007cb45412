// A place to drop a file on, or to choose one with the keyboard.
import { useId, useState } from 'preact/hooks';
import { t } from '../app/i18n';

export function Dropzone(props: { label: string; accept: string; multiple?: boolean; onFiles: (files: File[]) => void }) {
  const id = useId();
  const [over, setOver] = useState(false);
  return (
    <div
      class={`dropzone ${over ? 'over' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        const files = [...(event.dataTransfer?.files ?? [])];
        if (files.length) props.onFiles(props.multiple ? files : files.slice(0, 1));
      }}
    >
      {/* The browser's own button would be in the browser's language. */}
      <input
        id={id}
        class="hidden"
        type="file"
        accept={props.accept}
        multiple={props.multiple === true}
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = '';
          if (files.length) props.onFiles(files);
        }}
      />
      <label for={id} class="choose">
        {props.label}
      </label>
      <small class="muted">{t('common.dropHere')}</small>
    </div>
  );
}
