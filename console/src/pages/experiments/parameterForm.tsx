// A form from the schema of a stage: types, defaults, ranges and descriptions come from the API.
import type { Schemas } from '../../api/client';
import { t } from '../../app/i18n';
import { CheckField, NumberField, SelectField, TextField } from '../../ui/fields';

export type Values = Record<string, string | boolean>;
type Schema = Pick<Schemas['StageSchema'], 'parameters'>;

interface FormProps {
  schema: Schema;
  values: Values;
  /** What the newest run ran with; shown until it is changed here. */
  config: Record<string, unknown>;
  onValues: (values: Values) => void;
}

export function ParameterForm({ schema, values, config, onValues }: FormProps) {
  const entries = Object.entries(schema.parameters);
  if (entries.length === 0) return <p class="muted">{t('experiment.noParameters')}</p>;
  return (
    <div class="grid-fields">
      {entries.map(([name, parameter]) => {
        const current = values[name] ?? toText(config[name] ?? parameter.default);
        const set = (value: string | boolean): void => onValues({ ...values, [name]: value });
        if (parameter.type === 'boolean') {
          const checked = typeof current === 'boolean' ? current : current === 'true';
          return <CheckField key={name} label={`${name}: ${parameter.description}`} checked={checked} onChange={set} />;
        }
        const text = String(current);
        if (parameter.choices) {
          const options = parameter.choices.map((choice) => [toText(choice), toText(choice)] as const);
          return <SelectField key={name} label={name} value={text} options={options} onChange={set} help={parameter.description} />;
        }
        if (parameter.type === 'integer' || parameter.type === 'number') {
          const { min, max } = parameter;
          const range = min !== undefined && max !== undefined ? t('form.range', { min, max }) : min !== undefined ? t('form.min', { min }) : '';
          return (
            <NumberField
              key={name}
              label={name}
              value={text}
              onChange={set}
              min={min}
              max={max}
              step={parameter.type === 'integer' ? 1 : 'any'}
              help={`${parameter.description} ${range}`.trim()}
            />
          );
        }
        return <TextField key={name} label={name} value={text} onChange={set} help={parameter.description} />;
      })}
    </div>
  );
}

function toText(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Return what the form changed, in the types of the schema; an empty field takes the default. */
export function changedValues(schema: Schema, values: Values): Record<string, unknown> {
  const changed: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(values)) {
    const type = schema.parameters[name]?.type;
    if (value === '') continue;
    if (type === 'integer' || type === 'number') changed[name] = Number(value);
    else if (type === 'array' || type === 'object') changed[name] = parseJson(String(value));
    else changed[name] = value;
  }
  return changed;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // the API says what is wrong with it
  }
}
