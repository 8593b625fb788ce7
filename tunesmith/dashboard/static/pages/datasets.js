// Datasets: what was uploaded, by whichever API.
import { api } from "../api.js";
import { DropZone } from "../drop_zone.js";
import { html } from "../html.js";
import { useAction, useLive } from "../live.js";
import { Button, Confirm, Empty, Problem, Skeleton, When } from "../parts.js";
import { go, href } from "../router.js";
import { lacks } from "../session.js";
import { bytes, count } from "../words.js";
import { Pages } from "./jobs.js";

const PAGE_SIZE = 50;

export function Datasets({ query }) {
  const page = Number(query.page ?? 1);
  const live = useLive((signal) => api.get("/api/v1/datasets", { signal, query: { limit: PAGE_SIZE, offset: (page - 1) * PAGE_SIZE } }), [page]);
  const [remove, { error }] = useAction(async (id) => {
    await api.delete(`/api/v1/datasets/${id}`);
    live.refresh();
  });
  return html`
    <div class="head"><h1 tabindex="-1">Datasets</h1></div>
    <${DropZone} label="Drop a file of examples here" onUploaded=${(dataset) => go(["datasets", dataset.id])} />
    <${Problem} error=${error} title="The dataset was not deleted" />
    <${Problem} error=${live.error?.status ? live.error : null} again=${live.refresh} title="The datasets cannot be shown" />
    ${live.data === null
      ? !live.error?.status && html`<${Skeleton} />`
      : live.data.count === 0
        ? html`<${Empty} title="No datasets yet">Drop a file above. It is read at once, and you are told what is wrong with it before anything is trained.<//>`
        : html`<table class="list"><thead><tr>${["Name", "Examples", "Size", "Uploaded", ""].map((title) => html`<th scope="col" key=${title}>${title || html`<span class="unseen">Actions</span>`}</th>`)}</tr></thead>
          <tbody>${live.data.datasets.map((one) => html`<tr key=${one.id}>
            <td class="name"><a href=${href(["datasets", one.id])}>${one.name}</a>${one.name !== one.fileName && html`<p class="quiet line">${one.fileName}</p>`}</td>
            <td data-label="Examples" class="figure">${count(one.examples)}</td>
            <td data-label="Size" class="figure">${bytes(one.bytes)}</td>
            <td data-label="Uploaded"><${When} at=${one.createdAt} /></td>
            <td class="actions"><a class="button small" href=${href("new", { dataset: one.id })}>Train</a>
              <${Confirm} label="Delete" kind="small quiet-danger" off=${lacks("fine-tuning:write")} act=${() => remove(one.id)} question=${`${one.name} goes. Jobs that were made from it keep their copy.`} /></td>
          </tr>`)}</tbody></table>
          <${Pages} count=${live.data.count} page=${page} size=${PAGE_SIZE} />`}`;
}
