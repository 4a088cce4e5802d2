// The official Node clients play all scenarios of the matrix.
//
// usage: matrix_node.mjs FOLDER_OF_THE_CLIENTS CONFIG        CONFIG: a JSON file of `matrix`, which judges the printed lines
//
// Prints one JSON object per (client, provider, scenario, mode), as matrix_python.py does.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { messages } from './clients/anthropic.mjs';
import { generate } from './clients/google.mjs';
import { chat, responses } from './clients/openai.mjs';
import { vercel } from './clients/vercel.mjs';

const [folder, path] = process.argv.slice(2);
// Keys of the environment are none of this test's business.
for (const name of Object.keys(process.env)) if (/_(API_KEY|BASE_URL|AUTH_TOKEN)$/.test(name)) delete process.env[name];
globalThis.AI_SDK_LOG_WARNINGS = false;
// A stream that fails rejects promises of the SDK that nobody asked for; what was asked for is reported in its row.
process.on('unhandledRejection', () => {});

const config = JSON.parse(readFileSync(path, 'utf8'));
const load = createRequire(`${folder}/`);
const MAKERS = {
  'chat-node': chat, 'responses-node': responses, 'anthropic-node': messages, 'gemini-node': generate,
  ...Object.fromEntries(['responses-vercel', 'chat-vercel', 'anthropic-vercel', 'gemini-vercel'].map((name) => [name, vercel(name)])),
};
const clients = config.clients.map((name) => MAKERS[name](load, config));

async function play(client, provider, prefix, scenario, mode) {
  const row = { client: client.name, format: client.format, vocabulary: client.vocabulary, provider, scenario: scenario.name, mode, turns: [] };
  const reason = scenario.only && !scenario.only.includes(client.format) ? 'not of this format' : client.without(scenario);
  if (reason) return { ...row, skipped: reason };
  try {
    const model = scenario.model?.replace('{provider}', provider) ?? `${prefix}${scenario.name}--${client.name}--${mode}`;
    const results = [...scenario.results];
    let request = client.begin(scenario, model);
    for (let number = 0; number < scenario.answers.length; number += 1) {
      const seen = { text: '', refusal: '', thinking: '', calls: [], finish: null, usage: null, raw: null };
      row.turns.push(seen);
      await (scenario.count ? client.count : client.ask)(request, mode === 'stream', seen);
      if (number + 1 < scenario.answers.length) {
        const given = results.splice(0, seen.calls.length);
        const turned = scenario.swap ? [{ ...seen, calls: [...seen.calls].reverse() }, given.reverse()] : [seen, given];
        request = client.follow(request, ...turned);
      }
    }
  } catch (error) {
    row.error = client.failure(error);
  }
  for (const turn of row.turns) delete turn.raw;
  return row;
}

const show = (row) => console.log(JSON.stringify(row));

// What the last fault has cooled is of no interest to the next one.
async function reset() {
  if (!config.reset) return;
  const { url, headers } = config.reset;
  await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: '{"scope":"all"}' });
}

function cells(phase, providers = Object.keys(config.providers)) {
  const wanted = config.scenarios.map((name) => config.data.scenarios[name]).filter((scenario) => scenario.phase === phase);
  const fits = (client, provider) => !config.direct || client.format === provider;
  return wanted.flatMap((scenario) => scenario.modes.flatMap((mode) => providers.flatMap((provider) => clients
    .filter((client) => fits(client, provider)).map((client) => [client, provider, config.providers[provider], scenario, mode]))));
}

async function work(queue, before = async () => {}) {
  while (queue.length) {
    const cell = queue.shift();
    await before();
    show(await play(...cell));
  }
}

const calm = cells('calm');
await Promise.all(Array.from({ length: 12 }, () => work(calm)));
// One after another at each provider: a fault may close the account for all that run beside it.
await Promise.all(Object.keys(config.providers).map((provider) => work(cells('faulty', [provider]), reset)));
// These touch the accounts of several providers.
await work(cells('last'), reset);
