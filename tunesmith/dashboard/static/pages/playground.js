// Playground: one conversation put to two models side by side.
import { useRef, useState } from "preact/hooks";
import { api } from "../api.js";
import { chat } from "../chat.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { Button, Code, Dialog, Empty, Field, Problem } from "../parts.js";
import { setQuery } from "../router.js";
import { lacks } from "../session.js";
import { curl, python } from "../snippets.js";
import { Tokens } from "../tokens.js";
import { figure } from "../words.js";

const DEFAULTS = { temperature: "0", top_p: "1", max_tokens: "128", seed: "1" };
const SIDES = ["a", "b"];
const GROUPS = { base: "Base models", tuned: "Tuned models", checkpoints: "Checkpoints" };

function grouped(models) {
  const kind = ({ id, owned_by }) => (owned_by === "system" ? "base" : id.includes(":ckpt-step-") ? "checkpoints" : "tuned");
  const found = { base: [], tuned: [], checkpoints: [] };
  for (const model of models) found[kind(model)].push(model.id);
  return found;
}

export function Playground({ query }) {
  const models = useLive((signal) => api.get("/v1/models", { signal }));
  const names = (models.data?.data ?? []).map((model) => model.id);
  const groups = grouped(models.data?.data ?? []);
  const [system, setSystem] = useState("");
  const [text, setText] = useState("");
  const [settings, setSettings] = useState(DEFAULTS);
  const [turns, setTurns] = useState([]); // [{asked, answers: {a, b}}]
  const [busy, setBusy] = useState(false);
  const [tinted, setTinted] = useState(false);
  const [showing, setShowing] = useState(null);
  const stop = useRef(null);
  const newest = groups.tuned.at(-1) ?? names.at(-1);
  const chosen = { a: query.a ?? names[0] ?? "", b: query.b ?? newest ?? "" };

  function messages(side, before, asked) {
    const said = before.flatMap((turn) => [{ role: "user", content: turn.asked }, { role: "assistant", content: wordsOf(turn.answers[side]) }]);
    const first = system.trim() ? [{ role: "system", content: system }] : [];
    return [...first, ...said, { role: "user", content: asked }];
  }

  async function ask(before, asked) {
    stop.current = new AbortController();
    const turn = { asked, answers: { a: emptyAnswer(), b: emptyAnswer() } };
    const draw = () => setTurns([...before, { ...turn, answers: { ...turn.answers } }]);
    draw();
    setBusy(true);
    await Promise.all(SIDES.map((side) => answer(turn.answers, side, {
      model: chosen[side], messages: messages(side, before, asked), settings: numbers(settings), signal: stop.current.signal,
    }, draw)));
    setBusy(false);
  }

  const off = lacks("inference") ?? (names.length === 0 ? "There is no model to ask yet." : null);
  const send = () => {
    if (busy || off || !text.trim()) return;
    setText("");
    ask(turns, text);
  };
  const again = () => ask(turns.slice(0, -1), turns.at(-1).asked);
  const body = { model: chosen.b, messages: messages("b", turns, text || "Hello"), ...numbers(settings) };

  return html`
    <div class="head"><h1 tabindex="-1">Playground</h1>
      <div class="actions">
        <${Button} off=${turns.length ? null : "Nothing was said yet."} onClick=${() => { stop.current?.abort(); setTurns([]); }}>Clear<//>
        <${Button} onClick=${() => setShowing("curl")}>As curl<//><${Button} onClick=${() => setShowing("python")}>As Python<//>
      </div></div>
    <${Problem} error=${models.error?.status ? models.error : null} again=${models.refresh} title="The models cannot be listed" />
    <details class="card"><summary>System message and sampling</summary>
      <${Field} label="System message" wide=${true}><textarea rows="3" value=${system} placeholder="As in your training data" onInput=${(event) => setSystem(event.target.value)}></textarea><//>
      <div class="fields">
        ${[["temperature", "Temperature", "0 takes the likeliest token", 0, 2], ["top_p", "Top p", "Share of likely tokens to draw from", 0, 1], ["max_tokens", "Longest answer", "In tokens", 1, 4096], ["seed", "Seed", "The same for both models", 0, 2 ** 31]].map(
          ([name, label, hint, min, max]) => html`<${Field} key=${name} label=${label} hint=${hint}><input type="number" min=${min} max=${max} step="any" value=${settings[name]} onInput=${(event) => setSettings({ ...settings, [name]: event.target.value })} /><//>`)}
      </div>
      <label class="check"><input type="checkbox" checked=${tinted} onChange=${(event) => setTinted(event.target.checked)} />Underline unlikely tokens</label>
    </details>
    <div class="sides">
      ${SIDES.map((side) => html`<section class="side-pane card" key=${side} aria-label=${side === "a" ? "Left model" : "Right model"}>
        <select aria-label=${side === "a" ? "Left model" : "Right model"} value=${chosen[side]} onChange=${(event) => setQuery({ [side]: event.target.value })}>
          ${chosen[side] && !names.includes(chosen[side]) && html`<option value=${chosen[side]}>${chosen[side]}</option>`}
          ${Object.entries(GROUPS).map(([group, title]) => groups[group].length > 0 && html`<optgroup key=${group} label=${title}>
            ${groups[group].map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</optgroup>`)}
        </select>
        ${turns.length === 0 && html`<${Empty} title="Nothing asked yet">Both models get the same words and the same seed.<//>`}
        ${turns.map((turn, index) => html`<div class="turn" key=${index}>
          <p class="asked"><span class="unseen">You: </span>${turn.asked}</p>
          <${Answer} answer=${turn.answers[side]} tinted=${tinted} />
        </div>`)}
      </section>`)}
    </div>
    <form class="ask card" onSubmit=${(event) => { event.preventDefault(); send(); }}>
      <label class="unseen" for="message">Message</label>
      <textarea id="message" data-search rows="2" placeholder="Ask both models  (Enter sends, Shift+Enter makes a line)" value=${text}
        onInput=${(event) => setText(event.target.value)}
        onKeyDown=${(event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); send(); } }}></textarea>
      <div class="actions">
        ${busy
          ? html`<${Button} kind="danger" onClick=${() => stop.current.abort()}>Stop<//>`
          : html`<${Button} off=${turns.length ? off : "Ask something first."} onClick=${again}>Ask again<//>
              <${Button} kind="primary" type="submit" off=${off ?? (text.trim() ? null : "Write a message first.")}>Send<//>`}
      </div>
    </form>
    ${showing && html`<${Dialog} title=${showing === "curl" ? "The same with curl" : "The same in Python"} onClose=${() => setShowing(null)}>
      <${Code} text=${showing === "curl" ? curl("/v1/chat/completions", body) : python("chat.completions.create", body)} /><//>`}`;
}

const emptyAnswer = () => ({ tokens: [], error: null, done: false, stopped: false, firstMs: null, perSecond: null });
const wordsOf = (answer) => answer.tokens.map((token) => token.text).join("");
const numbers = (settings) => Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== "").map(([name, value]) => [name, Number(value)]));

async function answer(answers, side, asked, draw) {
  const began = performance.now();
  const told = (changes) => {
    answers[side] = { ...answers[side], ...changes };
    draw();
  };
  try {
    await chat({
      ...asked,
      onToken: (token) => told({
        tokens: [...answers[side].tokens, token],
        firstMs: answers[side].firstMs ?? performance.now() - began,
      }),
    });
    const { tokens, firstMs } = answers[side];
    const seconds = (performance.now() - began - (firstMs ?? 0)) / 1000;
    told({ done: true, perSecond: tokens.length > 1 && seconds > 0 ? (tokens.length - 1) / seconds : null });
  } catch (error) {
    told(error.name === "AbortError" ? { done: true, stopped: true } : { done: true, error });
  }
}

function Answer({ answer: { tokens, error, done, stopped, firstMs, perSecond }, tinted }) {
  return html`<div class="answer" aria-busy=${!done}>
    <${Tokens} tokens=${tokens} tinted=${tinted} />
    ${!done && html`<span class="caret" aria-hidden="true"></span>`}
    ${done && tokens.length === 0 && !error && html`<em class="quiet">${stopped ? "Stopped before the first word." : "The answer is empty."}</em>`}
    <${Problem} error=${error} title="No answer" />
    <p class="quiet line">${firstMs === null ? " " : `first token ${Math.round(firstMs)} ms`}${perSecond ? ` · ${figure(perSecond)} tokens per second` : ""}${stopped && tokens.length ? " · stopped" : ""}</p>
  </div>`;
}
