// A dataset: what it holds, what is wrong with it, and what a base model would learn from it.
import { api } from "../api.js";
import { Rows } from "../dataset_rows.js";
import { Tokens } from "../dataset_tokens.js";
import { Findings, useFindings } from "../findings.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { Facts, Problem, Skeleton, When } from "../parts.js";
import { go, href, setQuery } from "../router.js";
import { bytes, count } from "../words.js";

export function Dataset({ id, query }) {
  const { data, error, refresh } = useLive((signal) => api.get(`/api/v1/datasets/${id}`, { signal }), [id]);
  const found = useFindings(id);
  const models = useLive((signal) => api.get("/api/v1/fine-tuning/base-models", { signal }));
  const bases = models.data?.models ?? [];
  const base = query.base ?? bases[0]?.id ?? null;
  const trail = html`<p class="trail"><a href="#/datasets">Datasets</a></p>`;
  if (data === null) {
    return html`${trail}<h1 tabindex="-1">Dataset</h1>${error?.status ? html`<${Problem} error=${error} title="This dataset cannot be shown" again=${refresh} />` : html`<${Skeleton} rows=${3} />`}`;
  }
  return html`${trail}
    <div class="head"><h1 tabindex="-1">${data.name}</h1>
      <div class="actions"><a class="button primary" href=${href("new", { dataset: id })}>Train on it</a></div></div>
    <div class="card"><${Facts} of=${[
      ["File", data.fileName], ["Examples", count(data.examples ?? found.data?.examples)], ["Size", bytes(data.bytes)],
      ["Uploaded", html`<${When} at=${data.createdAt} />`], ["Id", html`<code>${data.id}</code>`],
    ]} /></div>
    <h2>What the doctor says</h2>
    <div class="card"><${Findings} found=${found} dataset=${id} onFixed=${(dataset) => go(["datasets", dataset.id])} /></div>
    <div class="head"><h2>What a model makes of it</h2>
      <label class="inline">Base model <select value=${base ?? ""} onChange=${(event) => setQuery({ base: event.target.value })}>
        ${bases.map((one) => html`<option key=${one.id} value=${one.id}>${one.name}</option>`)}</select></label></div>
    <div class="card"><${Tokens} id=${id} base=${base} /></div>
    <h2>Rows</h2>
    <${Rows} id=${id} base=${base} query=${query} />`;
}
