// Hardware and queue: what there is to train on, and who waits for what and why.
import { api } from "../api.js";
import { html } from "../html.js";
import { jobOf } from "../ids.js";
import { useLive } from "../live.js";
import { Empty, Problem, Skeleton, Status } from "../parts.js";
import { href } from "../router.js";
import { may, session } from "../session.js";
import { count, exactly, price } from "../words.js";

const LIVE_MS = 3000;
const REASONS = {
  turn: "its turn", no_worker: "a worker", backoff: "another try", base_model: "room for its base model",
  running_jobs: "one of your jobs to end", tokens_per_day: "a new day", paused: "somebody to resume it",
};

export function Hardware() {
  const hardware = useLive((signal) => api.get("/api/v1/fine-tuning/hardware", { signal }), [], LIVE_MS);
  const queue = useLive((signal) => api.get("/api/v1/fine-tuning/queue", { signal }), [], LIVE_MS);
  const running = useLive((signal) => api.get("/api/v1/fine-tuning/jobs", { signal, query: { status: "running", include: "progress", limit: 100 } }), [], LIVE_MS);
  return html`
    <h1 tabindex="-1">Hardware and queue</h1>
    <h2>Hardware</h2>
    <${Problem} error=${hardware.error?.status ? hardware.error : null} again=${hardware.refresh} />
    ${hardware.data === null ? !hardware.error?.status && html`<${Skeleton} rows=${2} />` : html`<table class="list"><thead><tr>${["Device", "GPUs", "Memory of each", "Price of an hour"].map((title) => html`<th scope="col" key=${title}>${title}</th>`)}</tr></thead>
      <tbody>${hardware.data.hardware.map((one) => html`<tr key=${one.id}><td class="name">${one.name}</td><td data-label="GPUs" class="figure">${one.gpuCount || "none"}</td>
        <td data-label="Memory of each" class="figure">${one.gpuCount ? one.gpuMemory : "–"}</td><td data-label="Price of an hour" class="figure">${one.costPerHour ? price(one.costPerHour) : "not set"}</td></tr>`)}</tbody></table>`}
    <h2>Running <span class="count">${running.data ? count(running.data.count) : "…"}</span></h2>
    ${running.data?.count === 0 ? html`<${Empty} title="Nothing is running" action=${html`<a class="button" href="#/new">New job</a>`}>Whatever is trained shows here, with how far it is.<//>`
      : running.data && html`<table class="list"><thead><tr>${["Job", "Base model", "Step"].map((title) => html`<th scope="col" key=${title}>${title}</th>`)}</tr></thead>
        <tbody>${running.data.jobs.map((job) => html`<tr key=${job.id}><td class="name"><a href=${href(["jobs", job.id])}>${job.name}</a></td><td data-label="Base model">${job.baseModel}</td>
          <td data-label="Step" class="figure">${count(job.progress.step)} of ${count(job.progress.totalSteps)}</td></tr>`)}</tbody></table>`}
    <h2>Waiting <span class="count">${queue.data ? count(queue.data.count) : "…"}</span></h2>
    <${Problem} error=${queue.error?.status ? queue.error : null} again=${queue.refresh} />
    ${queue.data === null ? !queue.error?.status && html`<${Skeleton} rows=${3} />` : html`<${Waiting} queue=${queue.data} />`}
    ${may("operator") && html`<${Everybody} />`}`;
}

function Waiting({ queue }) {
  if (queue.count === 0) return html`<${Empty} title="Nobody waits">A job that cannot begin at once is listed here, with the reason and what would start it.<//>`;
  return html`<${Line} rows=${queue.jobs.map((job) => ({ ...job, id: job.jobId }))} />
    ${queue.count > queue.jobs.length && html`<p class="quiet">The first ${count(queue.jobs.length)} of ${count(queue.count)}.</p>`}`;
}

function Line({ rows }) {
  return html`<table class="list"><thead><tr>${["Place", "Job", "Base model", "Waits for", "Begins when", "Priority"].map((title) => html`<th scope="col" key=${title}>${title}</th>`)}</tr></thead>
    <tbody>${rows.map((job) => html`<tr key=${job.id}><td data-label="Place" class="figure">${job.position ?? "–"}</td>
      <td class="name"><a href=${href(["jobs", job.id])}>${job.name}</a></td><td data-label="Base model">${job.baseModel}</td>
      <td data-label="Waits for">${REASONS[job.reason] ?? job.reason}</td>
      <td data-label="Begins when">${job.startsWhen}${job.notBefore ? ` Not before ${exactly(job.notBefore)}.` : ""}</td>
      <td data-label="Priority" class="figure">${job.priority}</td></tr>`)}</tbody></table>`;
}

/** What operators see: every organization's jobs, by the administration's API. */
function Everybody() {
  const { data } = useLive((signal) => api.get("/admin/v1/queue", { signal }), [], LIVE_MS);
  const own = session.identity.organization.id;
  if (!data?.length) return null;
  return html`<h2>Waiting, of all organizations <span class="count">${count(data.length)}</span></h2>
    <${Line} rows=${data.map((one) => ({ ...one, id: jobOf(one.job_id), name: jobOf(one.job_id).slice(0, 14), baseModel: one.base_model, startsWhen: one.starts_when, notBefore: one.not_before }))} />`;
}
