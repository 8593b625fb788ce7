// A dataset: what it holds, and what is wrong with it.
import { api } from "../api.js";
import { fetchLines } from "../file_lines.js";
import { Findings, useFindings } from "../findings.js";
import { html } from "../html.js";
import { toOpenAI } from "../ids.js";
import { useLive } from "../live.js";
import { Facts, Problem, Skeleton, When } from "../parts.js";
import { go, href } from "../router.js";
import { lacks, may } from "../session.js";
import { bytes, count } from "../words.js";

const NUM_ROWS = 10;

export function Dataset({ id }) {
  const { data, error, refresh } = useLive((signal) => api.get(`/api/v1/datasets/${id}`, { signal }), [id]);
  const found = useFindings(id);
  const trail = html`<p class="trail"><a href="#/datasets">Datasets</a></p>`;
  if (data === null) {
    return html`${trail}<h1 tabindex="-1">Dataset</h1>${error?.status ? html`<${Problem} error=${error} title="This dataset cannot be shown" again=${refresh} />` : html`<${Skeleton} rows=${3} />`}`;
  }
  return html`${trail}
    <div class="head"><h1 tabindex="-1">${data.name}</h1>
      <div class="actions"><a class="button primary" href=${href("new", { dataset: id })}>Train on it</a></div></div>
    <div class="card"><${Facts} of=${[
      ["File", data.fileName], ["Examples", count(data.examples)], ["Size", bytes(data.bytes)],
      ["Uploaded", html`<${When} at=${data.createdAt} />`], ["Id", html`<code>${data.id}</code>`],
    ]} /></div>
    <h2>What the doctor says</h2>
    <div class="card"><${Findings} found=${found} dataset=${id} onFixed=${(dataset) => go(["datasets", dataset.id])} /></div>
    <h2>First rows</h2>
    <${FirstRows} id=${id} />`;
}

function FirstRows({ id }) {
  const readable = may("files:read");
  const { data, error, refresh } = useLive((signal) => (readable ? fetchLines(toOpenAI(id), 1, NUM_ROWS, signal) : []), [id]);
  if (!readable) return html`<p class="note">${lacks("files:read")}</p>`;
  if (error?.status) return html`<${Problem} error=${error} title="The rows cannot be shown" again=${refresh} />`;
  if (data === null) return html`<${Skeleton} rows=${4} />`;
  return html`<ol class="rows">${data.map((line, index) => html`<li key=${index} class="card"><${Row} line=${line} number=${index + 1} /></li>`)}</ol>`;
}

/** A row as a conversation where it is one, else its fields, else as it stands in the file. */
function Row({ line, number }) {
  let row = null;
  try {
    row = JSON.parse(line);
  } catch {
    // shown as it is
  }
  const said = Array.isArray(row?.messages) ? row.messages.map(({ role, content, ...more }) => [role, content ?? more]) : Object.entries(row ?? {});
  return html`<p class="quiet line">Line ${number}</p>
    ${row === null ? html`<pre class="raw">${line}</pre>` : html`<dl class="said">${said.map(([who, what], index) => html`<div key=${index} class=${who === "assistant" ? "learned" : ""}>
      <dt>${who}</dt><dd>${typeof what === "string" ? what : JSON.stringify(what)}</dd></div>`)}</dl>`}`;
}
