// A job: where it is, its curves, what it said, and what can be done with it.
import { api } from "../api.js";
import { html } from "../html.js";
import { toOpenAI } from "../ids.js";
import { Actions } from "../job_actions.js";
import { Curves } from "../job_curves.js";
import { Checkpoints, Events, Log, ModelFiles, Settings } from "../job_records.js";
import { FailureCard, Waiting } from "../job_trouble.js";
import { useLive } from "../live.js";
import { Facts, Problem, Progress, Skeleton, Status, Tabs, When } from "../parts.js";
import { href, setQuery } from "../router.js";
import { bytes, count, duration, figure, moment, percent, short } from "../words.js";

const LIVE_MS = 1000;
const WAITING_MS = 2000;
const ENDED = ["succeeded", "failed", "cancelled"];
const RECENT = 20; // steps by which the speed is judged
const TABS = [["curves", "Curves"], ["checkpoints", "Checkpoints"], ["events", "Events"], ["log", "Log"], ["settings", "Settings"], ["files", "Files"]];

/** The job in the words of both APIs: the platform's fields, and under `inner` OpenAI's. */
async function read(id, signal) {
  const jobs = "/api/v1/fine-tuning/jobs";
  const [job, inner, curves] = await Promise.all([
    api.get(`${jobs}/${id}`, { signal }),
    api.get(`/v1/fine_tuning/jobs/${toOpenAI(id)}`, { signal }),
    api.get(`${jobs}/${id}/curves`, { signal }),
  ]);
  return { ...job, inner, curves };
}

export function Job({ id, query }) {
  const job = useLive((signal) => read(id, signal), [id], (found) =>
    found === null || ENDED.includes(found.inner.status) ? null : found.status === "running" ? LIVE_MS : WAITING_MS);
  const tab = query.tab ?? "curves";
  const { data, error, refresh } = job;
  const trail = html`<p class="trail"><a href="#/jobs">Jobs</a></p>`;
  if (data === null) {
    return html`${trail}<h1 tabindex="-1">Job</h1>
      ${error?.status ? html`<${Problem} error=${error} title="This job cannot be shown" again=${refresh} />` : html`<${Skeleton} rows=${8} />`}`;
  }
  const status = statusOf(data.inner);
  return html`${trail}
    <div class="head">
      <div class="title"><h1 tabindex="-1">${data.name}</h1><span aria-live="polite"><${Status} of=${status} /></span></div>
      <${Actions} job=${data} refresh=${refresh} />
    </div>
    ${data.description && html`<p class="quiet">${data.description}</p>`}
    ${status === "failed" && html`<${FailureCard} job=${data} />`}
    ${["validating", "queued", "paused"].includes(status) && html`<${Waiting} id=${id} paused=${status === "paused"} />`}
    ${(status !== "failed" || data.curves.points.length > 0) && html`<${Standing} job=${data} status=${status} />`}
    <${Tabs} label="About this job" tabs=${TABS} chosen=${tab} choose=${(name) => setQuery({ tab: name === "curves" ? null : name })} />
    <section class="tab" aria-label=${TABS.find(([name]) => name === tab)?.[1]}>
      ${tab === "curves" && html`<${Curves} runs=${[{ name: data.name, curves: data.curves }]} waiting=${!ENDED.includes(data.inner.status)} />`}
      ${tab === "checkpoints" && html`<${Checkpoints} job=${data} />`}
      ${tab === "events" && html`<${Events} job=${data} live=${!ENDED.includes(data.inner.status)} />`}
      ${tab === "log" && html`<${Log} job=${data} live=${!ENDED.includes(data.inner.status)} />`}
      ${tab === "settings" && html`<${Settings} job=${data} />`}
      ${tab === "files" && html`<${ModelFiles} job=${data} />`}
    </section>`;
}

/** One word for what both APIs say. */
export function statusOf(inner) {
  return { validating_files: "validating", succeeded: "completed", cancelled: "stopped" }[inner.status] ?? inner.status;
}

function Standing({ job, status }) {
  const { points, totalSteps } = job.curves;
  const last = points.at(-1);
  const remaining = job.inner.estimated_finish && status === "running"
    ? Math.max(0, (moment(job.inner.estimated_finish) - Date.now()) / 1000) : null;
  const took = job.startedAt && job.finishedAt ? (moment(job.finishedAt) - moment(job.startedAt)) / 1000 : null;
  return html`<div class="card standing">
    <${Progress} value=${status === "completed" ? 1 : (last?.step ?? 0)} max=${status === "completed" ? 1 : totalSteps} label="Steps done" />
    <${Facts} of=${[
      ["Step", `${count(last?.step ?? 0)} of ${count(totalSteps)}`],
      ["Training loss", figure(last?.trainingLoss)],
      ["Validation loss", figure(job.metrics?.validationLoss)],
      ["Token accuracy", last?.trainingAccuracy == null ? "–" : percent(last.trainingAccuracy)],
      ["Tokens per second", short(speed(points))],
      status === "running" || took === null ? ["Remaining", duration(remaining)] : ["Took", duration(took)],
      ["Base model", job.baseModel],
      ["Model", job.resultModel ?? "–"],
      ["Created", html`<${When} at=${job.createdAt} />`],
    ]} />
  </div>`;
}

export function speed(points) {
  const recent = points.slice(-RECENT).filter((point) => point.seconds > 0);
  const seconds = recent.reduce((sum, point) => sum + point.seconds, 0);
  return seconds ? recent.reduce((sum, point) => sum + (point.tokens ?? 0), 0) / seconds : null;
}
