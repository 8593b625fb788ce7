// A new job: data, base model, settings, what it would take, start.
import { useEffect, useState } from "preact/hooks";
import { api } from "../api.js";
import { DropZone } from "../drop_zone.js";
import { Estimate } from "../estimate.js";
import { Findings, useFindings } from "../findings.js";
import { html } from "../html.js";
import { toOpenAI, toPlatform } from "../ids.js";
import { useAction, useLive, useSettled } from "../live.js";
import { Button, Code, Dialog, Field, Problem } from "../parts.js";
import { go } from "../router.js";
import { lacks } from "../session.js";
import { curl, python } from "../snippets.js";
import { bytes, figure, plural, short } from "../words.js";

const PATH = "/v1/fine_tuning/jobs";
const NOTHING = { training: null, validation: null, model: "", suffix: "", method: "supervised", epochs: "", batch: "", multiplier: "", beta: "", seed: "" };
const MAX_LISTED = 100;

/** The body of the request, with nothing in it that the person has left open. */
function bodyOf(form) {
  const hyperparameters = {};
  if (form.epochs) hyperparameters.n_epochs = Number(form.epochs);
  if (form.batch) hyperparameters.batch_size = Number(form.batch);
  if (form.multiplier) hyperparameters.learning_rate_multiplier = Number(form.multiplier);
  if (form.method === "dpo" && form.beta) hyperparameters.beta = Number(form.beta);
  const body = { model: form.model, training_file: form.training ? toOpenAI(form.training) : "file-…" };
  if (form.validation) body.validation_file = toOpenAI(form.validation);
  if (form.suffix.trim()) body.suffix = form.suffix.trim();
  if (form.seed) body.seed = Number(form.seed);
  body.method = { type: form.method, [form.method]: { hyperparameters } };
  return body;
}

/** The settings of a job, to be changed and started again. */
async function formOf(id) {
  const inner = await api.get(`${PATH}/${toOpenAI(id)}`);
  const { n_epochs, batch_size, learning_rate_multiplier } = inner.hyperparameters;
  const { beta } = inner.method.dpo?.hyperparameters ?? {};
  return {
    ...NOTHING,
    training: toPlatform(inner.training_file),
    validation: inner.validation_file && toPlatform(inner.validation_file),
    model: inner.model,
    suffix: inner.user_provided_suffix ?? "",
    method: inner.method.type,
    epochs: String(n_epochs),
    batch: String(batch_size),
    multiplier: String(learning_rate_multiplier),
    beta: beta == null ? "" : String(beta),
    seed: String(inner.seed),
  };
}

const known = (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value === "auto" ? "" : value]));

