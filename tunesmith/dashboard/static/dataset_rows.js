// The rows of a dataset, from any line on: as they are written, or as a base model sees them.
import { useState } from "preact/hooks";
import { api } from "./api.js";
import { fetchLines } from "./file_lines.js";
import { html } from "./html.js";
import { toOpenAI } from "./ids.js";
import { useLive } from "./live.js";
import { Button, Problem, Skeleton, Tabs } from "./parts.js";
import { setQuery } from "./router.js";
import { lacks, may } from "./session.js";
import { count, plural } from "./words.js";

const NUM_ROWS = 10;
const VIEWS = [["", "As written"], ["tokens", "What is learned"]];

export function Rows({ id, base, query }) {
  const first = Math.max(1, Number(query.line) || 1);
  const to = (line) => setQuery({ line: line <= 1 ? null : line });
  const view = query.view ?? "";
  return html`<div class="rows-head">
      <${Tabs} label="How rows are shown" tabs=${VIEWS} chosen=${view} choose=${(name) => setQuery({ view: name || null })} />
      <${Turn} first=${first} to=${to} />
    </div>
    ${view === "tokens" ? html`<${AsSeen} id=${id} base=${base} first=${first} />` : html`<${AsWritten} id=${id} first=${first} />`}`;
}

function Turn({ first, to }) {
  const [line, setLine] = useState("");
  const turn = (event) => { event.preventDefault(); if (line) to(Number(line)); setLine(""); };
  return html`<form class="pages" onSubmit=${turn}>
    <label class="inline">Line <input type="number" min="1" step="1" class="short" placeholder=${String(first)} value=${line} onInput=${(event) => setLine(event.target.value)} /></label>
    <button class="button small">Go</button>
    <${Button} kind="small" off=${first <= 1 ? "These are the first rows." : null} onClick=${() => to(first - NUM_ROWS)}>Previous<//>
    <${Button} kind="small" onClick=${() => to(first + NUM_ROWS)}>Next<//>
  </form>`;
}

const NoneThere = ({ first }) => html`<p class="note">The file has no rows from line ${count(first)} on.</p>`;

function AsWritten({ id, first }) {
  const readable = may("files:read");
  const { data, error, refresh } = useLive((signal) => (readable ? fetchLines(toOpenAI(id), first, NUM_ROWS, signal) : []), [id, first]);
  if (!readable) return html`<p class="note">${lacks("files:read")}</p>`;
  if (error?.status) return html`<${Problem} error=${error} title="The rows cannot be shown" again=${refresh} />`;
  if (data === null) return html`<${Skeleton} rows=${4} />`;
  if (data.length === 0) return html`<${NoneThere} first=${first} />`;
  return html`<ol class="rows">${data.map((line, index) => html`<li key=${index} class="card"><${Written} line=${line} number=${first + index} /></li>`)}</ol>`;
}

/** A row as a conversation where it is one, else its fields, else as it stands in the file. */
function Written({ line, number }) {
  let row = null;
  try {
    row = JSON.parse(line);
  } catch {
    // shown as it is
  }
  const said = Array.isArray(row?.messages) ? row.messages.map(({ role, content, ...more }) => [role, content ?? more]) : Object.entries(row ?? {});
  return html`<p class="quiet line">Line ${count(number)}</p>
    ${row === null ? html`<pre class="raw">${line}</pre>` : html`<dl class="said">${said.map(([who, what], index) => html`<div key=${index} class=${who === "assistant" ? "learned" : ""}>
      <dt>${who}</dt><dd>${typeof what === "string" ? what : JSON.stringify(what)}</dd></div>`)}</dl>`}`;
}

function AsSeen({ id, base, first }) {
  const { data, error, loading, refresh } = useLive((signal) => (base ? api.get(`/api/v1/datasets/${id}/rows`, { signal, query: { baseModel: base, line: first, limit: NUM_ROWS } }) : null), [id, base, first]);
  if (error?.status) return html`<${Problem} error=${error} title="The rows cannot be shown" again=${refresh} />`;
  if (data === null) return html`<p class="quiet" role="status">${loading ? "The model's tokenizer reads the rows…" : ""}</p><${Skeleton} rows=${4} />`;
  if (data.rows.length === 0) return html`<${NoneThere} first=${first} />`;
  return html`<p class="legend">The model learns to write what is <mark class="learned">marked like this</mark>; the rest it only reads. Between two dots is one token.</p>
    <ol class="rows">${data.rows.map((row) => html`<li key=${row.line} class="card">
      <p class="quiet line">Line ${count(row.line)}</p>
      ${row.refused !== null && html`<div class="rule error"><strong>Nothing can be learned from it.</strong> ${row.refused}</div>`}
      ${row.texts.map((text, index) => html`<${Seen} key=${index} text=${text} title=${row.texts.length < 2 ? null : index === 0 ? "Preferred" : "Not preferred"} />`)}
    </li>`)}</ol>`;
}

function Seen({ text, title }) {
  const hidden = text.tokens - text.pieces.reduce((sum, piece) => sum + piece.tokens, 0);
  return html`<div class="seen">
    ${title && html`<h3>${title}</h3>`}
    <p class="text">${runsOf(text.pieces).map((run, index) => (run.learned
      ? html`<mark key=${index} class="learned">${run.pieces.map(Piece)}</mark>`
      : html`<span key=${index}>${run.pieces.map(Piece)}</span>`))}</p>
    <p class="hint">${plural(text.tokens, "token")}, ${count(text.trainedTokens)} of them learned.${hidden ? ` ${count(hidden)} more are not shown.` : ""}${text.cutTokens ? ` ${count(text.cutTokens)} more are beyond the model's context, so it never sees them.` : ""}</p>
  </div>`;
}

const Piece = (piece, index) => html`<span key=${index} class="piece">${piece.text.replaceAll("\n", "↵\n")}</span>`;

/** Neighbours that are both learned, or both not. */
function runsOf(pieces) {
  const runs = [];
  for (const piece of pieces) {
    const last = runs.at(-1);
    if (last?.learned === piece.learned) last.pieces.push(piece);
    else runs.push({ learned: piece.learned, pieces: [piece] });
  }
  return runs;
}
