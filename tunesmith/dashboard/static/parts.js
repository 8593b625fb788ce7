// The pieces that pages are made of.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./html.js";
import { ago, exactly } from "./words.js";

/** A button; `off` is the reason why it cannot be pressed, which is told beside it on hover. */
export function Button({ off = null, busy = false, kind = "", children, ...rest }) {
  return html`<button type="button" class=${`button ${kind}`} disabled=${busy}
    aria-disabled=${off ? "true" : undefined} aria-busy=${busy} ...${rest} title=${off ?? rest.title}
    onClick=${off ? undefined : rest.onClick}>${children}</button>`;
}

const LOOKS = {
  completed: ["good", "✓"], succeeded: ["good", "✓"], deployed: ["good", "✓"],
  failed: ["bad", "✕"], running: ["active", "▸"], pausing: ["active", "▸"],
  queued: ["waiting", "…"], validating: ["waiting", "…"], draft: ["waiting", "…"],
  "ready to train": ["good", "✓"], "has errors": ["bad", "✕"],
  paused: ["quiet", "‖"], stopped: ["quiet", "■"], cancelled: ["quiet", "■"],
};

/** Never by colour alone: a sign and a word, too. */
export function Status({ of }) {
  const [look, sign] = LOOKS[of] ?? ["quiet", "•"];
  return html`<span class=${`status ${look}`}><span aria-hidden="true">${sign}</span>${of}</span>`;
}

export function When({ at }) {
  return html`<time dateTime=${at == null ? undefined : new Date(typeof at === "number" ? at * 1000 : at).toISOString()}
    title=${exactly(at)}>${ago(at)}</time>`;
}

export function Progress({ value, max, label }) {
  return html`<progress value=${value} max=${max || 1} aria-label=${label}></progress>`;
}

/** An error as words, and what to do about it. */
export function Problem({ error, again, title = "That did not work" }) {
  if (!error) return null;
  return html`<div class="problem" role="alert">
    <strong>${title}</strong>
    <p>${error.message}</p>
    ${error.requestId && html`<p class="quiet">Request ${error.requestId}: the server's log has more.</p>`}
    ${again && html`<${Button} onClick=${again}>Try again<//>`}
  </div>`;
}

/** What a list shows that has nothing yet: what would be here, and the one thing to do next. */
export function Empty({ title, children, action }) {
  return html`<div class="empty"><h2>${title}</h2><p>${children}</p>${action}</div>`;
}

/** Bars in the place and of the size of what is still on its way. */
export function Skeleton({ rows = 6 }) {
  return html`<div class="skeleton" aria-hidden="true">
    ${Array.from({ length: rows }, () => html`<div></div>`)}
  </div>`;
}

export function Field({ label, hint, error, children, wide = false }) {
  return html`<label class=${`field ${wide ? "wide" : ""}`}>
    <span class="label">${label}</span>
    ${children}
    ${hint && html`<span class="hint">${hint}</span>`}
    ${error && html`<span class="hint bad">${error}</span>`}
  </label>`;
}

/** A real `<dialog>`, so that Esc closes it and the focus stays inside. */
export function Dialog({ title, onClose, children, actions }) {
  const ref = useRef(null);
  useEffect(() => {
    if (!ref.current.open) ref.current.showModal();
  }, []);
  return html`<dialog ref=${ref} onClose=${onClose} aria-labelledby="dialog-title">
    <h2 id="dialog-title">${title}</h2>
    ${children}
    <div class="actions">
      ${actions}
      <${Button} kind="plain" onClick=${() => ref.current.close()}>Close<//>
    </div>
  </dialog>`;
}

/** A button that asks once more before it acts. */
export function Confirm({ label, question, act, off, busy, kind = "" }) {
  const [asking, setAsking] = useState(false);
  return html`
    <${Button} off=${off} busy=${busy} kind=${kind} onClick=${() => setAsking(true)}>${label}<//>
    ${asking && html`<${Dialog} title=${`${label}?`} onClose=${() => setAsking(false)}
      actions=${html`<${Button} kind="danger" onClick=${() => { setAsking(false); act(); }}>${label}<//>`}>
      <p>${question}</p>
    <//>`}`;
}

export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  async function copy() {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  }
  return html`<${Button} kind="small" onClick=${copy}>${done ? "Copied" : label}<//>`;
}

export function Code({ text }) {
  return html`<div class="code"><${Copy} text=${text} /><pre tabindex="0">${text}</pre></div>`;
}

/** One of a few, as a row of buttons that are links: the choice is part of the address. */
export function Tabs({ label, tabs, chosen, choose }) {
  return html`<div class="tabs" role="tablist" aria-label=${label}>
    ${tabs.map(([name, title]) => html`<button type="button" role="tab" key=${name}
      aria-selected=${name === chosen} onClick=${() => choose(name)}>${title}</button>`)}
  </div>`;
}

export function Facts({ of }) {
  return html`<dl class="facts">
    ${of.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value ?? "–"}</dd></div>`)}
  </dl>`;
}
