// One thing has one UUID, which each API spells in its own way: `ftjob_` and 25 digits to the base
// of 36 (platform), `ftjob-` and 24 to the base of 62 (OpenAI), or bare (administration).

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const OPENAI_LENGTH = { file: 22, ftjob: 24 };
const PLATFORM_LENGTH = 25;

/** From the platform's spelling to OpenAI's: `ds_…` becomes `file-…`. */
export function toOpenAI(id) {
  const [kind, digits] = id.split("_");
  let number = read(digits.toUpperCase(), 36);
  let written = "";
  for (; number; number /= 62n) written = DIGITS[number % 62n] + written;
  const outer = kind === "ds" ? "file" : kind;
  return `${outer}-${written.padStart(OPENAI_LENGTH[outer], "0")}`;
}

/** From OpenAI's spelling to the platform's: `file-…` becomes `ds_…`. */
export function toPlatform(id) {
  const cut = id.indexOf("-");
  const kind = id.slice(0, cut);
  return named(kind === "file" ? "ds" : kind, read(id.slice(cut + 1), 62));
}

/** From a bare UUID to the platform's id of a job. */
export const jobOf = (uuid) => named("ftjob", BigInt(`0x${uuid.replaceAll("-", "")}`));

const named = (kind, number) => `${kind}_${number.toString(36).padStart(PLATFORM_LENGTH, "0")}`;

function read(text, base) {
  return [...text].reduce((sum, digit) => sum * BigInt(base) + BigInt(DIGITS.indexOf(digit)), 0n);
}
