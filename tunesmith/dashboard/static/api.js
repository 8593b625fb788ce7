// One request of the public API: the key in a header, errors as words, and whether the server is there.

export const credentials = { key: null }; // set by session.js
const connection = { lost: false };
const connectionListeners = new Set();
const unauthorizedListeners = new Set();

export const isConnectionLost = () => connection.lost;
export function onConnection(listener) {
  connectionListeners.add(listener);
  return () => connectionListeners.delete(listener);
}
export const onUnauthorized = (listener) => unauthorizedListeners.add(listener);

export class ApiError extends Error {
  /** `status` is 0 where no answer came; `fields` are what is said of fields, by their names. */
  constructor(message, { status = 0, code = null, requestId = null, fields = {} } = {}) {
    super(message);
    Object.assign(this, { status, code, requestId, fields });
  }
}

const UNREACHABLE = "The server cannot be reached. Is it running?";

/** A path from `/api/v1`, `/v1` or `/admin/v1` on, wherever the dashboard is served. */
export const address = (path) => new URL(path.slice(1), document.baseURI).href;

export function headers(key = credentials.key) {
  return { Authorization: `Bearer ${key}` };
}

export async function send(method, path, { body, key, signal, query } = {}) {
  const url = new URL(address(path));
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  const given = { method, signal, headers: headers(key), cache: "no-store" };
  if (body !== undefined) {
    given.headers["Content-Type"] = "application/json";
    given.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(url, given);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    noteConnection(false);
    throw new ApiError(UNREACHABLE);
  }
  noteConnection(true);
  if (!response.ok) throw await failure(response, key ?? credentials.key);
  return response;
}

async function json(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

export const api = {
  get: (path, options) => json("GET", path, options),
  post: (path, body, options) => json("POST", path, { ...options, body }),
  delete: (path, options) => json("DELETE", path, options),
};

/** Upload a form with progress, which `fetch` does not tell. */
export function upload(path, form, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onerror = () => {
      noteConnection(false);
      reject(new ApiError(UNREACHABLE));
    };
    request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    request.onload = () => {
      if (request.status < 400) resolve(request.response);
      else reject(worded(request.status, request.response));
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

async function failure(response, key) {
  if (response.status === 401 && key === credentials.key) {
    for (const listener of unauthorizedListeners) listener();
  }
  return worded(response.status, await response.json().catch(() => null));
}

/** Of the three shapes that errors have: OpenAI's, the platform's, and the framework's. */
export function worded(status, body) {
  const told = body?.error ?? {};
  const message = told.message ?? body?.detail ?? `The server answered with status ${status}.`;
  return new ApiError(String(message), {
    status,
    code: told.code ?? null,
    requestId: body?.meta?.requestId ?? null,
    fields: Object.fromEntries((Array.isArray(told.details) ? told.details : []).map(({ field, message: said }) => [field, said])),
  });
}

function noteConnection(isThere) {
  if (connection.lost === !isThere) return;
  connection.lost = !isThere;
  for (const listener of connectionListeners) listener();
}
