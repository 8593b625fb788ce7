// A streamed answer of a model, token by token.
import { send, worded } from "./api.js";

/** Calls `onToken({text, logprob, top})` for each token; returns the usage that the server counted. */
export async function chat({ model, messages, settings, signal, onToken }) {
  const body = {
    model,
    messages,
    ...settings,
    stream: true,
    stream_options: { include_usage: true },
    logprobs: true,
    top_logprobs: 5,
  };
  const response = await send("POST", "/v1/chat/completions", { body, signal });
  let usage = null;
  for await (const frame of frames(response.body)) {
    if (frame.error) throw worded(500, frame);
    usage = frame.usage ?? usage;
    for (const choice of frame.choices ?? []) tokens(choice).forEach(onToken);
  }
  return usage;
}

/** A token may be part of a character; the text comes when it is whole. */
function tokens({ delta, logprobs }) {
  const told = logprobs?.content ?? [];
  const text = delta?.content ?? "";
  if (told.length === 0) return text ? [{ text, logprob: null, top: [] }] : [];
  if (told.map((one) => one.token).join("") !== text) {
    const [first] = told;
    return [{ text, logprob: first.logprob, top: first.top_logprobs }];
  }
  return told.map((one) => ({ text: one.token, logprob: one.logprob, top: one.top_logprobs }));
}

async function* frames(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const line = part.split("\n").find((one) => one.startsWith("data:"));
      const data = line?.slice(5).trim();
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}
