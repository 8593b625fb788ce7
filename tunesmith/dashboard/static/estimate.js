// What a job would take: time and price with a range, and what they are based on.
import { html } from "./html.js";
import { Facts, Problem } from "./parts.js";
import { count, plural, price, short } from "./words.js";

export function Estimate({ made, error }) {
  if (error) return html`<${Problem} error=${error} title="No estimate" />`;
  const minutes = ({ low, high }) => (low === high ? plural(low, "minute") : `${count(low)} to ${count(high)} minutes`);
  const cost = ({ low, high }) => (low === high ? price(low) : `${price(low)} to ${price(high)}`);
  return html`<div class="estimate" aria-live="polite">
    <${Facts} of=${[
      ["Time", made ? minutes(made.minutes) : "–"],
      ["Price", made ? (made.cost.high ? cost(made.cost) : "no price is set") : "–"],
      ["Examples", made ? count(made.examples) : "–"],
      ["Steps", made ? count(made.hyperparameters.steps) : "–"],
      ["Tokens, all epochs", made ? `about ${short(made.tokens)}` : "–"],
    ]} />
    <p class="hint">${made === null
      ? "Choose training data to see how long it takes and what it costs."
      : made.isMeasured
        ? `From earlier jobs on this base model: ${short(made.tokensPerSecond)} tokens a second on ${made.device}.`
        : `From a model of the device (${made.device}), as nothing like it was trained on this base model yet. Expect a wide range.`}</p>
  </div>`;
}
