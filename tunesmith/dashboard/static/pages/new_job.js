// A new job: data, base model, settings, what it would take, start.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api.js";
import { DropZone } from "../drop_zone.js";
import { Estimate } from "../estimate.js";
import { Findings, useFindings } from "../findings.js";
import { html } from "../html.js";
import { bodyOf, estimateOf, formOf, NOTHING, PATH } from "../job_form.js";
import { Choices, HowItLearns } from "../job_settings.js";
import { useAction, useLive, useSettled } from "../live.js";
import { Button, Code, Dialog, Field, Problem } from "../parts.js";
import { go } from "../router.js";
import { lacks } from "../session.js";
import { curl, plainPython } from "../snippets.js";
import { bytes, plural, short } from "../words.js";

const MAX_LISTED = 100;

export function NewJob({ query }) {
  const [form, setForm] = useState({ ...NOTHING, training: query.dataset ?? null });
  const [showing, setShowing] = useState(null);
  const change = (changes) => setForm((before) => ({ ...before, ...changes }));
  const datasets = useLive((signal) => api.get("/api/v1/datasets", { signal, query: { limit: MAX_LISTED } }));
  const models = useLive((signal) => api.get("/api/v1/fine-tuning/base-models", { signal }));
  const bases = models.data?.models ?? [];
  const from = useAction(async () => setForm(await formOf(query.from)));
  useEffect(() => {
    if (query.from) from[0]();
  }, [query.from]);
  useEffect(() => {
    if (!form.model && bases.length && !query.from) change({ model: bases[0].id });
  }, [models.data]);
  const found = useFindings(form.training, form.validation);
  const asked = JSON.stringify(form.training && form.model ? estimateOf(form) : null);
  const settled = useSettled(asked);
  const estimate = useLive((signal) => (settled === "null" ? null : api.post("/api/v1/fine-tuning/estimates", JSON.parse(settled), { signal })), [settled]);
  const usualName = datasets.data?.datasets.find((one) => one.id === form.training)?.name.replace(/\.\w+$/, "") || "untitled";
  const sent = useRef(null);
  const [start, { busy, error }] = useAction(async () => {
    sent.current = form;
    const job = await api.post(PATH, bodyOf(form, usualName));
    go(["jobs", job.id]);
  });
  const refused = sent.current === form ? error : null; // what has been changed since may be right now
  const refusals = { ...(settled === asked ? estimate.error?.fields : {}), ...refused?.fields };
  const off = lacks("fine-tuning:write") ?? (form.training ? null : "Choose the training data first.") ?? (form.model ? null : "Choose a base model first.") ?? (found.data?.dataset === form.training && !found.data.trainable ? "The training data has errors, which would fail the job. Mend them first." : null);
  const uploaded = (name) => (dataset) => {
    datasets.refresh();
    change({ [name]: dataset.id });
  };

  return html`<p class="trail"><a href="#/jobs">Jobs</a></p><h1 tabindex="-1">New job</h1>
  <${Problem} error=${from[1].error} title="The settings of that job cannot be had" />
  <div class="with-aside"><form class="steps" onSubmit=${(event) => event.preventDefault()}>
    <section class="card">
      <h2>Training data</h2>
      <${DropZone} label="Drop a file of examples here" onUploaded=${uploaded("training")} />
      <${ChooseData} label="or one that is here already" error=${refusals.trainingDataset} datasets=${datasets.data?.datasets} value=${form.training} change=${(training) => change({ training })} />
      ${form.training && html`<${Findings} found=${found} dataset=${form.training} against=${form.validation} onFixed=${uploaded("training")} />`}
      <details open=${Boolean(form.validation)}><summary>Validation data, to see whether it learns or only remembers</summary>
        <${DropZone} label="Drop a validation file here" onUploaded=${uploaded("validation")} />
        <${ChooseData} label="Validation data" error=${refusals.validationFile} datasets=${datasets.data?.datasets} value=${form.validation} change=${(validation) => change({ validation })} />
      </details>
    </section>
    <section class="card">
      <h2>Base model</h2>
      <${Problem} error=${models.error?.status ? models.error : null} again=${models.refresh} />
      <${BaseModels} bases=${bases} value=${form.model} change=${(model) => change({ model })} />
      ${refusals.baseModel && html`<p class="hint bad">${refusals.baseModel}</p>`}
    </section>
    <${HowItLearns} form=${form} change=${change} auto=${form.training && estimate.data?.hyperparameters} refusals=${refusals} usualName=${usualName} />
  </form>
  <aside class="card sticky">
    <h2>What it takes</h2>
    <${Estimate} made=${form.training ? estimate.data : null} error=${estimate.error?.status ? estimate.error : null} />
    <${Problem} error=${refused} title="The job was not made" />
    <${Button} kind="primary wide" off=${off} busy=${busy} onClick=${start}>Start training<//>
    ${off && html`<p class="hint">${off}</p>`}
    <p class="actions"><${Button} kind="small" onClick=${() => setShowing("curl")}>As curl<//><${Button} kind="small" onClick=${() => setShowing("python")}>As Python<//></p>
  </aside></div>
  ${showing && html`<${Dialog} title=${showing === "curl" ? "The same with curl" : "The same in Python"} onClose=${() => setShowing(null)}>
    <${Code} text=${(showing === "curl" ? curl : plainPython)(PATH, bodyOf(form, usualName))} />
  <//>`}`;
}

function ChooseData({ label, error, datasets, value, change }) {
  return html`<${Field} label=${label} error=${error}><select value=${value ?? ""} aria-invalid=${Boolean(error)} onChange=${(event) => change(event.target.value || null)}>
    <option value="">${datasets?.length === 0 ? "No datasets yet" : "None"}</option>
    ${value && !datasets?.some((one) => one.id === value) && html`<option value=${value}>${value}</option>`}
    ${datasets?.map((one) => html`<option key=${one.id} value=${one.id}>${one.name} (${one.examples === null ? bytes(one.bytes) : plural(one.examples, "example")})</option>`)}
  </select><//>`;
}

function BaseModels({ bases, value, change }) {
  const words = (base) => [base.provider, base.parameterCount && `${base.parameterCount} parameters`, base.maxSequenceLength && `${short(base.maxSequenceLength)} tokens of context`].filter(Boolean).join(" · ");
  const known = bases.map((base) => [base.id, base.name, words(base)]);
  const isTuned = value && bases.length && !bases.some((base) => base.id === value);
  return html`<${Choices} name="base" label="Base model" chosen=${value} change=${change}
    of=${isTuned ? [[value, value, "one of your models, tuned further"], ...known] : known} />`;
}
