// Models and deployments: what can be tuned, and what was.
import { useState } from "preact/hooks";
import { address, api } from "../api.js";
import { html } from "../html.js";
import { toOpenAI } from "../ids.js";
import { FileTable } from "../job_records.js";
import { useAction, useLive } from "../live.js";
import { Button, Code, Confirm, Dialog, Empty, Problem, Skeleton, Status, When } from "../parts.js";
import { go, href } from "../router.js";
import { lacks } from "../session.js";
import { bytes, short } from "../words.js";
import { Pages } from "./jobs.js";

const PAGE_SIZE = 50;
const CALM_MS = 5000;

export function Models({ query }) {
  const page = Number(query.page ?? 1);
  const tuned = useLive((signal) => api.get("/api/v1/fine-tuning/models", { signal, query: { limit: PAGE_SIZE, offset: (page - 1) * PAGE_SIZE } }), [page], CALM_MS);
  const bases = useLive((signal) => api.get("/api/v1/fine-tuning/base-models", { signal }));
  return html`
    <h1 tabindex="-1">Models</h1>
    <h2>Tuned models</h2>
    <${Problem} error=${tuned.error?.status ? tuned.error : null} again=${tuned.refresh} title="The models cannot be shown" />
    ${tuned.data === null
      ? !tuned.error?.status && html`<${Skeleton} rows=${4} />`
      : tuned.data.count === 0
        ? html`<${Empty} title="No tuned models yet" action=${html`<${Button} kind="primary" off=${lacks("fine-tuning:write")} onClick=${() => go("new")}>Tune one<//>`}>A job leaves one when it is completed.<//>`
        : html`<${Tuned} models=${tuned.data.models} refresh=${tuned.refresh} /><${Pages} count=${tuned.data.count} page=${page} size=${PAGE_SIZE} />`}
    <h2>Base models</h2>
    <${Problem} error=${bases.error?.status ? bases.error : null} again=${bases.refresh} />
    ${bases.data === null ? html`<${Skeleton} rows=${2} />` : html`<table class="list">
      <thead><tr>${["Name", "Provider", "Parameters", "Context", ""].map((title) => html`<th scope="col" key=${title}>${title || html`<span class="unseen">Actions</span>`}</th>`)}</tr></thead>
      <tbody>${bases.data.models.map((base) => html`<tr key=${base.id}>
        <td class="name">${base.name}<p class="quiet line">${base.id}</p></td><td data-label="Provider">${base.provider}</td>
        <td data-label="Parameters" class="figure">${base.parameterCount}</td><td data-label="Context" class="figure">${short(base.maxSequenceLength)} tokens</td>
        <td class="actions"><a class="button small" href=${href("playground", { a: base.id })}>Try it</a></td></tr>`)}</tbody></table>`}`;
}

function Tuned({ models, refresh }) {
  const [shown, setShown] = useState(null);
  const [deploy, deploying] = useAction(async (model) => {
    await api.post(`/api/v1/fine-tuning/jobs/${model.jobId}/deploy`);
    refresh();
  });
  const [remove, removal] = useAction(async (model) => {
    await api.delete(`/v1/models/${await fullName(model)}`);
    refresh();
  });
  const off = lacks("fine-tuning:write");
  return html`<${Problem} error=${deploying.error ?? removal.error} />
    <table class="list"><thead><tr>${["Name", "State", "Base model", "Size", "Made", ""].map((title) => html`<th scope="col" key=${title}>${title || html`<span class="unseen">Actions</span>`}</th>`)}</tr></thead>
    <tbody>${models.map((model) => html`<tr key=${model.id}>
      <td class="name">${model.jobId ? html`<a href=${href(["jobs", model.jobId])}>${model.id}</a>` : model.id}</td>
      <td class="state"><${Status} of=${model.deployed ? "deployed" : "not deployed"} /></td>
      <td data-label="Base model">${model.baseModel}</td><td data-label="Size" class="figure">${bytes(model.bytes)}</td>
      <td data-label="Made"><${When} at=${model.createdAt} /></td>
      <td class="actions">
        ${model.deployed
          ? html`<${Button} kind="small" off=${lacks("inference")} onClick=${() => go("playground", { a: model.baseModel, b: model.id })}>Try it<//>`
          : html`<${Button} kind="small" off=${off ?? (model.jobId ? null : "Its job was deleted.")} busy=${deploying.busy} onClick=${() => deploy(model)}>Deploy<//>`}
        <${Button} kind="small" onClick=${() => setShown({ model, what: "use" })}>Use<//>
        <${Button} kind="small" off=${model.jobId ? null : "Its job was deleted."} onClick=${() => setShown({ model, what: "files" })}>Files<//>
        <${Confirm} label="Delete" kind="small quiet-danger" off=${off ?? (model.jobId ? null : "Its job was deleted.")} busy=${removal.busy} act=${() => remove(model)} question=${`${model.id} answers no more, and its weights go.`} />
      </td></tr>`)}</tbody></table>
    ${shown?.what === "use" && html`<${Dialog} title=${`Ask ${shown.model.id}`} onClose=${() => setShown(null)}><${Usage} name=${shown.model.id} /><//>`}
    ${shown?.what === "files" && html`<${Dialog} title=${`Files of ${shown.model.id}`} onClose=${() => setShown(null)}><${Files} model=${shown.model} /><//>`}`;
}

/** OpenAI's API names a tuned model after its job. */
const fullName = async ({ jobId }) => (await api.get(`/v1/fine_tuning/jobs/${toOpenAI(jobId)}`)).fine_tuned_model;

function Files({ model }) {
  const { data, error } = useLive(async (signal) => {
    const name = await fullName(model);
    return { name, files: (await api.get(`/v1/models/${name}/files`, { signal })).data };
  }, [model.id]);
  if (error) return html`<${Problem} error=${error} />`;
  return data === null ? html`<${Skeleton} rows=${3} />` : html`<${FileTable} model=${data.name} files=${data.files} />`;
}

function Usage({ name }) {
  const body = JSON.stringify({ model: name, messages: [{ role: "user", content: "Hello" }] });
  const curl = (path, header) => `curl ${address(path)} \\\n  -H "${header}" \\\n  -H "Content-Type: application/json" \\\n  -d '${body}'`;
  const program = `import os\n\nimport openai\n\nclient = openai.OpenAI(base_url="${address("/v1")}", api_key=os.environ["TUNESMITH_API_KEY"])\nanswer = client.chat.completions.create(\n    model="${name}", messages=[{"role": "user", "content": "Hello"}]\n)\nprint(answer.choices[0].message.content)`;
  return html`<h3>Python, OpenAI's client</h3><${Code} text=${program} />
    <h3>OpenAI's API</h3><${Code} text=${curl("/v1/chat/completions", "Authorization: Bearer $TUNESMITH_API_KEY")} />
    <h3>Platform API</h3><${Code} text=${curl("/api/v1/ai/chat/completions", "X-API-Key: $TUNESMITH_API_KEY")} />`;
}
