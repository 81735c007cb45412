// Form fields with their labels, and what the form says of a value.
import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

interface FieldProps {
  label: string;
  help?: ComponentChildren;
  invalid?: string | undefined;
  children: (id: string, describedBy: string | undefined) => ComponentChildren;
}

export function Field({ label, help, invalid, children }: FieldProps) {
  const id = useId();
  const note = invalid ?? help;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id, note ? `${id}-help` : undefined)}
      {note && (
        <small id={`${id}-help`} class={invalid ? 'invalid' : ''}>
          {note}
        </small>
      )}
    </div>
  );
}

interface TextProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  help?: ComponentChildren;
  invalid?: string | undefined;
  placeholder?: string;
  type?: 'text' | 'password' | 'url' | 'datetime-local' | 'search';
  maxLength?: number;
  required?: boolean;
}

export function TextField({ label, value, onChange, help, invalid, type = 'text', ...rest }: TextProps) {
  return (
    <Field label={label} help={help} invalid={invalid}>
      {(id, describedBy) => (
        <input
          id={id}
          // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-assertion -- roles are typed by kind of input
          type={type as 'text'}
          dir="auto"
          value={value}
          aria-describedby={describedBy}
          aria-invalid={invalid ? 'true' : undefined}
          onInput={(event) => onChange(event.currentTarget.value)}
          {...rest}
        />
      )}
    </Field>
  );
}

interface NumberProps {
  label: string;
  /** Text, so that an empty field and a half-typed number are kept as they are. */
  value: string;
  onChange: (value: string) => void;
  min?: number | undefined;
  max?: number | undefined;
  step?: number | 'any' | undefined;
  help?: ComponentChildren;
  invalid?: string | undefined;
  placeholder?: string;
}

export function NumberField({ label, value, onChange, help, invalid, ...rest }: NumberProps) {
  return (
    <Field label={label} help={help} invalid={invalid}>
      {(id, describedBy) => (
        <input
          id={id}
          type="number"
          value={value}
          aria-describedby={describedBy}
          aria-invalid={invalid ? 'true' : undefined}
          onInput={(event) => onChange(event.currentTarget.value)}
          {...rest}
        />
      )}
    </Field>
  );
}

interface SelectProps {
  label: string;
  value: string;
  options: readonly (readonly [value: string, text: string])[];
  onChange: (value: string) => void;
  help?: ComponentChildren;
  disabled?: boolean;
}

export function SelectField({ label, value, options, onChange, help, disabled }: SelectProps) {
  return (
    <Field label={label} help={help}>
      {(id, describedBy) => (
        <select
          id={id}
          value={value}
          disabled={disabled}
          aria-describedby={describedBy}
          onChange={(event) => onChange(event.currentTarget.value)}
        >
          {options.map(([option, text]) => (
            <option key={option} value={option} selected={option === value}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

export function CheckField(props: { label: string; checked: boolean; onChange: (checked: boolean) => void }) {
  return (
    <label class="check">
      <input type="checkbox" checked={props.checked} onChange={(event) => props.onChange(event.currentTarget.checked)} />
      {props.label}
    </label>
  );
}

export function AreaField({ label, value, onChange, help, invalid, rows = 4, placeholder }: TextProps & { rows?: number }) {
  return (
    <Field label={label} help={help} invalid={invalid}>
      {(id, describedBy) => (
        <textarea
          id={id}
          rows={rows}
          dir="auto"
          value={value}
          placeholder={placeholder}
          aria-describedby={describedBy}
          aria-invalid={invalid ? 'true' : undefined}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}
