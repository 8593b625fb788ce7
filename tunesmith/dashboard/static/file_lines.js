// Some lines of a file, of which no more is fetched than comes before them.
import { send } from "./api.js";

const MAX_CHARACTERS = 4000;
const shortened = (line) => (line.length > MAX_CHARACTERS ? `${line.slice(0, MAX_CHARACTERS)}…` : line);

/** So many lines from the line `first` on, counted from 1; fewer where the file ends. */
export async function fetchLines(fileId, first, count, signal) {
  const controller = new AbortController();
  signal?.addEventListener("abort", () => controller.abort());
  const response = await send("GET", `/v1/files/${fileId}/content`, { signal: controller.signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const lines = [];
  let [line, number] = ["", 1];
  while (lines.length < count) {
    const { value, done } = await reader.read();
    const pieces = (value ?? "").split("\n");
    line += pieces.shift();
    for (const piece of pieces) {
      if (number >= first && lines.length < count) lines.push(shortened(line));
      [line, number] = [piece, number + 1];
    }
    if (done) {
      if (line && number >= first && lines.length < count) lines.push(shortened(line));
      break;
    }
  }
  await reader.cancel().catch(() => {});
  return lines;
}
