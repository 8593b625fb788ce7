// Numbers, times and sizes as people read them.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const money = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

const NOTHING = "–";
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

export const count = (value) => (value == null ? NOTHING : number.format(value));
export const short = (value) => (value == null ? NOTHING : compact.format(value));
export const price = (value) => money.format(value);
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

/** Three digits that count: 0.0123, 1.23, 2.0e-5. */
export function figure(value) {
  if (value == null) return NOTHING;
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1);
  return Number(value.toPrecision(3)).toString();
}

/** Both APIs' times: ISO 8601, or seconds since 1970. */
export const moment = (at) => new Date(typeof at === "number" ? at * 1000 : at);
export const exactly = (at) => (at == null ? "" : exact.format(moment(at)));

export function ago(at) {
  if (at == null) return NOTHING;
  const seconds = (moment(at) - Date.now()) / 1000;
  if (Math.abs(seconds) < 10) return "just now";
  const [unit, size] = UNITS.find(([, long]) => Math.abs(seconds) >= long) ?? UNITS.at(-1);
  return relative.format(Math.round(seconds / size), unit);
}

export function duration(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return NOTHING;
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

export function bytes(size) {
  if (size == null) return NOTHING;
  const step = size < 1e3 ? 0 : size < 1e6 ? 1 : size < 1e9 ? 2 : 3;
  return `${Number((size / 1e3 ** step).toPrecision(3))} ${["bytes", "kB", "MB", "GB"][step]}`;
}
