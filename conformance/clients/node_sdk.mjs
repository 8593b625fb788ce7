// A whole fine-tuning through OpenAI's Node client; says as JSON what the client saw.
// Run with the path of the training data, in a folder whose node_modules has the package.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(path.join(process.cwd(), 'package.json'));
const { default: OpenAI } = await import(pathToFileURL(require.resolve('openai')));

const BASE = 'tunesmith-tiny';
const QUESTION = [
  { role: 'system', content: 'Answer with the code of the colour.' },
  { role: 'user', content: 'Item 3 is black.' },
];
const HYPERPARAMETERS = { n_epochs: 2, batch_size: 8, learning_rate_multiplier: 2 };

const client = new OpenAI();
const { version } = JSON.parse(fs.readFileSync('node_modules/openai/package.json'));
const seen = { version };

const all = async (pages) => {
  const items = [];
  for await (const item of await pages) items.push(item);
  return items;
};

const errorOf = async (call) => {
  try {
    await call;
  } catch (error) {
    return [error.constructor.name, error.code ?? null, error.message];
  }
  return [];
};

const waitFor = async (id) => {
  for (;;) {
    const job = await client.fineTuning.jobs.retrieve(id);
    if (['succeeded', 'failed', 'cancelled'].includes(job.status)) return job;
    await new Promise((done) => setTimeout(done, 200));
  }
};

// Upload: this client sends the file before its purpose, in chunks and without a length.
const data = process.argv[2];
const file = await client.files.create({ file: fs.createReadStream(data), purpose: 'fine-tune' });
seen['file'] = [file.filename, file.purpose, file.status, file.bytes === fs.statSync(data).size];
const content = Buffer.from(await (await client.files.content(file.id)).arrayBuffer());
seen['content is the same'] = content.equals(fs.readFileSync(data));
const files = await all(client.files.list({ purpose: 'fine-tune' }));
seen['file is listed'] = files.some((one) => one.id === file.id);

// Create, list, cancel.
let job = await client.fineTuning.jobs.create({
  model: BASE,
  training_file: file.id,
  validation_file: file.id,
  suffix: 'my_colours',
  seed: 7,
  method: { type: 'supervised', supervised: { hyperparameters: HYPERPARAMETERS } },
  metadata: { client: version },
});
const older = await client.fineTuning.jobs.create({
  model: BASE,
  training_file: file.id,
  hyperparameters: { n_epochs: 1, batch_size: 8 },
  seed: 7,
});
const last = await client.fineTuning.jobs.create({ model: BASE, training_file: file.id });
seen['created'] = [job.status, job.object, job.seed, job.error, job.fine_tuned_model];
const listed = (await all(client.fineTuning.jobs.list({ limit: 1 }))).map((one) => one.id);
seen['jobs are listed, newest first'] =
  JSON.stringify(listed.slice(0, 3)) === JSON.stringify([last.id, older.id, job.id]);
const found = await all(client.fineTuning.jobs.list({ metadata: { client: version } }));
seen['jobs are found by metadata'] = found.length === 1 && found[0].id === job.id;
seen['cancelled'] = (await client.fineTuning.jobs.cancel(last.id)).status;
seen['cancelled again'] = await errorOf(client.fineTuning.jobs.cancel(last.id));

// Follow.
job = await waitFor(job.id);
seen['job'] = [job.status, job.error, job.hyperparameters.n_epochs, job.result_files.length];
seen['job has ended'] = Boolean(job.finished_at && job.trained_tokens);
const cut = job.fine_tuned_model.lastIndexOf(':');
seen['model'] = [job.fine_tuned_model.slice(0, cut), job.fine_tuned_model.length - cut - 1];
const events = await all(client.fineTuning.jobs.listEvents(job.id, { limit: 3 }));
seen['events are different ones'] = new Set(events.map((event) => event.id)).size === events.length;
seen['newest event'] = events[0].message;
seen['oldest event'] = events.at(-1).message.split(':')[0];
seen['steps, newest first'] = events
  .filter((event) => event.type === 'metrics')
  .map((event) => event.data.step);
const checkpoints = await all(client.fineTuning.jobs.checkpoints.list(job.id, { limit: 1 }));
seen['checkpoints'] = checkpoints.map((point) => point.step_number);
seen['checkpoint is the model'] =
  checkpoints[0].fine_tuned_model_checkpoint === job.fine_tuned_model;
const results = await (await client.files.content(job.result_files[0])).text();
const rows = Buffer.from(results, 'base64').toString().trimEnd().split('\n');
seen['results'] = [rows[0].split(',').slice(0, 3), rows.length];
seen['older hyperparameters'] = (await waitFor(older.id)).hyperparameters.n_epochs;

// Ask.
const words = {
  model: job.fine_tuned_model,
  messages: QUESTION,
  temperature: 0,
  max_tokens: 9,
};
const whole = await client.chat.completions.create(words);
let streamed = '';
for await (const part of await client.chat.completions.create({ ...words, stream: true })) {
  streamed += part.choices[0].delta.content ?? '';
}
seen['answer'] = [whole.object, whole.model === job.fine_tuned_model, Boolean(whole.usage)];
seen['a stream says the same'] = streamed === whole.choices[0].message.content;
const models = await all(client.models.list());
seen['the model is listed'] = models.some((one) => one.id === job.fine_tuned_model);

// Delete. A slash in a model's name arrives as %2F.
const withSlash = await client.models.retrieve(process.argv[3]);
seen['a name with a slash'] = withSlash.id === process.argv[3];
seen['model deleted'] = (await client.models.delete(job.fine_tuned_model)).deleted;
seen['deleted model'] = (await errorOf(client.models.retrieve(job.fine_tuned_model))).slice(0, 2);
seen['base model'] = (await errorOf(client.models.delete(BASE)))[0];
seen['file deleted'] = (await client.files.delete(file.id)).deleted;
seen['deleted file'] = (await errorOf(client.files.retrieve(file.id)))[0];
console.log(JSON.stringify(seen));
