// What was trained, and what answers took, on each of the last days: as bars and as tables.
import { api } from "./api.js";
import { html } from "./html.js";
import { useLive } from "./live.js";
import { Problem, Skeleton } from "./parts.js";
import { count, plural, short } from "./words.js";

const DAYS = 30;
const LIVE_MS = 10_000;
const [WIDTH, HEIGHT, GAP] = [600, 120, 3];
const SPENT = ["Requests", "Tokens asked", "Tokens answered"];
const spent = (of) => [of.requests, of.promptTokens, of.completionTokens];
const tokens = (of) => of.promptTokens + of.completionTokens;
const useDays = (path) => useLive((signal) => api.get(path, { signal, query: { days: DAYS } }), [], LIVE_MS);

export function Usage() {
  const training = useDays("/api/v1/fine-tuning/usage");
  const answers = useDays("/api/v1/ai/usage");
  return html`<div class="sides">
      <${Card} title="Training" live=${training} show=${Training} />
      <${Card} title="Answers" live=${answers} show=${Answers} />
    </div>
    <${Card} title="Answers by key and by model" live=${answers} show=${ByKeyAndModel} />`;
}

function Card({ title, live: { data, error, refresh }, show: Show }) {
  return html`<section class="card usage"><h3>${title}</h3>
    ${data !== null ? html`<${Show} found=${data} />` : error?.status ? html`<${Problem} error=${error} again=${refresh} />` : html`<${Skeleton} rows=${3} />`}
  </section>`;
}

function Training({ found }) {
  return html`<p><strong>${count(found.trainedTokens)}</strong> tokens trained in ${DAYS} days; <strong>${count(found.days.at(-1).trainedTokens)}</strong> today (UTC).</p>
    <${Bars} what="Tokens trained" days=${found.days.map((day) => [day.date, day.trainedTokens])} />
    <details class="figures"><summary>The figures as a table</summary>
      <${Figures} titles=${["Day", "Trained tokens"]} rows=${found.days.toReversed().map((day) => [day.date, day.trainedTokens])} /></details>`;
}

function Answers({ found: { total, days } }) {
  return html`<p><strong>${plural(total.requests, "request")}</strong> in ${DAYS} days, of <strong>${count(total.promptTokens)}</strong> tokens; the answers have <strong>${count(total.completionTokens)}</strong>.</p>
    <${Bars} what="Tokens of requests and answers" days=${days.map((day) => [day.date, tokens(day)])} />
    <details class="figures"><summary>The figures as a table</summary>
      <${Figures} titles=${["Day", ...SPENT]} rows=${days.toReversed().map((day) => [day.date, ...spent(day)])} /></details>`;
}

function ByKeyAndModel({ found: { total, keys, models } }) {
  if (total.requests === 0) return html`<p class="quiet">Nothing was asked in ${DAYS} days. <a href="#/playground">Ask a model in the playground.</a></p>`;
  return html`<${Figures} titles=${["Key", ...SPENT]} rows=${keys.map((key) => [nameOf(key), ...spent(key)])} />
    <${Figures} titles=${["Model", ...SPENT]} rows=${models.map((one) => [one.model, ...spent(one)])} />`;
}

const nameOf = ({ keyId, name, keyPrefix }) => (keyId === null ? "All other keys" : html`${name} <code class="quiet">${keyPrefix}…</code>`);

function Bars({ what, days }) {
  const most = Math.max(1, ...days.map(([, value]) => value));
  const step = WIDTH / days.length;
  return html`<svg class="bars" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${`${what} by day; the most on one day: ${short(most)}`}>
      ${days.map(([date, value], place) => {
        const height = Math.max(1, (HEIGHT * value) / most);
        return html`<rect key=${date} x=${place * step} y=${HEIGHT - height} width=${step - GAP} height=${height}><title>${`${date}: ${count(value)} tokens`}</title></rect>`;
      })}
    </svg>
    <p class="ends quiet"><span>${days[0][0]}</span><span>today</span></p>`;
}

function Figures({ titles, rows }) {
  return html`<div class="scroll" tabindex="0"><table class="plain">
    <thead><tr>${titles.map((title, place) => html`<th scope="col" key=${title} class=${place ? "number" : ""}>${title}</th>`)}</tr></thead>
    <tbody>${rows.map(([name, ...figures], index) => html`<tr key=${index}><th scope="row">${name}</th>${figures.map((value) => html`<td class="figure number">${count(value)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}
