// What a person fills in for a new job, and the request that it becomes.
import { api } from "./api.js";
import { toOpenAI, toPlatform } from "./ids.js";

export const PATH = "/api/v1/fine-tuning/jobs";
export const NOTHING = {
  training: null, validation: null, model: "", name: "", objective: "supervised", method: "lora",
  epochs: "", batchSize: "", learningRate: "", beta: "", loraRank: "", loraAlpha: "", loraDropout: "", loraTargets: "", seed: "",
};
const NUMBERS = ["epochs", "batchSize", "learningRate"];
const NUMBERS_OF_LORA = ["loraRank", "loraAlpha", "loraDropout"];
const MAX_SUFFIX_LENGTH = 64;

/** The part of the model's name that is the job's own; empty where no letter of it can be used. */
export const suffixOf = (name) =>
  name.trim().replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, MAX_SUFFIX_LENGTH);

/** With nothing in it that the person has left open. `usualName` is for a job without a name. */
export function bodyOf(form, usualName) {
  const isLora = form.method === "lora";
  const hyperparameters = { auto: true };
  for (const name of [...NUMBERS, ...(isLora ? NUMBERS_OF_LORA : []), ...(form.objective === "dpo" ? ["beta"] : [])]) {
    if (form[name] !== "") hyperparameters[name] = Number(form[name]);
  }
  const targets = form.loraTargets.split(/[\s,]+/).filter(Boolean);
  if (isLora && targets.length) hyperparameters.loraTargets = targets;
  const body = {
    name: form.name.trim() || usualName,
    baseModel: form.model,
    trainingDataset: form.training ?? "ds_…",
    method: form.method,
    objective: form.objective,
    hyperparameters,
    deploy: true,
  };
  if (form.validation) body.validationFile = form.validation;
  if (suffixOf(form.name)) body.suffix = suffixOf(form.name);
  if (form.seed !== "") body.seed = Number(form.seed);
  return body;
}

/** What an estimate is asked for. */
export const estimateOf = (form) => ({
  baseModel: form.model,
  dataset: form.training,
  method: form.method,
  objective: form.objective,
  ...(form.epochs ? { epochs: Number(form.epochs) } : {}),
  ...(form.batchSize ? { batchSize: Number(form.batchSize) } : {}),
});

/** The settings of a job, to be changed and started again. */
export async function formOf(id) {
  const [job, inner] = await Promise.all([api.get(`${PATH}/${id}`), api.get(`/v1/fine_tuning/jobs/${toOpenAI(id)}`)]);
  const given = job.hyperparameters;
  const text = (value) => (value === null ? "" : String(value));
  const isLora = job.method === "lora";
  return {
    ...NOTHING,
    training: toPlatform(inner.training_file),
    validation: inner.validation_file && toPlatform(inner.validation_file),
    model: inner.model,
    name: job.name === job.baseModel ? "" : job.name,
    objective: job.objective,
    method: job.method,
    ...Object.fromEntries([...NUMBERS, "beta", ...(isLora ? NUMBERS_OF_LORA : [])].map((name) => [name, text(given[name])])),
    loraTargets: isLora ? given.loraTargets.join(", ") : "",
    seed: String(inner.seed),
  };
}
