// A dataset: what it holds, and what is wrong with it.
import { api } from "../api.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { Facts, Problem, Skeleton, When } from "../parts.js";
import { href } from "../router.js";
import { bytes, count } from "../words.js";

export function Dataset({ id }) {
  const { data, error, refresh } = useLive((signal) => api.get(`/api/v1/datasets/${id}`, { signal }), [id]);
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
    ]} /></div>`;
}
