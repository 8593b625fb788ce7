// What a base model makes of a dataset: how long its rows are, and how much of them is learned.
import { api } from "./api.js";
import { html } from "./html.js";
import { useLive } from "./live.js";
import { Facts, Problem, Skeleton } from "./parts.js";
import { count, percent, plural, short } from "./words.js";

const SHOWN_REFUSED = 5;

export function Tokens({ id, base }) {
  const { data, error, refresh } = useLive((signal) => (base ? api.get(`/api/v1/datasets/${id}/tokens`, { signal, query: { baseModel: base } }) : null), [id, base]);
  if (error?.status) return html`<${Problem} error=${error} title="The tokens cannot be counted" again=${refresh} />`;
  if (data?.baseModel !== base) return html`<div class="tokens-counted" role="status"><p class="quiet">Counting tokens…</p><${Skeleton} rows=${4} /></div>`;
  return html`<div class="tokens-counted">
    <${Facts} of=${[
      ["Tokens, one epoch", count(data.tokens)],
      ["Of them learned", data.tokens ? `${count(data.trainedTokens)} (${percent(data.trainedTokens / data.tokens)})` : "none"],
      ["Tokens in a row", data.examples ? `${count(data.tokens / data.examples)} on average` : "–"],
      ["Rows cut off", data.truncatedExamples ? `${count(data.truncatedExamples)}, with ${plural(data.lostTokens, "learned token")}` : "none"],
    ]} />
    ${data.refusedExamples > 0 && html`<${Refused} rows=${data.refused} number=${data.refusedExamples} />`}
    ${data.histogram.length > 0 && html`<${Histogram} columns=${data.histogram} />`}
    ${data.mask && html`<p class="hint">Mask certificate: <code class="digest">${data.mask}</code>. A job on this data and base model shows the same one.</p>`}
  </div>`;
}

function Refused({ rows, number }) {
  return html`<div class="rule error"><p><strong>${plural(number, "row")} would fail the job.</strong> Nothing can be learned from ${number === 1 ? "it" : "them"}:</p>
    <ul>${rows.slice(0, SHOWN_REFUSED).map((row) => html`<li key=${row.line}><strong>Line ${count(row.line)}</strong> ${row.message}</li>`)}</ul></div>`;
}

/** Bars from left to right, each with its number of rows: a table that looks like a chart. */
function Histogram({ columns }) {
  const most = Math.max(...columns.map((column) => column.examples));
  return html`<figure class="histogram"><figcaption>How many rows have how many tokens</figcaption>
    <table><thead class="unseen"><tr><th scope="col">Tokens in a row</th><th scope="col">Rows</th></tr></thead>
    <tbody>${columns.map(({ upTo, examples }, place) => html`<tr key=${upTo}>
      <th scope="row">${place === 0 || columns[place - 1].upTo * 2 < upTo ? "up to" : `${short(columns[place - 1].upTo + 1)} to`} ${short(upTo)}</th>
      <td><meter aria-hidden="true" min="0" max=${most} value=${examples}></meter></td><td class="figure">${count(examples)}</td></tr>`)}</tbody></table>
  </figure>`;
}
