// Curves over steps: one chart, its colours from the stylesheet, its cursor shared with its siblings.
import uPlot from "uplot";
import { useEffect, useRef } from "preact/hooks";
import { html } from "./html.js";
import { figure } from "./words.js";

const HEIGHT = 220;
const FONT = "12px system-ui, sans-serif";
const AXIS = { font: FONT, size: 56, stroke: () => colour("--quiet"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } };

/** A colour as the canvas needs it, whichever theme the page is in. */
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** An exponential mean without the bias of its beginning; gaps stay gaps. */
export function smoothed(values, strength) {
  let mean = 0;
  let weight = 0;
  return values.map((value) => {
    if (value == null) return null;
    mean = strength * mean + (1 - strength) * value;
    weight = strength * weight + (1 - strength);
    return mean / weight;
  });
}

function options(title, series, log, width) {
  return {
    width,
    height: HEIGHT,
    cursor: { sync: { key: "steps" }, points: { size: 6 } },
    legend: { live: true },
    scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
    axes: [{ ...AXIS, size: 36 }, { ...AXIS, values: (_, ticks) => ticks.map((v) => (v == null ? "" : figure(v))) }],
    series: [
      { label: "Step", value: (_, value) => value ?? "–" },
      ...series.map(({ label, tone, dashed, sparse }) => ({
        label,
        stroke: () => colour(tone),
        width: 2,
        dash: dashed ? [6, 4] : undefined,
        spanGaps: true,
        points: { show: Boolean(sparse), size: 6, fill: () => colour(tone) },
        value: (_, value) => figure(value),
      })),
    ],
  };
}

/** `series`: [{label, tone, values, dashed, sparse}], each as long as `steps`. */
export function Chart({ title, steps, series, log = false }) {
  const box = useRef(null);
  const plot = useRef(null);
  const data = [steps, ...series.map((one) => one.values)];
  const newest = useRef(data);
  newest.current = data;
  const shape = JSON.stringify([log, series.map(({ values, ...look }) => look)]);

  useEffect(() => {
    const make = () => {
      plot.current?.destroy();
      const width = Math.max(200, box.current.clientWidth);
      plot.current = new uPlot(options(title, series, log, width), newest.current, box.current);
    };
    make();
    const resized = new ResizeObserver(() => {
      const width = box.current?.clientWidth;
      if (width && width !== plot.current.width) plot.current.setSize({ width, height: HEIGHT });
    });
    resized.observe(box.current);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const themed = new MutationObserver(make);
    themed.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    scheme.addEventListener("change", make);
    return () => {
      resized.disconnect();
      themed.disconnect();
      scheme.removeEventListener("change", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => plot.current?.setData(data), [data]);

  const last = series.map(({ label, values }) => `${label} ${figure(values.findLast((v) => v != null))}`);
  return html`<figure class="chart">
    <figcaption>${title}</figcaption>
    <div ref=${box} class="plot" role="img" aria-label=${`${title}; newest: ${last.join(", ")}`}></div>
  </figure>`;
}
