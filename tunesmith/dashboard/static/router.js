// Where the person is: `#/jobs?status=running`. Filters and chosen runs are part of the address.
import { useEffect, useState } from "preact/hooks";

export function current() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return {
    parts: path.split("/").filter(Boolean).map(decodeURIComponent),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

export function href(parts, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const search = new URLSearchParams(given).toString();
  const path = [parts].flat().map(encodeURIComponent).join("/");
  return `#/${path}${search ? `?${search}` : ""}`;
}

export function go(parts, query) {
  location.hash = href(parts, query);
}

/** Change the query and stay on the page; typing in a search box leaves one entry in the history. */
export function setQuery(changes) {
  const { parts, query } = current();
  history.replaceState(null, "", href(parts, { ...query, ...changes }));
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

export function useRoute() {
  const [route, setRoute] = useState(current);
  useEffect(() => {
    const changed = () => setRoute(current());
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return route;
}
