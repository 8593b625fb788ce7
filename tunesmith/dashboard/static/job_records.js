// What a job leaves behind: checkpoints, events, log lines, its settings and its model's files.
import { useState } from "preact/hooks";
import { api } from "./api.js";
import { html } from "./html.js";
import { toOpenAI } from "./ids.js";
import { useAction, useLive } from "./live.js";
import { Button, Empty, Facts, Problem, Skeleton, When } from "./parts.js";
import { href } from "./router.js";
import { saveFrom, saveText } from "./saving.js";
import { lacks } from "./session.js";
import { bytes, count, exactly, figure, percent } from "./words.js";

const LIVE_MS = 1500;
const MAX_EVENTS = 200;
const MAX_LINES = 1000;
const path = (job) => `/v1/fine_tuning/jobs/${toOpenAI(job.id)}`;

/** What is on its way, what went wrong, what there is not; or what there is. */
function Loaded({ live, rows, empty, children }) {
  if (live.error?.status) return html`<${Problem} error=${live.error} again=${live.refresh} />`;
  if (live.data === null) return html`<${Skeleton} rows=${5} />`;
  return rows(live.data).length === 0 ? empty : children(rows(live.data));
}

export function Checkpoints({ job }) {
  const live = useLive((signal) => api.get(`${path(job)}/checkpoints`, { signal, query: { limit: 100 } }), [job.id], job.status === "running" ? LIVE_MS : null);
  const empty = html`<${Empty} title="No checkpoints yet">One is kept at the end of each epoch; each answers under its own name.<//>`;
  return html`<${Loaded} live=${live} rows=${(found) => found.data} empty=${empty}>
    ${(rows) => html`<table class="list">
      <thead><tr>${["Step", "Training loss", "Validation loss", "Accuracy", "Made", ""].map((title) => html`<th scope="col" key=${title}>${title || html`<span class="unseen">Actions</span>`}</th>`)}</tr></thead>
      <tbody>${rows.map((one) => html`<tr key=${one.id}>
        <td class="name">Step ${count(one.step_number)}<p class="quiet line">${one.fine_tuned_model_checkpoint}</p></td>
        <td data-label="Training loss" class="figure">${figure(one.metrics.train_loss)}</td>
        <td data-label="Validation loss" class="figure">${figure(one.metrics.full_valid_loss ?? one.metrics.valid_loss)}</td>
        <td data-label="Accuracy" class="figure">${one.metrics.train_mean_token_accuracy == null ? "–" : percent(one.metrics.train_mean_token_accuracy)}</td>
        <td data-label="Made"><${When} at=${one.created_at} /></td>
        <td><a class="button small" href=${href("playground", { a: job.baseModel, b: one.fine_tuned_model_checkpoint })}>Try it</a></td>
      </tr>`)}</tbody></table>`}
  <//>`;
}

export function Events({ job, live: isLive }) {
  const live = useLive((signal) => api.get(`${path(job)}/events`, { signal, query: { limit: MAX_EVENTS } }), [job.id], isLive ? LIVE_MS : null);
  const [all, setAll] = useState(false);
  const rows = (found) => found.data.filter((event) => all || event.type !== "metrics");
  return html`
    <label class="check"><input type="checkbox" checked=${all} onChange=${(event) => setAll(event.target.checked)} />With every step</label>
    <${Loaded} live=${live} rows=${rows} empty=${html`<${Empty} title="Nothing has happened yet">What happens to the job is listed here.<//>`}>
      ${(events) => html`<ol class="events">${events.map((event) => html`<li key=${event.id} class=${event.level}>
        <time title=${exactly(event.created_at)}>${exactly(event.created_at)}</time>
        ${event.level !== "info" && html`<strong>${event.level === "warn" ? "Warning" : "Error"}</strong>`}
        <span>${event.message}</span></li>`)}</ol>`}
    <//>`;
}

