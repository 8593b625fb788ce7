// Keys and usage: what this key may do, the organization's keys, and what was trained.
import { useState } from "preact/hooks";
import { api } from "../api.js";
import { html } from "../html.js";
import { useAction, useLive } from "../live.js";
import { Button, Code, Confirm, Dialog, Empty, Facts, Field, Problem, Skeleton, When } from "../parts.js";
import { may, session } from "../session.js";
import { exactly } from "../words.js";
import { Usage } from "../usage.js";

const SCOPES = [
  ["fine-tuning:read", "See jobs, datasets and models"], ["fine-tuning:write", "Make, stop and delete jobs"], ["files:read", "Read files"],
  ["files:write", "Upload and delete files"], ["inference", "Ask models"], ["admin", "See to keys and users"],
];
const DAY_MS = 24 * 3600 * 1000;

export function Keys() {
  const { apiKey, organization, email, roles } = session.identity;
  return html`
    <h1 tabindex="-1">Keys and usage</h1>
    <h2>Usage</h2>
    <${Usage} />
    <h2>This key</h2>
    <div class="card"><${Facts} of=${[
      ["Name", apiKey.name], ["Begins with", html`<code>${apiKey.keyPrefix}…</code>`], ["Organization", `${organization.name} (${organization.slug})`],
      ["Owner", email ?? (roles.length ? roles[0] : "a service")], ["Scopes", apiKey.scopes.join(", ")],
      ["Made", html`<${When} at=${apiKey.createdAt} />`], ["Ends", apiKey.expiresAt ? exactly(apiKey.expiresAt) : "never"],
    ]} /></div>
    <h2>Keys of ${organization.name}</h2>
    ${may("admin") ? html`<${AllKeys} />` : html`<${Empty} title="This key sees only itself">Keys are seen to with one that has the scope admin. Whoever runs this service has it.<//>`}`;
}

function AllKeys() {
  const live = useLive((signal) => api.get("/admin/v1/keys", { signal }));
  const [making, setMaking] = useState(false);
  const [revoke, { busy, error }] = useAction(async (id) => {
    await api.delete(`/admin/v1/keys/${id}`);
    live.refresh();
  });
  return html`
    <p><${Button} kind="primary" onClick=${() => setMaking(true)}>New key<//></p>
    <${Problem} error=${error ?? (live.error?.status ? live.error : null)} />
    ${live.data === null ? !live.error?.status && html`<${Skeleton} rows=${4} />` : html`<table class="list">
      <thead><tr>${["Name", "Begins with", "Scopes", "Last used", "Ends", ""].map((title) => html`<th scope="col" key=${title}>${title || html`<span class="unseen">Actions</span>`}</th>`)}</tr></thead>
      <tbody>${live.data.map((key) => html`<tr key=${key.id}>
        <td class="name">${key.name}</td><td data-label="Begins with"><code>${key.visible_prefix}…</code></td><td data-label="Scopes" class="wrap">${key.scopes.join(", ")}</td>
        <td data-label="Last used">${key.last_used_at ? html`<${When} at=${key.last_used_at} />` : "never"}</td><td data-label="Ends">${key.expires_at ? html`<${When} at=${key.expires_at} />` : "never"}</td>
        <td class="actions"><${Confirm} label="Revoke" kind="small quiet-danger" busy=${busy} off=${key.id === session.identity.apiKey.id ? "You are signed in with this key." : null}
          act=${() => revoke(key.id)} question=${`${key.name} opens nothing any more, at once and for good.`} /></td>
      </tr>`)}</tbody></table>`}
    ${making && html`<${NewKey} close=${() => { setMaking(false); live.refresh(); }} />`}`;
}

function NewKey({ close }) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState(["fine-tuning:read", "fine-tuning:write", "files:read", "files:write", "inference"]);
  const [days, setDays] = useState("");
  const [made, setMade] = useState(null);
  const [create, { busy, error }] = useAction(async () => {
    const body = { name: name.trim(), scopes };
    if (days) body.expires_at = new Date(Date.now() + Number(days) * DAY_MS).toISOString();
    setMade(await api.post("/admin/v1/keys", body));
  });
  if (made) {
    return html`<${Dialog} title="The key is made" onClose=${close}><p>It is shown this once. Copy it now.</p><${Code} text=${made.key} /><//>`;
  }
  const toggle = (scope) => setScopes((before) => (before.includes(scope) ? before.filter((one) => one !== scope) : [...before, scope]));
  return html`<${Dialog} title="New key" onClose=${close} actions=${html`<${Button} kind="primary" busy=${busy}
      off=${name.trim() ? (scopes.length ? null : "Choose a scope first.") : "Give it a name first."} onClick=${create}>Make the key<//>`}>
    <${Field} label="Name" hint="Who or what it is for"><input value=${name} maxlength="200" onInput=${(event) => setName(event.target.value)} /><//>
    <fieldset><legend>What it may do</legend>
      ${SCOPES.filter(([scope]) => may(scope)).map(([scope, words]) => html`<label class="check" key=${scope}><input type="checkbox" checked=${scopes.includes(scope)} onChange=${() => toggle(scope)} />${words} <code>${scope}</code></label>`)}
    </fieldset>
    <${Field} label="Days until it ends" hint="Empty is never"><input type="number" min="1" step="1" value=${days} onInput=${(event) => setDays(event.target.value)} /><//>
    <${Problem} error=${error} title="The key was not made" />
  <//>`;
}
