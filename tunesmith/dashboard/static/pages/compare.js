// Compare: the curves of two to six jobs over one another, and the settings that differ.
import { api } from "../api.js";
import { html } from "../html.js";
import { toOpenAI } from "../ids.js";
import { Curves } from "../job_curves.js";
import { settingsOf } from "../job_records.js";
import { useLive } from "../live.js";
import { Empty, Problem, Skeleton, Status } from "../parts.js";
import { href } from "../router.js";
import { figure, percent, short } from "../words.js";
import { speed, statusOf } from "./job.js";

const LIVE_MS = 2000;

async function read(ids, signal) {
  const jobs = "/api/v1/fine-tuning/jobs";
  return Promise.all(ids.map(async (id) => {
    const [job, inner, curves] = await Promise.all([
      api.get(`${jobs}/${id}`, { signal }),
      api.get(`/v1/fine_tuning/jobs/${toOpenAI(id)}`, { signal }),
      api.get(`${jobs}/${id}/curves`, { signal }),
    ]);
    return { ...job, inner, curves };
  }));
}

export function Compare({ query }) {
  const ids = (query.jobs ?? "").split(",").filter(Boolean).slice(0, 6);
  const live = useLive((signal) => read(ids, signal), [query.jobs], (jobs) => (jobs?.some((job) => job.status === "running") ? LIVE_MS : null));
  const head = html`<p class="trail"><a href="#/jobs">Jobs</a></p><h1 tabindex="-1">Compare</h1>`;
  if (ids.length < 2) {
    return html`${head}<${Empty} title="Nothing to compare yet" action=${html`<a class="button primary" href="#/jobs">Go to the jobs</a>`}>Tick two to six jobs in the list.<//>`;
  }
  if (live.data === null) {
    return html`${head}${live.error?.status ? html`<${Problem} error=${live.error} again=${live.refresh} />` : html`<${Skeleton} rows=${8} />`}`;
  }
  const named = live.data.map((job, place) => ({ ...job, label: live.data.filter((one) => one.name === job.name).length > 1 ? `${job.name} (${place + 1})` : job.name }));
  return html`${head}
    <${Results} jobs=${named} />
    <h2>Settings that differ</h2>
    <${Differences} jobs=${named} />
    <h2>Curves</h2>
    <${Curves} runs=${named.map((job) => ({ name: job.label, curves: job.curves }))} />`;
}

function Columns({ jobs, rows }) {
  return html`<div class="sideways" tabindex="0"><table class="plain">
    <thead><tr><th><span class="unseen">What</span></th>${jobs.map((job, place) => html`<th scope="col" key=${job.id}>
      <span class=${`swatch tone-${place + 1}`} aria-hidden="true"></span><a href=${href(["jobs", job.id])}>${job.label}</a></th>`)}</tr></thead>
    <tbody>${rows.map(([title, values]) => html`<tr key=${title}><th scope="row">${title}</th>${values.map((value) => html`<td>${value}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

function Results({ jobs }) {
  const last = (job, get) => { const point = job.curves.points.findLast((one) => get(one) != null); return point ? get(point) : null; };
  const share = (value) => (value == null ? "–" : percent(value));
  return html`<${Columns} jobs=${jobs} rows=${[
    ["Status", jobs.map((job) => html`<${Status} of=${statusOf(job.inner)} />`)],
    ["Training loss", jobs.map((job) => figure(last(job, (p) => p.trainingLoss)))],
    ["Validation loss", jobs.map((job) => figure(last(job, (p) => p.validationLoss)))],
    ["Training accuracy", jobs.map((job) => share(last(job, (p) => p.trainingAccuracy)))],
    ["Validation accuracy", jobs.map((job) => share(last(job, (p) => p.validationAccuracy)))],
    ["Tokens per second", jobs.map((job) => short(speed(job.curves.points)))],
    ["Trained tokens", jobs.map((job) => short(job.trainedTokens))],
  ]} />`;
}

function Differences({ jobs }) {
  const settings = jobs.map((job) => new Map(settingsOf(job)));
  const titles = [...new Set(settings.flatMap((one) => [...one.keys()]))];
  const rows = titles
    .map((title) => [title, settings.map((one) => one.get(title) ?? "–")])
    .filter(([, values]) => new Set(values).size > 1);
  return rows.length ? html`<${Columns} jobs=${jobs} rows=${rows} />` : html`<p class="note">All settings are the same.</p>`;
}
