// The same request for a terminal and for a program; the key stays a variable.
import { address } from "./api.js";

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

export function curl(path, body) {
  return [
    `curl ${address(path)}`,
    `  -H "Authorization: Bearer $TUNESMITH_API_KEY"`,
    `  -H "Content-Type: application/json"`,
    `  -d ${quoted(JSON.stringify(body, null, 2))}`,
  ].join(" \\\n");
}

/** With OpenAI's client: `call` is such as `fine_tuning.jobs.create`. */
export function python(call, body) {
  const fields = Object.entries(body).map(([name, value]) => `    ${name}=${literal(value, 1)},`);
  return [
    "import os",
    "",
    "import openai",
    "",
    "client = openai.OpenAI(",
    `    base_url="${address("/v1")}", api_key=os.environ["TUNESMITH_API_KEY"]`,
    ")",
    `answer = client.${call}(`,
    ...fields,
    ")",
    "print(answer)",
  ].join("\n");
}

/** With nothing but an HTTP client. */
export function plainPython(path, body) {
  return [
    "import os",
    "",
    "import httpx",
    "",
    "answer = httpx.post(",
    `    "${address(path)}",`,
    `    headers={"X-API-Key": os.environ["TUNESMITH_API_KEY"]},`,
    `    json=${literal(body, 1)},`,
    ")",
    "answer.raise_for_status()",
    "print(answer.json())",
  ].join("\n");
}

function literal(value, depth) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = "    ".repeat(depth + 1);
  const close = "    ".repeat(depth);
  if (Array.isArray(value)) {
    return `[\n${value.map((one) => `${inner}${literal(one, depth + 1)},`).join("\n")}\n${close}]`;
  }
  const lines = Object.entries(value).map(
    ([name, one]) => `${inner}${JSON.stringify(name)}: ${literal(one, depth + 1)},`,
  );
  return `{\n${lines.join("\n")}\n${close}}`;
}
