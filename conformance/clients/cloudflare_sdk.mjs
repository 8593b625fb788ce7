// Finetunes and answers through Cloudflare's Node client.
//
// Run with the path of a file that describes the account; says as JSON what the client saw.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(path.join(process.cwd(), 'here.mjs')));
const cloudflare = require('cloudflare');
const { Cloudflare, toFile } = cloudflare;

const given = JSON.parse(fs.readFileSync(process.argv[2]));
const account = { account_id: given.id };
const server = { baseURL: given.base_url, maxRetries: 0 };
const client = new Cloudflare({ apiToken: given.token, ...server });
const { version } = JSON.parse(fs.readFileSync('node_modules/cloudflare/package.json'));
const seen = { version };

async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    return [error.constructor.name, error.status, error.errors[0].code];
  }
  return null;
}

async function createFinetune(name) {
  const made = await client.ai.finetunes.create({ ...account, model: given.model, name });
  const config = path.join(given.adapter, 'adapter_config.json');
  const weights = fs.readFileSync(path.join(given.adapter, 'adapter_model.safetensors'));
  const first = await client.ai.finetunes.assets.create(made.id, {
    ...account,
    file: fs.createReadStream(config),
    file_name: 'adapter_config.json',
  });
  // Of a file in memory, the bytes come before their name.
  const second = await client.ai.finetunes.assets.create(made.id, {
    ...account,
    file: await toFile(weights, 'x'),
    file_name: 'adapter_model.safetensors',
  });
  seen.created = [made.name, made.model, made.public];
  seen.uploaded = [first.success, second.success];
  return made;
}

async function listFinetunes(made) {
  const mine = await client.ai.finetunes.list(account);
  seen.listed = mine.some((found) => found.id === made.id);
  const names = [];
  const page = { ...account, limit: 5, offset: 0, orderBy: 'name' };
  for await (const found of client.ai.finetunes.public.list(page)) names.push(found.name);
  seen['a private one is not public'] = !names.includes(made.name);
}

async function run(made) {
  const asked = { ...account, messages: given.question, ...given.options };
  const base = await client.ai.run(given.model, asked);
  const byName = await client.ai.run(given.model, { ...asked, lora: made.name });
  const byId = await client.ai.run(given.model, { ...asked, lora: made.id });
  seen['the base says something else'] = base.response !== byName.response;
  seen.tuned = [byName.response, byId.response];
  const streamed = { ...asked, lora: made.name, stream: true };
  const response = await client.ai.run(given.model, streamed).asResponse();
  const events = (await response.text()).trim().split('\n\n');
  const parts = events.map((event) => event.replace('data: ', ''));
  seen['end of the stream'] = parts.pop();
  seen['a stream says the same'] = parts.map((part) => JSON.parse(part).response).join('');
}

async function catalogue() {
  const names = [];
  for await (const model of client.ai.models.list({ ...account, per_page: 1 })) {
    names.push(model.name);
  }
  seen['models are on pages, which end'] =
    names.includes(given.model) && new Set(names).size === names.length;
  seen.schema = Object.keys(
    await client.ai.models.schema.get({ ...account, model: given.model }),
  ).sort();
  const tasks = [];
  for await (const task of client.ai.tasks.list(account)) tasks.push(task.name);
  seen.tasks = tasks;
  seen.token = (await client.user.tokens.verify()).status;
}

async function refusals(made) {
  const known = { apiEmail: given.email, apiKey: given.key, ...server };
  const both = new Cloudflare({ apiToken: 'wrong', ...known });
  seen['a good key beside a wrong token'] = Array.isArray(await both.ai.finetunes.list(account));
  const wrong = new Cloudflare({ apiToken: 'wrong', ...server });
  const reader = new Cloudflare({ apiToken: given.read_only, ...server });
  const finetune = { ...account, model: given.model, name: made.name };
  seen.errors = {
    'wrong token': await errorOf(() => wrong.ai.finetunes.list(account)),
    'read only': await errorOf(() => reader.ai.finetunes.create({ ...finetune, name: 'r' })),
    'foreign account': await errorOf(() =>
      client.ai.finetunes.list({ account_id: '0'.repeat(32) }),
    ),
    'name in use': await errorOf(() => client.ai.finetunes.create(finetune)),
    'unknown lora': await errorOf(() =>
      client.ai.run(given.model, { ...account, prompt: 'Hi.', lora: 'nobody' }),
    ),
    'no such model': await errorOf(() =>
      client.ai.run('@cf/no/model', { ...account, prompt: 'Hi.' }),
    ),
  };
}

const made = await createFinetune('node');
await listFinetunes(made);
await run(made);
await catalogue();
await refusals(made);
console.log(JSON.stringify(seen));
