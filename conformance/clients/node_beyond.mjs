// What lies beyond one supervised job, through OpenAI's Node client; says as JSON what it saw.
// Run with the paths of conversations and of pairs of answers. The key is a user's;
// OPENAI_ADMIN_KEY has the right to administer, which this client takes for permissions.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(path.join(process.cwd(), 'package.json'));
const { default: OpenAI } = await import(pathToFileURL(require.resolve('openai')));

const BASE = 'tunesmith-tiny';
const QUESTION = [{ role: 'user', content: 'Item 3 is black.' }];
const GRADER = {
  type: 'text_similarity',
  name: 'alike',
  input: '{{sample.output_text}}',
  reference: '{{item.answer}}',
  evaluation_metric: 'rouge_l',
};
const SCHEMA = {
  type: 'object',
  properties: { colour: { enum: ['red', 'black'] } },
  required: ['colour'],
  additionalProperties: false,
};

const client = new OpenAI();
const seen = {};

const waitFor = async (id, ...statuses) => {
  for (;;) {
    const job = await client.fineTuning.jobs.retrieve(id);
    if ([...statuses, 'succeeded', 'failed', 'cancelled'].includes(job.status)) return job;
    await new Promise((done) => setTimeout(done, 100));
  }
};

const uploadInParts = async (name) => {
  const content = fs.readFileSync(name);
  const upload = await client.uploads.create({
    bytes: content.length,
    filename: path.basename(name),
    mime_type: 'application/jsonl',
    purpose: 'fine-tune',
  });
  const parts = [];
  const size = Math.ceil(content.length / 3);
  for (let start = 0; start < content.length; start += size) {
    const data = await OpenAI.toFile(content.subarray(start, start + size), 'part');
    parts.push((await client.uploads.parts.create(upload.id, { data })).id);
  }
  const whole = await client.uploads.complete(upload.id, { part_ids: parts });
  seen['upload'] = [whole.status, whole.file.bytes === content.length, whole.file.purpose];
  const sent = Buffer.from(await (await client.files.content(whole.file.id)).arrayBuffer());
  seen['parts are one file'] = sent.equals(content);
  const other = await client.uploads.create({
    bytes: 3,
    filename: 'a',
    mime_type: 'text/plain',
    purpose: 'fine-tune',
  });
  const data = await OpenAI.toFile(Buffer.from('abc'), 'part');
  const part = await client.uploads.parts.create(other.id, { data });
  seen['part'] = [part.object, part.upload_id === other.id];
  seen['upload is cancelled'] = (await client.uploads.cancel(other.id)).status;
  return whole.file;
};

// Supervised first, then by preferences.
const file = await uploadInParts(process.argv[2]);
const pairs = await uploadInParts(process.argv[3]);
const jobs = client.fineTuning.jobs;
const brief = { n_epochs: 1, batch_size: 8 };
const first = await jobs.create({ model: BASE, training_file: file.id, hyperparameters: brief });
const tuned = (await waitFor(first.id)).fine_tuned_model;
let job = await jobs.create({
  model: tuned,
  training_file: pairs.id,
  suffix: 'preferred',
  method: { type: 'dpo', dpo: { hyperparameters: { ...brief, beta: 0.2 } } },
});
job = await waitFor(job.id);
const chosen = job.method.dpo.hyperparameters;
seen['preferences'] = [job.status, job.model === tuned, chosen.beta, chosen.n_epochs];
const told = (await jobs.listEvents(job.id, { limit: 100 })).data;
const [firstStep] = told.filter((one) => one.type === 'metrics' && one.data.step === 1);
seen["a pair's loss at first"] = Number(firstStep.data.train_loss.toFixed(2));
seen['rewards are told'] = 'train_mean_reward_margin' in firstStep.data;
const model = job.fine_tuned_model;

