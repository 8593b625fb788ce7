// A place to drop a file on, or to choose one with the keyboard; uploads it as a dataset.
import { useRef, useState } from "preact/hooks";
import { upload } from "./api.js";
import { html } from "./html.js";
import { useAction } from "./live.js";
import { Button, Problem, Progress } from "./parts.js";
import { lacks } from "./session.js";
import { bytes } from "./words.js";

export function DropZone({ label, onUploaded }) {
  const [over, setOver] = useState(false);
  const [sending, setSending] = useState(null);
  const stop = useRef(null);
  const input = useRef(null);
  const off = lacks("fine-tuning:write");
  const [send, { busy, error }] = useAction(async (file) => {
    stop.current = new AbortController();
    setSending({ file, share: 0 });
    const form = new FormData();
    form.append("file", file);
    try {
      const dataset = await upload("/api/v1/datasets", form, {
        onProgress: (share) => setSending({ file, share }),
        signal: stop.current.signal,
      });
      onUploaded(dataset);
    } finally {
      setSending(null);
    }
  });
  function dropped(event) {
    event.preventDefault();
    setOver(false);
    const [file] = event.dataTransfer.files;
    if (file && !off && !busy) send(file);
  }
  function picked(event) {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) send(file);
  }
  return html`<div class=${`drop ${over ? "over" : ""}`} onDragOver=${(event) => { event.preventDefault(); setOver(true); }}
      onDragLeave=${() => setOver(false)} onDrop=${dropped}>
    ${sending === null
      ? html`<p><strong>${label}</strong></p><p class="quiet">JSON Lines: one conversation, pair or text a line</p>
          <input ref=${input} type="file" class="unseen" accept=".jsonl,.json,.ndjson,.txt" tabindex="-1" aria-label=${label} onChange=${picked} />
          <${Button} off=${off} onClick=${() => input.current.click()}>Choose a file<//>`
      : html`<p><strong>${sending.file.name}</strong> <span class="quiet">${bytes(sending.file.size)}</span></p>
          <${Progress} value=${sending.share} max=${1} label="Upload" />
          <p class="quiet" aria-live="polite">${sending.share < 1 ? `${Math.round(100 * sending.share)} % sent` : "The server reads it"}</p>
          <${Button} kind="small" onClick=${() => stop.current.abort()}>Stop<//>`}
    <${Problem} error=${error} title="The file was not taken" />
  </div>`;
}
