// What the dataset doctor says of a dataset, and what it can mend.
import { useState } from "preact/hooks";
import { api } from "./api.js";
import { html } from "./html.js";
import { useAction, useLive } from "./live.js";
import { Button, Dialog, Problem, Status } from "./parts.js";
import { lacks } from "./session.js";
import { count, plural } from "./words.js";

const SEVERITIES = ["error", "warning", "notice"];
const SHOWN_PER_RULE = 5;

/** Of a dataset, beside one to validate with; asked once for each pair. */
export function useFindings(dataset, against = null) {
  return useLive(
    (signal) => (dataset ? api.get(`/api/v1/datasets/${dataset}/findings`, { signal, query: { against } }) : null),
    [dataset, against],
  );
}

/** `found` is of `useFindings`; `onFixed` is told the new dataset. */
export function Findings({ found, dataset, against, onFixed }) {
  const { data, error, refresh } = found;
  const [fixed, setFixed] = useState(null);
  const [fix, { busy, error: refused }] = useAction(async () => {
    setFixed(await api.post(`/api/v1/datasets/${dataset}/fix`, against ? { against } : {}));
  });
  if (error?.status) return html`<${Problem} error=${error} title="The doctor could not read it" again=${refresh} />`;
  if (data?.dataset !== dataset) {
    return html`<p class="quiet findings" role="status">The doctor reads the file…</p>`;
  }
  return html`<div class="findings">
    <div class="head">
      <p><${Status} of=${data.trainable ? "ready to train" : "has errors"} /> ${summary(data)}</p>
      ${data.fixable > 0 && html`<${Button} kind="small" off=${lacks("fine-tuning:write")} busy=${busy} onClick=${fix}>Mend what is safe (${count(data.fixable)})<//>`}
    </div>
    <${Problem} error=${refused} title="It could not be mended" />
    ${data.counts.map((one) => html`<${Rule} key=${one.rule} of=${one} findings=${data.findings.filter(({ rule }) => rule === one.rule)} />`)}
    ${fixed && html`<${Mended} fixed=${fixed} close=${() => { setFixed(null); onFixed(fixed.dataset); }} />`}
  </div>`;
}

function summary({ examples, counts }) {
  const of = (severity) => counts.filter((one) => one.severity === severity).reduce((sum, one) => sum + one.count, 0);
  const said = SEVERITIES.filter((severity) => of(severity) > 0).map((severity) => plural(of(severity), severity));
  return `${plural(examples, "example")}, ${said.length ? said.join(", ") : "nothing to complain of"}.`;
}

function Rule({ of: { rule, severity, count: number }, findings }) {
  return html`<details class=${`rule ${severity}`} open=${severity === "error"}>
    <summary><strong>${severity}</strong> ${findings[0]?.message ?? rule} <span class="count">${count(number)} × ${rule}</span></summary>
    <ul>${findings.slice(0, SHOWN_PER_RULE).map((one, index) => html`<li key=${index}>
      ${one.line !== null && html`<strong>Line ${count(one.line)}</strong>`} ${one.path !== "$" && html`<code>${one.path}</code>`}
      ${" "}${one.message}${one.seenLine ? ` It is like line ${count(one.seenLine)}.` : ""}${one.fixable ? html` <em class="quiet">Can be mended.</em>` : ""}
    </li>`)}</ul>
    ${number > SHOWN_PER_RULE && html`<p class="quiet">The first ${SHOWN_PER_RULE} of ${count(number)}.</p>`}
  </details>`;
}

function Mended({ fixed, close }) {
  return html`<${Dialog} title="A mended version is made" onClose=${close}>
    <p>${plural(fixed.linesChanged, "line")} changed, ${plural(fixed.linesDropped, "line")} dropped. The old file stays as it was; ${fixed.dataset.name} is used from now on.</p>
    <pre class="diff" tabindex="0">${fixed.diff}</pre>
    ${!fixed.diffIsWhole && html`<p class="quiet">There are more changes than are shown.</p>`}
  <//>`;
}