// Pause.
const long = { n_epochs: 50, batch_size: 1 };
const paused = await jobs.create({ model: BASE, training_file: file.id, hyperparameters: long });
await waitFor(paused.id, 'running');
for (;;) {
  const events = (await jobs.listEvents(paused.id)).data;
  if (events.some((one) => one.type === 'metrics')) break;
  await new Promise((done) => setTimeout(done, 100));
}
seen['pausing'] = (await jobs.pause(paused.id)).status;
seen['paused'] = (await waitFor(paused.id, 'paused')).status;
const snapshot = (await jobs.checkpoints.list(paused.id)).data[0].fine_tuned_model_checkpoint;
const answer = await client.chat.completions.create({
  model: snapshot,
  messages: QUESTION,
  max_tokens: 2,
});
seen['its snapshot answers'] = answer.model === snapshot;
seen['resumed'] = (await jobs.resume(paused.id)).status;
seen['runs again'] = (await waitFor(paused.id, 'running')).status;
seen['cancelled'] = (await jobs.cancel(paused.id)).status;

// Permit.
const { permissions } = client.fineTuning.checkpoints;
const given = (await permissions.create(model, { project_ids: ['proj_a', 'proj_b'] })).data;
seen['permissions'] = given.map((one) => one.project_id);
seen['permission is taken back'] = (
  await permissions.delete(given[0].id, { fine_tuned_model_checkpoint: model })
).deleted;
seen['permissions left'] = (await permissions.list(model)).data.map((one) => one.project_id);

// Grade.
const { graders } = client.fineTuning.alpha;
seen['grader'] = (await graders.validate({ grader: GRADER })).grader.type;
const item = { answer: 'a b c' };
seen['reward'] = (await graders.run({ grader: GRADER, model_sample: 'a b c', item })).reward;

// Call, and answer in a schema.
const tools = [{ type: 'function', function: { name: 'paint', parameters: SCHEMA } }];
const words = {
  model,
  messages: QUESTION,
  tools,
  tool_choice: 'required',
  parallel_tool_calls: false,
  temperature: 0,
};
const whole = await client.chat.completions.create(words);
const [called] = whole.choices[0].message.tool_calls;
seen['call'] = [called.function.name, Object.keys(JSON.parse(called.function.arguments))];
const stream = client.chat.completions.stream(words);
const choice = (await stream.finalChatCompletion()).choices[0];
const streamed = choice.message.tool_calls[0].function;
const isSame = streamed.arguments === called.function.arguments;
seen['streamed call'] = [streamed.name, isSame, choice.finish_reason];
const shaped = await client.chat.completions.create({
  model,
  messages: QUESTION,
  response_format: { type: 'json_schema', json_schema: { name: 'paint', schema: SCHEMA } },
});
seen['answer in a schema'] = Object.keys(JSON.parse(shaped.choices[0].message.content));

// Respond.
const asked = { model, input: 'Item 3 is black.', temperature: 0, max_output_tokens: 9 };
const response = await client.responses.create(asked);
const isShort = response.usage.output_tokens <= 9;
seen['response'] = [response.object, response.model === model, isShort];
const events = [];
for await (const event of await client.responses.create({ ...asked, stream: true })) {
  events.push(event);
}
const deltas = events.filter((one) => one.type === 'response.output_text.delta');
const said = deltas.map((one) => one.delta).join('');
seen["a response's stream says the same"] = said === response.output_text;
seen['its first event'] = events[0].type;
seen['events are numbered'] = events.every((one, index) => one.sequence_number === index);

// Embed. This client asks for base64 by itself, too.
const made = (await client.embeddings.create({ model, input: ['red', 'black', 'red'] })).data;
const vectors = made.map((one) => one.embedding);
const nearness = (other) => vectors[0].reduce((sum, x, index) => sum + x * other[index], 0);
const [length, unlike, alike] = vectors.map(nearness);
seen['length of an embedding'] = Number(length.toFixed(3));
seen['alike are alike'] = [Number(alike.toFixed(3)) === 1, alike > unlike];
const short = await client.embeddings.create({
  model,
  input: 'red',
  dimensions: 8,
  encoding_format: 'float',
});
seen['dimensions'] = short.data[0].embedding.length;
console.log(JSON.stringify(seen));
