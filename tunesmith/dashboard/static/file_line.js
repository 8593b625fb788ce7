// One line of a file, of which no more is fetched than comes before it.
import { send } from "./api.js";

const MAX_CHARACTERS = 4000;

export async function fetchLine(fileId, wanted, signal) {
  const controller = new AbortController();
  signal?.addEventListener("abort", () => controller.abort());
  const response = await send("GET", `/v1/files/${fileId}/content`, { signal: controller.signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let [line, number] = ["", 1];
  for (;;) {
    const { value, done } = await reader.read();
    const pieces = (value ?? "").split("\n");
    pieces.forEach((piece, index) => {
      if (index > 0) number += 1;
      if (number === wanted) line += piece;
    });
    if (done || number > wanted) break;
  }
  await reader.cancel().catch(() => {});
  return line.length > MAX_CHARACTERS ? `${line.slice(0, MAX_CHARACTERS)}…` : line;
}
