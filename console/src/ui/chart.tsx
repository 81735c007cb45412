// Curves: drawn on a canvas, with the same numbers in words for screen readers.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { t } from '../app/i18n';
import { cssColor, isDark } from '../app/theme';

export interface Curve {
  label: string;
  values: (number | null)[];
  dash?: boolean;
}

interface ChartProps {
  title: string;
  /** Steps, or seconds since the epoch. */
  x: number[];
  curves: Curve[];
  time?: boolean;
  height?: number;
}

const COLORS = ['--curve-1', '--curve-2', '--curve-3', '--curve-4', '--curve-5', '--curve-6'];

export function Chart({ title, x, curves, time = false, height = 200 }: ChartProps) {
  const container = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const dark = isDark();
  const shape = curves.map((curve) => curve.label).join('\n');
  useEffect(() => {
    const axis = { stroke: cssColor('--pico-muted-color'), grid: { stroke: cssColor('--grid') }, ticks: { stroke: cssColor('--grid') } };
    const chart = new uPlot(
      {
        width: container.current!.clientWidth || 400,
        height,
        scales: { x: { time } },
        axes: [axis, { ...axis, size: 56 }],
        legend: { live: true },
        series: [
          {},
          ...curves.map((curve, index) => ({
            label: curve.label,
            stroke: cssColor(COLORS[index % COLORS.length]!),
            width: 1.5,
            spanGaps: true,
            ...(curve.dash ? { dash: [4, 4] } : {}),
          })),
        ],
      },
      [x, ...curves.map((curve) => curve.values)],
      container.current!,
    );
    plot.current = chart;
    const resizing = new ResizeObserver(() => {
      const width = container.current!.clientWidth;
      if (width) chart.setSize({ width, height });
    });
    resizing.observe(container.current!);
    return () => {
      resizing.disconnect();
      chart.destroy();
    };
  }, [dark, shape, time, height]);
  useEffect(() => plot.current?.setData([x, ...curves.map((curve) => curve.values)]), [x, curves]);
  const newest = curves
    .map((curve) => `${curve.label}: ${String(curve.values.findLast((value) => value !== null) ?? '–')}`)
    .join(', ');
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={container} role="img" aria-label={`${title}. ${t('chart.newest')} ${newest}`} />
    </figure>
  );
}
