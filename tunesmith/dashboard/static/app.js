// The shell: who is signed in, where they are, and what holds on every page.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { isConnectionLost, onConnection } from "./api.js";
import { html } from "./html.js";
import { Compare } from "./pages/compare.js";
import { Dataset } from "./pages/dataset.js";
import { Datasets } from "./pages/datasets.js";
import { Hardware } from "./pages/hardware.js";
import { Job } from "./pages/job.js";
import { Jobs } from "./pages/jobs.js";
import { Keys } from "./pages/keys.js";
import { Models } from "./pages/models.js";
import { NewJob } from "./pages/new_job.js";
import { Playground } from "./pages/playground.js";
import { SignIn } from "./pages/sign_in.js";
import { go, href, useRoute } from "./router.js";
import { onSession, session, signIn, signOut, storedKey } from "./session.js";
import { ThemeChoice } from "./theme_choice.js";

const PAGES = {
  jobs: { title: "Jobs", view: Jobs, detail: Job },
  new: { title: "New job", view: NewJob },
  compare: { title: "Compare", view: Compare },
  datasets: { title: "Datasets", view: Datasets, detail: Dataset },
  models: { title: "Models", view: Models },
  playground: { title: "Playground", view: Playground },
  hardware: { title: "Hardware and queue", view: Hardware },
  keys: { title: "Keys and usage", view: Keys },
};
const IN_MENU = ["jobs", "datasets", "models", "playground", "hardware", "keys"];

export function App() {
  const [, setTurn] = useState(0);
  const [starting, setStarting] = useState(storedKey() !== null);
  useEffect(() => onSession(() => setTurn((turn) => turn + 1)), []);
  useEffect(() => {
    const key = storedKey();
    if (key) signIn(key).catch((error) => error.status === 401 || retry(key)).finally(() => setStarting(false));
  }, []);
  if (starting) {
    return html`<main class="starting"><h1>Tunesmith</h1><${Connection} /></main>`;
  }
  return session.key === null ? html`<${SignIn} />` : html`<${Shell} />`;
}

/** The server is away while the page is opened: it is asked until it is there. */
function retry(key) {
  return new Promise((resolve) => {
    const timer = setInterval(() => signIn(key).then(() => {
      clearInterval(timer);
      resolve();
    }, () => {}), 2000);
  });
}

function Shell() {
  const { parts, query } = useRoute();
  const [name = "jobs", id] = parts;
  const page = PAGES[name] ?? null;
  const main = useRef(null);
  const arrived = useRef(false);
  const here = parts.join("/");
  useKeyboard();
  useEffect(() => {
    document.title = `${page?.title ?? "Not found"} · Tunesmith`;
    if (arrived.current) {
      main.current.querySelector("h1")?.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    }
    arrived.current = true; // the first page begins where every page of the web begins
  }, [here]);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>Skip to content</a>
    <${Menu} current=${name === "new" || name === "compare" ? "jobs" : name} />
    <div class="content">
      <${Connection} />
      <main id="main" ref=${main} tabindex="-1" key=${here}>
        ${page === null
          ? html`<h1 tabindex="-1">Not found</h1><p>There is no such page. <a href="#/jobs">Go to the jobs</a>.</p>`
          : id && page.detail
            ? html`<${page.detail} id=${id} query=${query} />`
            : html`<${page.view} query=${query} />`}
      </main>
    </div>`;
}

function Menu({ current }) {
  const [open, setOpen] = useState(false);
  const { identity } = session;
  return html`<header class="side" data-open=${open}>
    <a class="brand" href="#/jobs"><img src="dashboard/favicon.svg" alt="" width="28" height="28" />Tunesmith</a>
    <button type="button" class="button plain toggle" aria-expanded=${open} aria-controls="menu"
      onClick=${() => setOpen(!open)}>Menu</button>
    <div id="menu" class="menu">
      <nav aria-label="Pages">
        ${IN_MENU.map((name) => html`<a key=${name} href=${href(name)} onClick=${() => setOpen(false)}
          aria-current=${name === current ? "page" : undefined}>${PAGES[name].title}</a>`)}
      </nav>
      <div class="who">
        <p><strong>${identity.organization.name}</strong><br /><span class="quiet">${identity.apiKey.name}</span></p>
        <${ThemeChoice} />
        <button type="button" class="button plain small" onClick=${() => signOut()}>Sign out</button>
      </div>
    </div>
  </header>`;
}

function Connection() {
  const [lost, setLost] = useState(isConnectionLost());
  useEffect(() => onConnection(() => setLost(isConnectionLost())), []);
  return html`<div role="status" aria-live="polite">
    ${lost && html`<p class="banner">The server cannot be reached. Trying again; what you see is how it was.</p>`}
  </div>`;
}

/** `/` searches, `n` makes a new job, Esc leaves a field. */
function useKeyboard() {
  useLayoutEffect(() => {
    function pressed(event) {
      const isField = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key === "Escape" && isField) event.target.blur();
      if (isField || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.key === "/") {
        const search = document.querySelector("[data-search]");
        if (search) {
          event.preventDefault();
          search.focus();
        }
      }
      if (event.key === "n") {
        event.preventDefault();
        go("new");
      }
    }
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
}
