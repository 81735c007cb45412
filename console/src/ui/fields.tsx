// Form fields with their labels, and what the form says of a value.
import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import { term } from '../app/i18n';

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

interface InputProps {
  label: string;
  /** Text also of a number, so that an empty field and a half-typed number are kept as they are. */
  value: string;
  onChange: (value: string) => void;
  help?: ComponentChildren;
  invalid?: string | undefined;
  placeholder?: string;
}

interface TextProps extends InputProps {
  type?: 'text' | 'password' | 'url' | 'date' | 'datetime-local' | 'search';
  maxLength?: number;
  required?: boolean;
}

interface NumberProps extends InputProps {
  min?: number | undefined;
  max?: number | undefined;
  step?: number | 'any' | undefined;
}

export function TextField({ type = 'text', ...rest }: TextProps) {
  return <InputField type={type} dir="auto" {...rest} />;
}

export function NumberField(props: NumberProps) {
  return <InputField type="number" {...props} />;
}

function InputField({ label, value, onChange, help, invalid, type, ...rest }: InputProps & { type: string; dir?: 'auto' }) {
  return (
    <Field label={label} help={help} invalid={invalid}>
      {(id, describedBy) => (
        <input
          id={id}
          type={type as 'text'} // the roles of an input are typed by its kind
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

const RECORDING_LANGUAGES = ['auto', 'zh', 'en', 'ja', 'ko', 'yue'];

/** The language of recordings and transcripts; one that is not offered stays, too. */
export function LanguageField(props: { label: string; value: string; onChange: (language: string) => void }) {
  const codes = [...new Set([...RECORDING_LANGUAGES, props.value])];
  return <SelectField {...props} options={codes.map((code) => [code, term('language', code)] as const)} />;
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
