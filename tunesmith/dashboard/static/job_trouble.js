// Why a job failed and what to do about it; why one waits and for what.
import { adviceFor, lineIn } from "./advice.js";
import { api } from "./api.js";
import { fetchLines } from "./file_lines.js";
import { html } from "./html.js";
import { useLive } from "./live.js";
import { href } from "./router.js";
import { may } from "./session.js";
import { count, exactly } from "./words.js";

const EVERY_MS = 3000;

export function FailureCard({ job }) {
  const failure = job.inner.error ?? { code: "server_error", message: job.error ?? "The job failed." };
  const line = lineIn(failure.message);
  const isValidation = failure.param === "validation_file";
  const file = isValidation ? job.inner.validation_file : job.inner.training_file;
  return html`<section class="problem failure" role="alert">
    <h2>Why it failed</h2>
    <p>${failure.message}</p>
    ${line && html`<${Line} file=${file} number=${line} name=${isValidation ? "validation file" : (job.trainingFile ?? "training file")} />`}
    <h3>What to do</h3>
    <p>${adviceFor(failure)}</p>
    ${line && html`<p><a class="button" href=${href("new", { from: job.id })}>Start anew with a mended file</a></p>`}
  </section>`;
}

function Line({ file, number, name }) {
  const { data, error } = useLive((signal) => (may("files:read") ? fetchLines(file, number, 1, signal) : null), [file, number]);
  return html`<figure class="line-at-fault">
    <figcaption>Line ${count(number)} of ${name}</figcaption>
    <pre tabindex="0">${data?.[0] ?? (error || !may("files:read") ? "The line cannot be shown: the file is gone, or this key may not read files." : "…")}</pre>
  </figure>`;
}

export function Waiting({ id, paused }) {
  const { data } = useLive((signal) => api.get(`/api/v1/fine-tuning/jobs/${id}/queue`, { signal }), [id], EVERY_MS);
  const place = data?.waiting ? data : null;
  return html`<p class="note" aria-live="polite">
    ${paused ? "Paused at its newest checkpoint. It goes on when somebody resumes it." : place === null
      ? "A worker reads the files now."
      : html`<strong>${place.position ? `Number ${count(place.position)} in the queue.` : "Waiting."}</strong>
          ${" It begins when: "}${place.startsWhen}${place.notBefore ? ` Not before ${exactly(place.notBefore)}.` : ""}
          ${" "}<a href="#/hardware">See the whole queue</a>`}
  </p>`;
}
