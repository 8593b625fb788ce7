// The key, and what it may do. It is kept for this tab, or for this browser if the person asks.
import { api, credentials, onUnauthorized } from "./api.js";

const NAME = "tunesmith.key";
const listeners = new Set();

export const session = { key: null, identity: null, ended: null };

export function storedKey() {
  return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME);
}

/** Throws an `ApiError` where the key opens nothing. */
export async function signIn(key, { remember = null } = {}) {
  const { data } = await api.get("/api/v1/auth/whoami", { key });
  if (remember !== null) {
    forget();
    (remember ? localStorage : sessionStorage).setItem(NAME, key);
  }
  credentials.key = key;
  Object.assign(session, { key, identity: data, ended: null });
  tell();
}

export function signOut(reason = null) {
  forget();
  credentials.key = null;
  Object.assign(session, { key: null, identity: null, ended: reason });
  tell();
}

export function onSession(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const may = (scope) => session.identity?.apiKey.mayDo.includes(scope) ?? false;

/** Why a button is off, or null where the key has the scope. */
export function lacks(scope) {
  return may(scope) ? null : `This key lacks the scope ${scope}. Sign in with one that has it.`;
}

function forget() {
  sessionStorage.removeItem(NAME);
  localStorage.removeItem(NAME);
}

function tell() {
  for (const listener of listeners) listener();
}

onUnauthorized(() => {
  if (session.key !== null) signOut("This key is not valid any more. Sign in with another one.");
});

// Another tab has signed in or out.
window.addEventListener("storage", async ({ key, newValue }) => {
  if (key !== NAME) return;
  if (newValue === null && sessionStorage.getItem(NAME) === null) signOut();
  else if (newValue !== null && session.key === null) await signIn(newValue).catch(() => {});
});
