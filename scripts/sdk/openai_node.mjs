// The official Node client against a running gateway.
//
// usage: openai_node.mjs FOLDER_OF_THE_CLIENT BASE_URL KEY checks | load SECONDS
//
// Prints one JSON object per line. `run` prepares the models that are used here; openai_python.py asks for the same.

import { createRequire } from 'node:module';
import assert from 'node:assert/strict';

const [folder, baseURL, apiKey, mode, seconds] = process.argv.slice(2);
const OpenAI = createRequire(`${folder}/`)('openai');
const HELLO = [{ role: 'user', content: 'hello' }];
const WEATHER = [
  { type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } },
];
const TEXT = 'tok0 tok1 tok2 tok3';

// The client's own retries would hide what the gateway did.
const client = (options = {}) => new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20_000, ...options });
const chat = (model, options = {}, at = client()) => at.chat.completions.create({ model, messages: HELLO, ...options });

async function collect(stream, into = []) {
  for await (const chunk of await stream) into.push(chunk);
  return into;
}

async function raised(kind, action) {
  try {
    await action();
  } catch (error) {
    assert.ok(error instanceof kind, `${error.constructor.name} instead of ${kind.name}: ${error.message}`);
    return error;
  }
  throw new Error(`no ${kind.name} was raised`);
}

// An answer from the background, once it is over.
async function made(model) {
  const isRunning = (answer) => ['queued', 'in_progress'].includes(answer.status);
  let answer = await client().responses.create({ model, input: 'hello', background: true });
  assert.ok(isRunning(answer) && answer.background, answer.status);
  for (const until = performance.now() + 10_000; isRunning(answer); ) {
    assert.ok(performance.now() < until, answer.status);
    await new Promise((resume) => setTimeout(resume, 50));
    answer = await client().responses.retrieve(answer.id);
  }
  return answer;
}

