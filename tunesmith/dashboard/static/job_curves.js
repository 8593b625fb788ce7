// The curves of one run, or of several over one another.
import { useMemo, useState } from "preact/hooks";
import { Chart, smoothed } from "./chart.js";
import { html } from "./html.js";
import { Button, Empty } from "./parts.js";
import { saveText } from "./saving.js";
import { figure } from "./words.js";

const TONES = ["--curve-1", "--curve-2", "--curve-3", "--curve-4", "--curve-5", "--curve-6"];
const MAX_TABLE_ROWS = 200;
const speedOf = (point) => (point.seconds > 0 ? (point.tokens ?? 0) / point.seconds : null);
const CHARTS = [
  { title: "Loss", figures: [["training", (p) => p.trainingLoss], ["validation", (p) => p.validationLoss]], log: true },
  { title: "Token accuracy", figures: [["training", (p) => p.trainingAccuracy], ["validation", (p) => p.validationAccuracy]] },
  { title: "Learning rate", figures: [["learning rate", (p) => p.learningRate]], exact: true },
  { title: "Tokens per second", figures: [["tokens per second", speedOf]] },
  { title: "Gradient norm", figures: [["gradient norm", (p) => p.gradientNorm]] },
  { title: "Reward margin", figures: [["reward margin", (p) => p.rewardMargin]], rare: true },
];

/** `runs`: [{name, curves}]. */
export function Curves({ runs, waiting = false }) {
  const [strength, setStrength] = useState(0);
  const [log, setLog] = useState(false);
  const steps = useMemo(() => {
    const all = runs.flatMap(({ curves }) => curves.points.map((point) => point.step));
    return [...new Set(all)].sort((a, b) => a - b);
  }, [runs]);
  if (steps.length === 0) {
    return html`<${Empty} title="No steps yet">${waiting
      ? "The curves begin with the first training step, and grow as it goes on."
      : "This job ended before its first training step."}<//>`;
  }
  return html`
    <div class="filters">
      <label class="inline">Smoothing
        <input type="range" min="0" max="0.95" step="0.05" value=${strength} onInput=${(event) => setStrength(Number(event.target.value))} />
        <output>${strength.toFixed(2)}</output></label>
      <label class="check"><input type="checkbox" checked=${log} onChange=${(event) => setLog(event.target.checked)} />Logarithmic loss</label>
      <${Button} kind="small" onClick=${() => saveText(asCsv(runs), "curves.csv")}>Download as CSV<//>
    </div>
    <div class="charts">
      ${CHARTS.map((chart) => html`<${OneChart} key=${chart.title} chart=${chart} runs=${runs} steps=${steps} strength=${strength} log=${log} />`)}
    </div>
    <details class="figures"><summary>The figures as a table</summary><${Figures} runs=${runs} /></details>`;
}

function OneChart({ chart, runs, steps, strength, log }) {
  const series = useMemo(() => seriesOf(chart, runs, steps, strength), [chart, runs, steps, strength]);
  if (chart.rare && series.length === 0) return null;
  return html`<${Chart} title=${chart.title} steps=${steps} series=${series} log=${Boolean(log && chart.log)} />`;
}

/** One line for each run and figure; figures that a run has none of are left out. */
function seriesOf(chart, runs, steps, strength) {
  return runs.flatMap(({ name, curves }, place) => {
    const at = new Map(curves.points.map((point) => [point.step, point]));
    return chart.figures.flatMap(([word, get], index) => {
      const values = steps.map((step) => (at.has(step) ? (get(at.get(step)) ?? null) : null));
      if (values.every((value) => value === null)) return [];
      const sparse = index > 0 || values.filter((value) => value !== null).length < 2;
      return [{
        label: runs.length === 1 ? word : `${name}${chart.figures.length > 1 ? `, ${word}` : ""}`,
        tone: TONES[(runs.length === 1 ? index : place) % TONES.length],
        dashed: index > 0,
        sparse,
        values: chart.exact || index > 0 ? values : smoothed(values, strength),
      }];
    });
  });
}

function Figures({ runs }) {
  const rows = runs.flatMap(({ name, curves }) => curves.points.slice(-MAX_TABLE_ROWS).map((point) => ({ name, ...point })));
  return html`<div class="scroll" tabindex="0"><table class="plain"><thead><tr>
      ${runs.length > 1 && html`<th scope="col">Job</th>`}
      ${["Step", "Training loss", "Training accuracy", "Validation loss", "Validation accuracy", "Learning rate", "Tokens per second"].map((title) => html`<th scope="col" key=${title}>${title}</th>`)}
    </tr></thead><tbody>
      ${rows.map((row) => html`<tr key=${`${row.name} ${row.step}`}>${runs.length > 1 && html`<td>${row.name}</td>`}
        <td>${row.step}</td>${[row.trainingLoss, row.trainingAccuracy, row.validationLoss, row.validationAccuracy, row.learningRate, speedOf(row)].map((value) => html`<td class="figure">${figure(value)}</td>`)}
      </tr>`)}
    </tbody></table></div>`;
}

function asCsv(runs) {
  const names = Object.keys(runs.find(({ curves }) => curves.points.length)?.curves.points[0] ?? {});
  const lines = runs.flatMap(({ name, curves }) =>
    curves.points.map((point) => [JSON.stringify(name), ...names.map((one) => point[one] ?? "")].join(",")));
  return [["job", ...names].join(","), ...lines].join("\n");
}