export function Log({ job, live: isLive }) {
  const [text, setText] = useState("");
  const [level, setLevel] = useState("");
  const live = useLive((signal) => api.get(`/api/v1/fine-tuning/jobs/${job.id}/logs`, { signal, query: { lines: MAX_LINES } }), [job.id], isLive ? LIVE_MS : null);
  const fits = (line) => (!level || line.level === level) && line.message.toLowerCase().includes(text.toLowerCase());
  const shown = (live.data?.logs ?? []).filter(fits);
  const asText = () => shown.map((line) => `${line.timestamp} ${line.level} ${line.message}`).join("\n");
  return html`
    <div class="filters">
      <input type="search" data-search aria-label="Search the log" placeholder="Search the log  /" value=${text} onInput=${(event) => setText(event.target.value)} />
      <select aria-label="Level" value=${level} onChange=${(event) => setLevel(event.target.value)}>
        <option value="">Every level</option><option value="info">Info</option><option value="warning">Warnings</option><option value="error">Errors</option>
      </select>
      <${Button} kind="small" onClick=${() => saveText(asText(), `${job.id}.log`, "text/plain")}>Download<//>
    </div>
    <${Loaded} live=${live} rows=${(found) => found.logs.filter(fits)} empty=${html`<${Empty} title="No lines">${text || level ? "No line has these words and this level." : "The log begins with the first attempt to train."}<//>`}>
      ${(lines) => html`<pre class="log" tabindex="0">${lines.map((line) => html`<span key=${line.timestamp} class=${line.level}>${line.timestamp.slice(11, 23)}  ${line.level !== "info" ? `${line.level.toUpperCase()}  ` : ""}${line.message}${"\n"}</span>`)}</pre>`}
    <//>`;
}

const SETTINGS = [
  ["epochs", "Epochs"], ["batchSize", "Batch size"], ["learningRate", "Learning rate"], ["learningRateSchedule", "Schedule"],
  ["warmupSteps", "Warm-up steps"], ["weightDecay", "Weight decay"], ["maxGradNorm", "Largest gradient norm"], ["loraRank", "LoRA rank"],
  ["loraAlpha", "LoRA alpha"], ["loraDropout", "LoRA dropout"], ["loraTargets", "LoRA layers"], ["useRslora", "Rank-stabilised LoRA"],
  ["earlyStoppingPatience", "Early stopping after"],
];

/** Every setting of a job, in words: what the job page and a comparison show. */
export function settingsOf(job) {
  const { inner } = job;
  const given = job.hyperparameters;
  const worded = (name, value) => {
    if (name === "loraTargets") return value.length ? value.join(", ") : "all linear layers";
    if (name === "earlyStoppingPatience") return value === null ? "never" : `${value} epochs without gain`;
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (value === null) return name === "warmupSteps" ? "a share of all steps" : "auto, decided when the data is read";
    return typeof value === "number" ? figure(value) : String(value);
  };
  return [
    ["Base model", inner.model], ["Method", `${inner.method.type}, ${job.method === "full" ? "all weights" : "a LoRA adapter"}`], ["Training data", job.trainingFile ?? job.trainingDataset],
    ["Validation data", job.validationFile ?? "none"], ...SETTINGS.filter(([name]) => name in given).map(([name, title]) => [title, worded(name, given[name])]),
    ...(inner.method.dpo ? [["Beta", String(inner.method.dpo.hyperparameters.beta)]] : []),
    ["Seed", String(inner.seed)], ["Suffix", job.suffix ?? "none"],
  ];
}

export function Settings({ job }) {
  const more = [["Job id", job.id], ["Job id in OpenAI's API", toOpenAI(job.id)], ["Attempt", job.attempt], ["Made by", job.owner], ["Organization", job.organizationId], ["Trained tokens", count(job.trainedTokens)]];
  return html`<div class="card"><${Facts} of=${[...settingsOf(job), ...more]} /></div>`;
}

export function ModelFiles({ job }) {
  const model = job.inner.fine_tuned_model;
  const live = useLive((signal) => (model ? api.get(`/v1/models/${model}/files`, { signal }) : { data: [] }), [model]);
  const empty = html`<${Empty} title="No files yet">The adapter is here once the job is completed: a folder that PEFT loads.<//>`;
  return html`<${Loaded} live=${live} rows=${(found) => found.data} empty=${empty}>
    ${(files) => html`<${FileTable} model=${model} files=${files} />`}
  <//>`;
}

export function FileTable({ model, files }) {
  const [save, { busy, error }] = useAction((name) => saveFrom(`/v1/models/${model}/files/${name}`, name));
  return html`<${Problem} error=${error} />
    <table class="list"><thead><tr>${["File", "Size", "SHA-256", ""].map((title) => html`<th scope="col" key=${title}>${title || html`<span class="unseen">Download</span>`}</th>`)}</tr></thead>
    <tbody>${files.map((file) => html`<tr key=${file.name}>
      <td class="name">${file.name}</td><td data-label="Size" class="figure">${bytes(file.bytes)}</td>
      <td data-label="SHA-256"><code title=${file.sha256}>${file.sha256.slice(0, 12)}…</code></td>
      <td><${Button} kind="small" busy=${busy} off=${lacks("fine-tuning:read")} onClick=${() => save(file.name)}>Download<//></td>
    </tr>`)}</tbody></table>`;
}
