// How a new job learns: from what, which weights, and the settings, each with what "auto" comes to.
import { useEffect, useState } from "preact/hooks";
import { html } from "./html.js";
import { suffixOf } from "./job_form.js";
import { Field } from "./parts.js";
import { figure, plural } from "./words.js";

/** `auto` is what the server makes of what is left open; `refusals` are by the fields' names. */
export function HowItLearns({ form, change, auto, refusals, usualName }) {
  const isLora = form.method === "lora";
  const of = (name) => refusals[`hyperparameters.${name}`] ?? refusals[name];
  const number = (name, label, hint, limits) => html`<${NumberField} key=${name} label=${label} hint=${hint} error=${of(name)}
    limits=${limits} value=${form[name]} change=${(value) => change({ [name]: value })} />`;
  const isRefused = SETTINGS.some((name) => of(name));
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    if (isRefused) setOpen(true); // and it stays open while what was refused is put right
  }, [isRefused]);
  return html`<section class="card">
    <h2>How it learns</h2>
    <${Choices} name="objective" label="From what" chosen=${form.objective} change=${(objective) => change({ objective })} of=${[
      ["supervised", "Examples to imitate", "The model learns the answers in your file. Start with this."],
      ["dpo", "Preferences (DPO)", "It learns from pairs, of which one answer is preferred."],
    ]} />
    <${Choices} name="method" label="Which weights" chosen=${form.method} change=${(method) => change({ method })} of=${[
      ["lora", "An adapter (LoRA)", "A small layer beside each weight: fast, small, and mostly as good."],
      ["full", "All weights", "Needs some 20 bytes of memory for each weight, and leaves a whole model."],
    ]} />
    ${refusals.method && html`<p class="hint bad">${refusals.method}</p>`}
    <div class="fields">
      <${Field} label="Name" hint=${suffixOf(form.name) ? `Its model is called …-${suffixOf(form.name)}` : "Part of the model's name"} error=${refusals.name ?? refusals.suffix}>
        <input maxlength="64" placeholder=${usualName} value=${form.name} onInput=${(event) => change({ name: event.target.value })} /><//>
    </div>
    <details open=${isOpen} onToggle=${(event) => setOpen(event.target.open)}><summary>Settings: ${summaryOf(form, auto)}</summary>
      <div class="fields">
        ${number("epochs", "Epochs", autoIs(auto?.epochs), { min: 1, max: 50, step: 1 })}
        ${number("batchSize", "Batch size", autoIs(auto?.batchSize), { min: 1, max: 256, step: 1 })}
        ${number("learningRate", "Learning rate", autoIs(auto && figure(auto.learningRate)), { min: 0, step: "any" })}
        ${form.objective === "dpo" && number("beta", "Beta", "Auto is 0.1; more keeps it closer to where it started", { min: 0, max: 2, step: "any" })}
        ${isLora && [
          number("loraRank", "Rank", "Auto is 16; more holds more, and is larger", { min: 1, max: 256, step: 1 }),
          number("loraAlpha", "Alpha", "Auto is 32; scales by alpha / rank", { min: 0, max: 4096, step: "any" }),
          number("loraDropout", "Dropout", "Auto is 0; some against learning by heart", { min: 0, max: 0.9, step: "any" }),
          html`<${Field} key="targets" label="Layers" hint="Such as q_proj, v_proj; auto is all linear layers" error=${of("loraTargets")}>
            <input placeholder="auto" value=${form.loraTargets} aria-invalid=${Boolean(of("loraTargets"))} onInput=${(event) => change({ loraTargets: event.target.value })} /><//>`,
        ]}
        ${number("seed", "Seed", "The same one trains the same way again", { min: 0, step: 1 })}
      </div>
    </details>
  </section>`;
}

const SETTINGS = ["epochs", "batchSize", "learningRate", "beta", "loraRank", "loraAlpha", "loraDropout", "loraTargets", "seed"];
const autoIs = (value) => (value ? `Auto is ${value} for this data` : "Empty is auto");

/** In words, so that it need not be opened to be seen. */
function summaryOf(form, auto) {
  if (!auto) return "all are chosen for your data";
  const said = [plural(auto.epochs, "epoch"), `batches of ${auto.batchSize}`, `learning rate ${figure(Number(form.learningRate) || auto.learningRate)}`];
  if (form.method === "lora") said.push(`rank ${form.loraRank || 16}`);
  if (form.objective === "dpo") said.push(`beta ${form.beta || 0.1}`);
  return said.join(", ");
}

function NumberField({ label, hint, error, limits, value, change }) {
  return html`<${Field} label=${label} hint=${hint} error=${error}>
    <input type="number" ...${limits} placeholder=${label === "Seed" ? "random" : "auto"} value=${value} aria-invalid=${Boolean(error)}
      onInput=${(event) => change(event.target.value)} /><//>`;
}

/** One of a few, each with a sentence. */
export function Choices({ name, label, of, chosen, change }) {
  return html`<div class="choices" role="radiogroup" aria-label=${label}>
    ${of.map(([value, title, words]) => html`<label class="choice" key=${value}>
      <input type="radio" name=${name} value=${value} checked=${value === chosen} onChange=${() => change(value)} />
      <span><strong>${title}</strong><span class="quiet">${words}</span></span></label>`)}
  </div>`;
}
