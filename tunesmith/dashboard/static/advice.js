// What to do about a job that failed, by the code of its failure.

const DATA = "Mend the line in your file, upload it again, and start the job anew.";
const BY_CODE = {
  invalid_training_file: DATA,
  invalid_validation_file: DATA,
  invalid_file_format: "Take the field out of the file, upload it again, and start the job anew.",
  invalid_n_examples: "Add examples to the file: ten is the least, fifty to a hundred begin to teach something.",
  server_error: "Restart the job. If it fails again, look into the log of the worker that trained it.",
};
const BY_WORDS = [
  [/memory/i, "Choose a smaller batch size or a smaller base model, or give the worker a larger device."],
  [/diverge|not a number|NaN|infinite/i, "Choose a smaller learning rate: half of it is a good next try."],
  [/disk|space/i, "Make room on the disk, then restart the job."],
  [/worker|lost/i, "See under Hardware and queue whether a worker is there, then restart the job."],
];

export function adviceFor({ code, message }) {
  const found = BY_WORDS.find(([words]) => code === "server_error" && words.test(message));
  return found?.[1] ?? BY_CODE[code] ?? BY_CODE.server_error;
}

/** The number of the line at fault, if the message names one. */
export function lineIn(message) {
  const found = /\bline ([\d,]+)/i.exec(message);
  return found ? Number(found[1].replaceAll(",", "")) : null;
}
