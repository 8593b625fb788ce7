// The tokens of an answer; how likely each was, and what else might have stood there.
import { useState } from "preact/hooks";
import { html } from "./html.js";
import { percent } from "./words.js";

const UNLIKELY = [[0.2, "unlikely"], [0.6, "doubtful"]];
const shown = (token) => JSON.stringify(token);

function look({ logprob }, tinted) {
  if (!tinted || logprob === null) return "token";
  const found = UNLIKELY.find(([share]) => Math.exp(logprob) < share);
  return found ? `token ${found[1]}` : "token";
}

export function Tokens({ tokens, tinted }) {
  const [at, setAt] = useState(null);
  const token = at === null ? null : tokens[at];
  return html`<div class="tokens" onMouseLeave=${() => setAt(null)}>
    <p>${tokens.map((one, index) => html`<span key=${index} class=${look(one, tinted)} onMouseEnter=${() => setAt(index)} onClick=${() => setAt(index)}>${one.text}</span>`)}</p>
    ${token && token.logprob !== null && html`<div class="likely" role="status">
      <strong>${shown(token.text)}</strong> ${percent(Math.exp(token.logprob))}
      <ol>${token.top.map((other) => html`<li key=${other.token}><span>${shown(other.token)}</span><meter min="0" max="1" value=${Math.exp(other.logprob)}></meter><span>${percent(Math.exp(other.logprob))}</span></li>`)}</ol>
    </div>`}
  </div>`;
}
