// What was trained on each of the last days, as bars and as a table.
import { api } from "./api.js";
import { html } from "./html.js";
import { useLive } from "./live.js";
import { Problem, Skeleton } from "./parts.js";
import { count, short } from "./words.js";

const [WIDTH, HEIGHT, GAP] = [600, 120, 3];

export function Usage() {
  const { data, error, refresh } = useLive((signal) => api.get("/api/v1/fine-tuning/usage", { signal, query: { days: 30 } }));
  if (error?.status) return html`<${Problem} error=${error} again=${refresh} />`;
  if (data === null) return html`<${Skeleton} rows=${3} />`;
  const { days } = data;
  const most = Math.max(1, ...days.map((day) => day.trainedTokens));
  const step = WIDTH / days.length;
  return html`<div class="card">
    <p><strong>${count(data.trainedTokens)}</strong> tokens trained in 30 days; <strong>${count(days.at(-1).trainedTokens)}</strong> today (UTC).</p>
    <svg class="bars" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${`Tokens trained by day; the most on one day: ${short(most)}`}>
      ${days.map((day, place) => {
        const height = Math.max(1, (HEIGHT * day.trainedTokens) / most);
        return html`<rect key=${day.date} x=${place * step} y=${HEIGHT - height} width=${step - GAP} height=${height}><title>${`${day.date}: ${count(day.trainedTokens)} tokens`}</title></rect>`;
      })}
    </svg>
    <p class="ends quiet"><span>${days[0].date}</span><span>today</span></p>
    <details class="figures"><summary>The figures as a table</summary><div class="scroll" tabindex="0"><table class="plain">
      <thead><tr><th scope="col">Day</th><th scope="col">Trained tokens</th></tr></thead>
      <tbody>${days.toReversed().map((day) => html`<tr key=${day.date}><td>${day.date}</td><td class="figure">${count(day.trainedTokens)}</td></tr>`)}</tbody>
    </table></div></details>
  </div>`;
}
