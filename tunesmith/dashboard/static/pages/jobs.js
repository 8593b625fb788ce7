// Jobs: live, searched, filtered and sorted by the server, a page at a time.
import { useEffect, useState } from "preact/hooks";
import { api } from "../api.js";
import { html } from "../html.js";
import { useLive, useSettled } from "../live.js";
import { Button, Empty, Problem, Progress, Skeleton, Status, When } from "../parts.js";
import { go, href, setQuery } from "../router.js";
import { lacks } from "../session.js";
import { count, duration, figure, moment, short } from "../words.js";

const PAGE_SIZE = 50;
const LIVE_MS = 1500;
const CALM_MS = 5000;
const MAX_COMPARED = 6;
const STATES = [["", "All"], ["running", "Running"], ["queued", "Waiting"], ["completed", "Completed"], ["failed", "Failed"], ["stopped", "Stopped"]];
const COLUMNS = [["name", "Name"], ["status", "Status"], ["baseModel", "Base model"], [null, "Loss"], ["trainedTokens", "Tokens"], ["createdAt", "Created"], [null, "Took"]];

export function Jobs({ query }) {
  const { status = "", q = "", sort = "createdAt:desc", base = "" } = query;
  const page = Number(query.page ?? 1);
  const [text, setText] = useState(q);
  const settled = useSettled(text);
  const [chosen, setChosen] = useState([]);
  useEffect(() => {
    if (settled !== q) setQuery({ q: settled, page: null });
  }, [settled]);
  const list = useLive(
    (signal) => api.get("/api/v1/fine-tuning/jobs", {
      signal,
      query: { include: "progress", limit: PAGE_SIZE, offset: (page - 1) * PAGE_SIZE, search: q, status, sort, baseModel: base },
    }),
    [page, q, status, sort, base],
    (found) => (found?.jobs.some((job) => job.status === "running" || job.status === "queued") ? LIVE_MS : CALM_MS),
  );
  const stats = useLive((signal) => api.get("/api/v1/fine-tuning/stats", { signal }), [], CALM_MS);
  const models = useLive((signal) => api.get("/api/v1/fine-tuning/base-models", { signal }));
  const toggle = (id) => setChosen((ids) => (ids.includes(id) ? ids.filter((one) => one !== id) : [...ids, id]));
  const narrowed = q || status || base;

  return html`
    <div class="head">
      <h1 tabindex="-1">Jobs</h1>
      <div class="actions">
        <${Button} off=${chosen.length < 2 ? "Tick two to six jobs to compare them." : chosen.length > MAX_COMPARED ? "Six jobs can be compared at most." : null}
          onClick=${() => go("compare", { jobs: chosen.join(",") })}>Compare${chosen.length ? ` (${chosen.length})` : ""}<//>
        <${Button} kind="primary" off=${lacks("fine-tuning:write")} onClick=${() => go("new")} title="n">New job<//>
      </div>
    </div>
    <div class="filters">
      <input type="search" data-search aria-label="Search jobs" placeholder="Search by name or description  /" value=${text}
        onInput=${(event) => setText(event.target.value)} />
      <select aria-label="Base model" value=${base} onChange=${(event) => setQuery({ base: event.target.value, page: null })}>
        <option value="">Every base model</option>
        ${models.data?.models.map((model) => html`<option key=${model.id} value=${model.id}>${model.name}</option>`)}
      </select>
    </div>
    <div class="tabs" role="group" aria-label="Status">
      ${STATES.map(([name, title]) => html`<button type="button" key=${name} aria-pressed=${name === status}
        onClick=${() => setQuery({ status: name, page: null })}>${title}
        <span class="count">${stats.data ? short(stats.data[name || "total"]) : "…"}</span></button>`)}
    </div>
    <${Problem} error=${list.error?.status ? list.error : null} again=${list.refresh} title="The jobs cannot be shown" />
    ${list.data === null
      ? !list.error?.status && html`<${Skeleton} rows=${8} />`
      : list.data.count === 0
        ? narrowed
          ? html`<${Empty} title="No job fits" action=${html`<${Button} onClick=${() => { setText(""); setQuery({ q: null, status: null, base: null, page: null }); }}>Show all jobs<//>`}>
              None has these words, this status and this base model.<//>`
          : html`<${Empty} title="No jobs yet" action=${html`<${Button} kind="primary" off=${lacks("fine-tuning:write")} onClick=${() => go("new")}>Make the first one<//>`}>
              Drop a file of examples, choose a base model, and watch it learn.<//>`
        : html`<${Table} jobs=${list.data.jobs} sort=${sort} chosen=${chosen} toggle=${toggle} />
            <${Pages} count=${list.data.count} page=${page} />`}`;
}

function Table({ jobs, sort, chosen, toggle }) {
  const [field, direction] = sort.split(":");
  return html`<table class="list jobs">
    <thead><tr>
      <th><span class="unseen">Compare</span></th>
      ${COLUMNS.map(([name, title]) => html`<th key=${title} scope="col"
          aria-sort=${name === field ? (direction === "asc" ? "ascending" : "descending") : undefined}>
        ${name === null ? title : html`<button type="button" onClick=${() => setQuery({ sort: `${name}:${name === field && direction === "desc" ? "asc" : "desc"}`, page: null })}>
          ${title}<span aria-hidden="true">${name === field ? (direction === "asc" ? " ↑" : " ↓") : ""}</span></button>`}
      </th>`)}
    </tr></thead>
    <tbody>${jobs.map((job) => html`<${Row} key=${job.id} job=${job} chosen=${chosen.includes(job.id)} toggle=${toggle} />`)}</tbody>
  </table>`;
}

function Row({ job, chosen, toggle }) {
  const { progress } = job;
  const phase = progress.pausing ? "pausing" : progress.phase === "succeeded" ? "completed" : progress.phase;
  const seconds = job.startedAt && ((job.finishedAt ? moment(job.finishedAt) : Date.now()) - moment(job.startedAt)) / 1000;
  return html`<tr>
    <td class="tick"><input type="checkbox" aria-label=${`Compare ${job.name}`} checked=${chosen} onChange=${() => toggle(job.id)} /></td>
    <td class="name"><a href=${href(["jobs", job.id])}>${job.name}</a>
      ${(progress.error ?? job.description) && html`<p class="quiet line">${progress.error ?? job.description}</p>`}</td>
    <td class="state"><${Status} of=${phase} />
      ${job.status === "running" && html`<${Progress} value=${progress.step} max=${progress.totalSteps} label=${`Steps of ${job.name}`} />`}</td>
    <td data-label="Base model">${job.baseModel}</td>
    <td data-label="Loss" class="figure">${figure(progress.trainingLoss)}</td>
    <td data-label="Tokens" class="figure">${short(job.trainedTokens)}</td>
    <td data-label="Created"><${When} at=${job.createdAt} /></td>
    <td data-label="Took" class="figure">${seconds ? duration(seconds) : "–"}</td>
  </tr>`;
}

export function Pages({ count: total, page, size = PAGE_SIZE }) {
  const last = Math.max(1, Math.ceil(total / size));
  if (last === 1 && page === 1) return null;
  const to = (target) => () => setQuery({ page: target === 1 ? null : target });
  return html`<nav class="pages" aria-label="Pages of the list">
    <span class="quiet">${count((page - 1) * size + 1)}–${count(Math.min(total, page * size))} of ${count(total)}</span>
    <${Button} off=${page <= 1 ? "This is the first page." : null} onClick=${to(page - 1)}>Previous<//>
    <${Button} off=${page >= last ? "This is the last page." : null} onClick=${to(page + 1)}>Next<//>
  </nav>`;
}