export function NewJob({ query }) {
  const [form, setForm] = useState({ ...NOTHING, training: query.dataset ?? null });
  const [showing, setShowing] = useState(null);
  const change = (changes) => setForm((before) => ({ ...before, ...changes }));
  const datasets = useLive((signal) => api.get("/api/v1/datasets", { signal, query: { limit: MAX_LISTED } }));
  const models = useLive((signal) => api.get("/api/v1/fine-tuning/base-models", { signal }));
  const bases = models.data?.models ?? [];
  useEffect(() => {
    if (query.from) formOf(query.from).then((values) => setForm(known(values)), () => {});
  }, [query.from]);
  useEffect(() => {
    if (!form.model && bases.length) change({ model: bases[0].id });
  }, [models.data]);
  const found = useFindings(form.training, form.validation);
  const settled = useSettled(form);
  const estimate = useLive(
    (signal) => (settled.training && settled.model ? api.post("/api/v1/fine-tuning/estimates", {
      baseModel: settled.model,
      dataset: settled.training,
      method: settled.method,
      ...(settled.epochs ? { epochs: Number(settled.epochs) } : {}),
      ...(settled.batch ? { batchSize: Number(settled.batch) } : {}),
    }, { signal }) : null),
    [settled.training, settled.model, settled.method, settled.epochs, settled.batch],
  );
  const [start, { busy, error }] = useAction(async () => {
    const job = await api.post(PATH, bodyOf(form));
    go(["jobs", toPlatform(job.id)]);
  });
  const off = lacks("fine-tuning:write") ?? (form.training ? null : "Choose the training data first.") ?? (form.model ? null : "Choose a base model first.") ?? (found.data?.dataset === form.training && !found.data.trainable ? "The training data has errors, which would fail the job. Mend them first." : null);
  const auto = form.training && estimate.data?.hyperparameters;
  const uploaded = (name) => (dataset) => {
    datasets.refresh();
    change({ [name]: dataset.id });
  };

  return html`<p class="trail"><a href="#/jobs">Jobs</a></p><h1 tabindex="-1">New job</h1>
  <div class="with-aside"><form class="steps" onSubmit=${(event) => event.preventDefault()}>
    <section class="card">
      <h2>Training data</h2>
      <${DropZone} label="Drop a file of examples here" onUploaded=${uploaded("training")} />
      <${ChooseData} label="or one that is here already" datasets=${datasets.data?.datasets} value=${form.training} change=${(training) => change({ training })} />
      ${form.training && html`<${Findings} found=${found} dataset=${form.training} against=${form.validation} onFixed=${uploaded("training")} />`}
      <details open=${Boolean(form.validation)}><summary>Validation data, to see whether it learns or only remembers</summary>
        <${DropZone} label="Drop a validation file here" onUploaded=${uploaded("validation")} />
        <${ChooseData} label="Validation data" datasets=${datasets.data?.datasets} value=${form.validation} change=${(validation) => change({ validation })} />
      </details>
    </section>
    <section class="card">
      <h2>Base model</h2>
      <${Problem} error=${models.error?.status ? models.error : null} again=${models.refresh} />
      <${BaseModels} bases=${bases} value=${form.model} change=${(model) => change({ model })} />
    </section>
    <section class="card">
      <h2>Method</h2>
      <div class="choices" role="radiogroup" aria-label="Method">
        <${Choice} name="method" value="supervised" chosen=${form.method} change=${(method) => change({ method })} title="Examples to imitate">The model learns the answers in your file. Start with this.<//>
        <${Choice} name="method" value="dpo" chosen=${form.method} change=${(method) => change({ method })} title="Preferences (DPO)">It learns from pairs, of which one answer is preferred.<//>
      </div>
      <div class="fields">
        <${Field} label="Name" hint="Part of the model's name"><input maxlength="64" placeholder="support-v1" value=${form.suffix} onInput=${(event) => change({ suffix: event.target.value })} /><//>
      </div>
      <details><summary>Settings: ${auto ? `${plural(auto.epochs, "epoch")}, batches of ${auto.batchSize}, learning rate ${figure(auto.learningRate * Number(form.multiplier || 1))}` : "all are chosen for your data"}</summary>
        <div class="fields">
          <${Whole} label="Epochs" max="50" auto=${auto?.epochs} value=${form.epochs} change=${(epochs) => change({ epochs })} />
          <${Whole} label="Batch size" max="256" auto=${auto?.batchSize} value=${form.batch} change=${(batch) => change({ batch })} />
          <${Field} label="Learning-rate multiplier" hint=${auto ? `Auto is 1: ${figure(auto.learningRate)}` : "Auto is 1"}><input type="number" min="0.001" max="1000" step="any" placeholder="auto" value=${form.multiplier} onInput=${(event) => change({ multiplier: event.target.value })} /><//>
          ${form.method === "dpo" && html`<${Field} label="Beta" hint="Auto is 0.1; more keeps it closer to where it started"><input type="number" min="0.001" max="2" step="any" placeholder="auto" value=${form.beta} onInput=${(event) => change({ beta: event.target.value })} /><//>`}
          <${Field} label="Seed" hint="The same one trains the same way again"><input type="number" min="0" step="1" placeholder="random" value=${form.seed} onInput=${(event) => change({ seed: event.target.value })} /><//>
        </div>
      </details>
    </section>
  </form>
  <aside class="card sticky">
    <h2>What it takes</h2>
    <${Estimate} made=${form.training ? estimate.data : null} error=${estimate.error?.status ? estimate.error : null} />
    <${Problem} error=${error} title="The job was not made" />
    <${Button} kind="primary wide" off=${off} busy=${busy} onClick=${start}>Start training<//>
    ${off && html`<p class="hint">${off}</p>`}
    <p class="actions"><${Button} kind="small" onClick=${() => setShowing("curl")}>As curl<//><${Button} kind="small" onClick=${() => setShowing("python")}>As Python<//></p>
  </aside></div>
  ${showing && html`<${Dialog} title=${showing === "curl" ? "The same with curl" : "The same in Python"} onClose=${() => setShowing(null)}>
    <${Code} text=${showing === "curl" ? curl(PATH, bodyOf(form)) : python("fine_tuning.jobs.create", bodyOf(form))} />
  <//>`}`;
}

function ChooseData({ label, datasets, value, change }) {
  return html`<${Field} label=${label}><select value=${value ?? ""} onChange=${(event) => change(event.target.value || null)}>
    <option value="">${datasets?.length === 0 ? "No datasets yet" : "None"}</option>
    ${value && !datasets?.some((one) => one.id === value) && html`<option value=${value}>${value}</option>`}
    ${datasets?.map((one) => html`<option key=${one.id} value=${one.id}>${one.name} (${one.examples === null ? bytes(one.bytes) : plural(one.examples, "example")})</option>`)}
  </select><//>`;
}

function BaseModels({ bases, value, change }) {
  if (value && bases.length && !bases.some((base) => base.id === value)) {
    bases = [{ id: value, name: value, provider: "one of your models, tuned further" }, ...bases];
  }
  return html`<div class="choices" role="radiogroup" aria-label="Base model">
    ${bases.map((base) => html`<${Choice} key=${base.id} name="base" value=${base.id} chosen=${value} change=${change} title=${base.name}>
      ${[base.provider, base.parameterCount && `${base.parameterCount} parameters`, base.maxSequenceLength && `${short(base.maxSequenceLength)} tokens of context`].filter(Boolean).join(" · ")}<//>`)}
  </div>`;
}

function Choice({ name, value, chosen, change, title, children }) {
  return html`<label class="choice"><input type="radio" name=${name} value=${value} checked=${value === chosen} onChange=${() => change(value)} />
    <span><strong>${title}</strong><span class="quiet">${children}</span></span></label>`;
}

function Whole({ label, max, auto, value, change }) {
  return html`<${Field} label=${label} hint=${auto && !value ? `Auto is ${auto} for this data` : "Empty is auto"}>
    <input type="number" min="1" max=${max} step="1" placeholder="auto" value=${value} onInput=${(event) => change(event.target.value)} /><//>`;
}
