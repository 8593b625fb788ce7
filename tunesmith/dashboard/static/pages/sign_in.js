// Sign in with a key, which stays in this tab unless the person wants it remembered.
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { useAction } from "../live.js";
import { Button, Field, Problem } from "../parts.js";
import { session, signIn } from "../session.js";
import { ThemeChoice } from "../theme_choice.js";

export function SignIn() {
  const [key, setKey] = useState("");
  const [remember, setRemember] = useState(false);
  const [open, { busy, error }] = useAction(() => signIn(key.trim(), { remember }));
  const submit = (event) => {
    event.preventDefault();
    if (key.trim()) open();
  };
  return html`<main class="sign-in">
    <form onSubmit=${submit} class="card">
      <img src="dashboard/favicon.svg" alt="" width="44" height="44" />
      <h1>Sign in to Tunesmith</h1>
      ${session.ended && html`<p class="problem" role="alert">${session.ended}</p>`}
      <${Field} label="API key" hint="The first start of the service prints one; tunesmith keys create makes more.">
        <input type="password" autocomplete="current-password" required value=${key} autofocus
          placeholder="ts_…" spellcheck="false" onInput=${(event) => setKey(event.target.value)} />
      <//>
      <label class="check">
        <input type="checkbox" checked=${remember} onChange=${(event) => setRemember(event.target.checked)} />
        Remember the key in this browser
      </label>
      <p class="hint">Otherwise it is forgotten with this tab. It is sent to this server alone.</p>
      <${Problem} error=${error} title="This key does not open anything" />
      <${Button} kind="primary" type="submit" busy=${busy}>Sign in<//>
    </form>
    <${ThemeChoice} />
  </main>`;
}
