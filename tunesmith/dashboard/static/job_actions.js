// What can be done with a job; what cannot says why.
import { api } from "./api.js";
import { html } from "./html.js";
import { toOpenAI } from "./ids.js";
import { useAction } from "./live.js";
import { Button, Confirm, Problem } from "./parts.js";
import { go, href } from "./router.js";
import { lacks } from "./session.js";

const WAITS_OR_RUNS = ["validating_files", "queued", "running", "paused"];

export function Actions({ job, refresh }) {
  const { id, inner } = job;
  const { status } = inner;
  const [act, { busy, error }] = useAction(async (path) => {
    await api.post(path);
    refresh();
  });
  const [remove, removal] = useAction(async () => {
    await api.delete(`/api/v1/fine-tuning/jobs/${id}`);
    go("jobs");
  });
  const platform = `/api/v1/fine-tuning/jobs/${id}`;
  const openai = `/v1/fine_tuning/jobs/${toOpenAI(id)}`;
  const off = lacks("fine-tuning:write");
  const model = askable(job);
  return html`<div class="actions">
    ${status === "succeeded" && job.resultModel && !job.deployed && html`<${Button} kind="primary" off=${off} busy=${busy} onClick=${() => act(`${platform}/deploy`)}>Deploy<//>`}
    ${model && html`<${Button} kind="primary" off=${lacks("inference")} onClick=${() => go("playground", { a: job.baseModel, b: model })}>Try it<//>`}
    ${["queued", "running"].includes(status) && html`<${Button} off=${off} busy=${busy} onClick=${() => act(`${openai}/pause`)}>Pause<//>`}
    ${status === "paused" && html`<${Button} kind="primary" off=${off} busy=${busy} onClick=${() => act(`${openai}/resume`)}>Resume<//>`}
    ${WAITS_OR_RUNS.includes(status) && html`<${Confirm} label="Stop" off=${off} busy=${busy} act=${() => act(`${platform}/stop`)}
      question="The job ends for good; its checkpoints are kept, and it can be restarted from the beginning." />`}
    ${["failed", "cancelled"].includes(status) && html`<${Button} kind="primary" off=${off} busy=${busy} onClick=${() => act(`${platform}/restart`)}>Restart<//>`}
    <a class="button" href=${href("new", { from: id })}>Train again with changes</a>
    ${status !== "running" && html`<${Confirm} label="Delete" kind="quiet-danger" off=${off} busy=${removal.busy} act=${remove}
      question="Its log, curves and checkpoints go. A finished model stays." />`}
    <${Problem} error=${error ?? removal.error} />
  </div>`;
}

/** The name under which the job's model answers, once it does. */
export function askable(job) {
  return job.deployed ? (job.inner.fine_tuned_model ?? job.resultModel) : null;
}
