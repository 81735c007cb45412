// Curves: drawn on a canvas, with the same numbers in words for screen readers.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { formatClock, language, t } from '../app/i18n';
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
  /** What `x` counts. */
  xLabel?: string;
}

const WHOLE_STEPS = [1, 2, 5].flatMap((digit) => [1, 10, 100, 1e3, 1e4, 1e5].map((power) => digit * power)).sort((a, b) => a - b);
const COLORS = ['--curve-1', '--curve-2', '--curve-3', '--curve-4', '--curve-5', '--curve-6'];

export function Chart({ title, x, curves, time = false, height = 200, xLabel }: ChartProps) {
  const container = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const dark = isDark();
  const shape = curves.map((curve) => curve.label).join('\n');
  useEffect(() => {
    const element = container.current!;
    const axis = { stroke: cssColor('--pico-muted-color'), grid: { stroke: cssColor('--grid'), width: 1 }, ticks: { stroke: cssColor('--grid'), width: 1 } };
    const chart = new uPlot(
      {
        width: element.clientWidth || 400,
        height,
        scales: { x: { time } },
        axes: [{ ...axis, ...(time ? {} : { incrs: WHOLE_STEPS }), ...(time ? { values: (_: uPlot, splits: number[]) => splits.map(formatClock) } : {}) }, { ...axis, size: 56 }],
        legend: { live: true },
        series: [
          {
            label: xLabel ?? t(time ? 'chart.time' : 'chart.step'),
            ...(time ? { value: (_: uPlot, seconds: number | null) => (seconds === null ? '–' : formatClock(seconds)) } : {}),
          },
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
      element,
    );
    plot.current = chart;
    const resizing = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width) chart.setSize({ width, height });
    });
    resizing.observe(element);
    return () => {
      resizing.disconnect();
      chart.destroy();
    };
  }, [dark, shape, time, height, language.value]);
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
