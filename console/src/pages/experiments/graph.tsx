// The stages as a graph: each box is a link, its lines come from the stages that it needs.
import type { Schemas } from '../../api/client';
import { t, term } from '../../app/i18n';
import { linkTo } from '../../app/router';
import { stageState } from './stages';

const [WIDTH, HEIGHT, GAP_X, GAP_Y] = [150, 46, 44, 14];

interface Place {
  x: number;
  y: number;
}

interface GraphProps {
  experiment: string;
  schemas: Schemas['StageSchema'][];
  stages: Record<string, Schemas['StageView']>;
  chosen: string;
}

export function StageGraph({ experiment, schemas, stages, chosen }: GraphProps) {
  const places = layOut(schemas.map((schema) => ({ name: schema.stage_type, needs: schema.needs })));
  const width = Math.max(...[...places.values()].map((place) => place.x)) + WIDTH + 4;
  const height = Math.max(...[...places.values()].map((place) => place.y)) + HEIGHT + 4;
  return (
    <div class="scroll" role="region" tabIndex={0} aria-label={t('experiment.graph')}>
      <svg width={width} height={height} viewBox={`-2 -2 ${width} ${height}`} class="graph" aria-label={t('experiment.graph')}>
        {schemas.flatMap((schema) =>
          schema.needs.map((need) => {
            const [from, to] = [places.get(need), places.get(schema.stage_type)];
            if (!from || !to) return null;
            const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
            const bend = Math.max(16, (x2 - x1) / 2);
            return <path key={`${need} ${schema.stage_type}`} d={`M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`} />;
          }),
        )}
        {schemas.map((schema) => {
          const { x, y } = places.get(schema.stage_type)!;
          const state = stageState(stages[schema.stage_type]!);
          return (
            <a
              key={schema.stage_type}
              href={linkTo('experiments', experiment, schema.stage_type)}
              aria-current={schema.stage_type === chosen ? 'true' : undefined}
              aria-label={`${term('stage', schema.stage_type)}: ${term('status', state)}`}
              class={`stage ${state}`}
            >
              <rect x={x} y={y} width={WIDTH} height={HEIGHT} rx={6} />
              <text x={x + WIDTH / 2} y={y + 19} text-anchor="middle">
                {term('stage', schema.stage_type)}
              </text>
              <text x={x + WIDTH / 2} y={y + 36} text-anchor="middle" class="state">
                {term('status', state)}
              </text>
            </a>
          );
        })}
      </svg>
    </div>
  );
}

/** Place every stage in the column after the last of those that it needs. */
export function layOut(stages: { name: string; needs: string[] }[]): Map<string, Place> {
  const columns = new Map<string, number>();
  const names = new Set(stages.map((stage) => stage.name));
  const column = (name: string): number => {
    const existing = columns.get(name);
    if (existing !== undefined) return existing;
    const needs = stages.find((stage) => stage.name === name)!.needs.filter((need) => names.has(need));
    const result = needs.length ? Math.max(...needs.map(column)) + 1 : 0;
    columns.set(name, result);
    return result;
  };
  const used = new Map<number, number>();
  return new Map(
    stages.map(({ name }) => {
      const index = column(name);
      const row = used.get(index) ?? 0;
      used.set(index, row + 1);
      return [name, { x: index * (WIDTH + GAP_X), y: row * (HEIGHT + GAP_Y) }];
    }),
  );
}