const checks = {
  async 'models are listed and found'() {
    const ids = (await client().models.list()).data.map((model) => model.id);
    assert.ok(ids.includes('team'), ids.join());
    assert.equal((await client().models.retrieve('team')).id, 'team');
  },
  async 'an answer has its text and usage'() {
    const answer = await chat('good/mock-model');
    assert.equal(answer.choices[0].message.content, TEXT);
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.equal(answer.usage.completion_tokens, 4);
  },
  async 'a stream has the same text and ends'() {
    const chunks = await collect(chat('good/mock-model', { stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''), TEXT);
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    assert.ok(chunks.every((chunk) => chunk.usage == null), 'usage that nobody asked for');
  },
  async 'a stream reports usage when asked'() {
    const last = (await collect(chat('good/mock-model', { stream: true, stream_options: { include_usage: true } }))).at(-1);
    assert.deepEqual([last.choices, last.usage.completion_tokens], [[], 4]);
  },
  async 'a tool is called'() {
    const call = (await chat('tools/mock-model', { tools: WEATHER })).choices[0].message.tool_calls[0].function;
    assert.deepEqual([call.name, JSON.parse(call.arguments)], ['get_weather', { city: 'Bern' }]);
  },
  async 'a tool is called in a stream'() {
    const chunks = await collect(chat('tools/mock-model', { tools: WEATHER, stream: true }));
    const calls = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    assert.equal(calls[0].function.name, 'get_weather');
    assert.deepEqual(JSON.parse(calls.map((call) => call.function.arguments ?? '').join('')), { city: 'Bern' });
  },
  async 'a wrong key is an authentication error'() {
    const error = await raised(OpenAI.AuthenticationError, () => chat('good/mock-model', {}, client({ apiKey: 'sk-wrong' })));
    assert.ok(error.status === 401 && error.code);
  },
  async 'an unknown model is not found'() {
    const error = await raised(OpenAI.NotFoundError, () => chat('good-but-unknown/model'));
    assert.equal(error.code, 'model_not_found');
  },
  async 'a malformed request is a bad request'() {
    await raised(OpenAI.BadRequestError, () => chat('good/mock-model', { messages: 'no list' }));
  },
  async 'a bad request of the provider stays one'() {
    const error = await raised(OpenAI.BadRequestError, () => chat('bad/mock-model'));
    assert.ok(error.requestID, 'no x-request-id');
  },
  async 'a rate limit tells when to come back'() {
    const error = await raised(OpenAI.RateLimitError, () => chat('limited/mock-model'));
    const wait = Number(error.headers.get('retry-after'));
    assert.ok(wait >= 50 && wait <= 61, `retry-after: ${wait}`);
  },
  async 'a broken provider is a server error'() {
    const error = await raised(OpenAI.InternalServerError, () => chat('broken/mock-model'));
    assert.ok([502, 503].includes(error.status), `status ${error.status}`);
  },
  async 'a silent provider is a timeout of the gateway'() {
    // By the deadline of the whole answer, and by the one of the first content.
    for (const stream of [false, true]) {
      const error = await raised(OpenAI.InternalServerError, () => chat('silent/mock-model', { stream }));
      assert.equal(error.status, 504);
    }
  },
  async 'a timeout of the client is raised'() {
    await raised(OpenAI.APIConnectionTimeoutError, () => chat('patient/mock-model', {}, client({ timeout: 400 })));
  },
  async 'a stream that is cut raises after its content'() {
    const seen = [];
    const error = await raised(OpenAI.APIError, () => collect(chat('cut/mock-model', { stream: true }), seen));
    assert.ok(seen.some((chunk) => chunk.choices[0]?.delta.content), 'no content before the error');
    assert.ok(!(error instanceof OpenAI.APIConnectionError), 'the connection broke instead of an error event');
  },
  async 'an answer is made in the background'() {
    const answer = await made('patient/mock-model');
    assert.equal(answer.status, 'completed');
    assert.ok(answer.output_text && answer.usage.output_tokens > 0, 'an empty answer');
    const next = { model: 'good/mock-model', input: 'and?', previous_response_id: answer.id };
    assert.equal((await client().responses.create(next)).status, 'completed');
    assert.ok((await client().responses.inputItems.list(answer.id)).data.length > 0, 'no input items');
  },
  async 'an answer in the background can be cancelled'() {
    const running = await client().responses.create({ model: 'silent/mock-model', input: 'hello', background: true });
    for (let times = 0; times < 2; times += 1) {
      assert.equal((await client().responses.cancel(running.id)).status, 'cancelled');
    }
    assert.equal((await client().responses.retrieve(running.id)).status, 'cancelled');
    await client().responses.delete(running.id);
    await raised(OpenAI.NotFoundError, () => client().responses.retrieve(running.id));
  },
  async 'a failure in the background is told'() {
    const answer = await made('bad/mock-model');
    assert.equal(answer.status, 'failed');
    assert.ok(answer.error.message, 'no message');
    await raised(OpenAI.BadRequestError, () => client().responses.cancel(answer.id));
  },
};

async function check() {
  for (const [name, action] of Object.entries(checks)) {
    const outcome = await action().then(
      () => ({ ok: true }),
      (error) => ({ ok: false, detail: `${error.constructor.name}: ${error.message}`.slice(0, 400) }),
    );
    console.log(JSON.stringify({ check: name, ...outcome }));
  }
}

// Callers that ask for `team` until the time is over; half of them for streams.
async function load() {
  const until = performance.now() + Number(seconds) * 1000;
  const counts = { answered: 0, streamed: 0, cutWithError: 0, failed: 0, silentlyCut: 0 };
  const failures = [];
  const failed = (error) => {
    counts.failed += 1;
    if (failures.length < 5) failures.push(`${error.constructor.name}: ${error.message}`.slice(0, 300));
  };
  const whole = async (at) => {
    try {
      const answer = await chat('team', {}, at);
      counts[answer.choices[0].finish_reason === 'stop' ? 'answered' : 'silentlyCut'] += 1;
    } catch (error) {
      failed(error);
    }
  };
  const stream = async (at) => {
    let content = false;
    let finished = false;
    try {
      for await (const chunk of await chat('team', { stream: true }, at)) {
        content ||= Boolean(chunk.choices[0]?.delta.content);
        finished ||= chunk.choices[0]?.finish_reason === 'stop';
      }
      counts[finished ? 'streamed' : 'silentlyCut'] += 1;
    } catch (error) {
      // Only an error event is a proper end: a connection that just breaks is none.
      if (content && error instanceof OpenAI.APIError && !(error instanceof OpenAI.APIConnectionError)) counts.cutWithError += 1;
      else failed(error);
    }
  };
  const caller = async (ask) => {
    const at = client();
    while (performance.now() < until) await ask(at);
  };
  await Promise.all([whole, stream, whole, stream, whole, stream].map(caller));
  console.log(JSON.stringify({ load: counts, failures }));
}

await (mode === 'checks' ? check() : load());
