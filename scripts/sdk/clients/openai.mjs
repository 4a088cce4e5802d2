// OpenAI's client for Node: Chat Completions and Responses, streams through its helpers, which check the order of events.

const pick = (scenario, names) =>
  Object.fromEntries(Object.entries(names).filter(([ours]) => ours in scenario).map(([ours, theirs]) => [theirs, scenario[ours]]));

export const failure = (error) => ({
  class: error.constructor.name,
  status: error.status ?? null,
  message: String(error.message).slice(0, 300),
  wait: error.headers?.get?.('retry-after') ?? null,
  // OpenAI's client lays the type bare, Anthropic's hands over the body.
  kind: error.error?.error?.type ?? error.error?.type ?? null,
  code: error.code ?? null,
});

const at = (load, config) =>
  new (load('openai'))({ baseURL: `${config.base}/v1`, apiKey: config.key, maxRetries: 0, timeout: 60_000 });

const dataUrl = (block, mime = block.mime) => `data:${mime};base64,${block.data}`;

export function chat(load, config) {
  const client = at(load, config);
  const { tools: TOOLS } = config.data;

  function part(block) {
    if (block.kind === 'text') return { type: 'text', text: block.text };
    if (block.kind === 'pdf') {
      return { type: 'file', file: { filename: `${block.name}.pdf`, file_data: dataUrl(block, 'application/pdf') } };
    }
    return { type: 'image_url', image_url: { url: block.kind === 'image_url' ? config.picture : dataUrl(block) } };
  }

  const made = (block) => ({
    id: block.id, type: 'function', function: { name: block.name, arguments: JSON.stringify(block.args) },
  });

  function messages({ role, blocks }) {
    const of = (kind) => blocks.filter((block) => block.kind === kind);
    const out = of('result').map((block) => ({ role: 'tool', tool_call_id: block.id, content: block.text }));
    const calls = of('call').map(made);
    const said = blocks.filter((block) => !['result', 'call'].includes(block.kind)).map(part);
    const content = said.length === 1 && said[0].type === 'text' ? said[0].text : said;
    if (said.length || calls.length) {
      out.push({ role: role === 'system' ? 'developer' : role, content: said.length ? content : null, ...(calls.length && { tool_calls: calls }) });
    }
    return out;
  }

  function show(answer, seen) {
    const [{ message, finish_reason }] = answer.choices;
    const { prompt_tokens_details: input, completion_tokens_details: output, ...usage } = answer.usage ?? {};
    Object.assign(seen, {
      text: message.content ?? '', refusal: message.refusal ?? '', finish: finish_reason, raw: message,
      thinking: seen.thinking || (message.reasoning_content ?? ''),
      calls: (message.tool_calls ?? []).map((call) => ({ id: call.id, name: call.function.name, args: JSON.parse(call.function.arguments) })),
      usage: answer.usage && {
        input: usage.prompt_tokens, output: usage.completion_tokens, total: usage.total_tokens,
        cached: input?.cached_tokens ?? 0, reasoning: output?.reasoning_tokens ?? 0,
      },
    });
  }

  return {
    name: 'chat-node', format: 'chat', failure,
    without: (scenario) => (scenario.results.some((result) => result.images) ? 'no pictures in tool messages' : null),
    begin(scenario, model) {
      const request = {
        model, messages: scenario.messages.flatMap(messages),
        ...pick(scenario, { max_tokens: 'max_completion_tokens', temperature: 'temperature', top_p: 'top_p', stop: 'stop' }),
      };
      if (scenario.system) request.messages.unshift({ role: 'system', content: scenario.system });
      if (scenario.tools.length) {
        request.tools = scenario.tools.map((name) => ({
          type: 'function', function: { name, description: TOOLS[name].description, parameters: TOOLS[name].schema },
        }));
      }
      if (scenario.choice) {
        request.tool_choice = { any: 'required', none: 'none' }[scenario.choice] ?? { type: 'function', function: { name: scenario.choice } };
      }
      if (scenario.schema) request.response_format = { type: 'json_schema', json_schema: { name: 'city', strict: true, schema: scenario.schema } };
      if (scenario.thinking) request.reasoning_effort = 'low';
      return request;
    },
    async ask(request, stream, seen) {
      if (!stream) return show(await client.chat.completions.create(request), seen);
      const helper = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
      for await (const chunk of helper) {
        const delta = chunk.choices[0]?.delta ?? {};
        seen.text += delta.content ?? '';
        seen.thinking += delta.reasoning_content ?? '';
      }
      return show(await helper.finalChatCompletion(), seen);
    },
    follow(request, seen, results) {
      const { role, content, tool_calls } = seen.raw;
      const said = { ...seen.raw, role, content, tool_calls: tool_calls.map(({ id, type, function: { name, arguments: args } }) => ({ id, type, function: { name, arguments: args } })) };
      for (const member of ['parsed', 'refusal', 'annotations']) delete said[member];
      const answers = seen.calls.map((call, index) => ({ role: 'tool', tool_call_id: call.id, content: results[index].text }));
      return { ...request, messages: [...request.messages, said, ...answers] };
    },
  };
}

export function responses(load, config) {
  const client = at(load, config);
  const { tools: TOOLS } = config.data;

  function part(block, role) {
    if (block.kind === 'text') return role === 'assistant' ? { type: 'output_text', text: block.text, annotations: [] } : { type: 'input_text', text: block.text };
    if (block.kind === 'pdf') return { type: 'input_file', filename: `${block.name}.pdf`, file_data: dataUrl(block, 'application/pdf') };
    return { type: 'input_image', detail: 'auto', image_url: block.kind === 'image_url' ? config.picture : dataUrl(block) };
  }

  function output(id, result) {
    const pictures = (result.images ?? []).map((image) => part(image, 'user'));
    return { type: 'function_call_output', call_id: id, output: pictures.length ? [{ type: 'input_text', text: result.text }, ...pictures] : result.text };
  }

  function items({ role, blocks }) {
    const said = blocks.filter((block) => !['result', 'call'].includes(block.kind)).map((block) => part(block, role));
    const spoken = said.length ? [{ type: 'message', role: role === 'system' ? 'developer' : role, content: said }] : [];
    const others = blocks.filter((block) => ['result', 'call'].includes(block.kind)).map((block) => block.kind === 'result'
      ? output(block.id, block)
      : { type: 'function_call', call_id: block.id, name: block.name, arguments: JSON.stringify(block.args) });
    return role === 'assistant' ? [...spoken, ...others] : [...others, ...spoken];
  }

  function show(answer, seen) {
    const reason = answer.incomplete_details?.reason;
    const of = (type) => answer.output.filter((item) => item.type === type);
    const content = (type) => of('message').flatMap((item) => item.content).filter((inner) => inner.type === type);
    const { usage } = answer;
    Object.assign(seen, {
      text: content('output_text').map((inner) => inner.text).join(''), refusal: content('refusal').map((inner) => inner.refusal).join(''),
      thinking: of('reasoning').map((item) => item.summary.map((inner) => inner.text).join('') || (item.content ?? []).map((inner) => inner.text).join('')).join(''),
      calls: of('function_call').map((item) => ({ id: item.call_id, name: item.name, args: JSON.parse(item.arguments) })),
      finish: reason ? `${answer.status}:${reason}` : answer.status, raw: answer.output,
      usage: usage && {
        input: usage.input_tokens, output: usage.output_tokens, total: usage.total_tokens,
        cached: usage.input_tokens_details.cached_tokens, reasoning: usage.output_tokens_details.reasoning_tokens,
      },
    });
  }

  return {
    name: 'responses-node', format: 'responses', failure,
    without: (scenario) => (scenario.name === 'stop-sequence' ? 'no stop sequences' : null),
    begin(scenario, model) {
      const request = {
        model, input: scenario.messages.flatMap(items), store: false,
        ...pick(scenario, { max_tokens: 'max_output_tokens', temperature: 'temperature', top_p: 'top_p', system: 'instructions' }),
      };
      if (scenario.tools.length) {
        request.tools = scenario.tools.map((name) => ({
          type: 'function', name, strict: false, description: TOOLS[name].description, parameters: TOOLS[name].schema,
        }));
      }
      if (scenario.choice) request.tool_choice = { any: 'required', none: 'none' }[scenario.choice] ?? { type: 'function', name: scenario.choice };
      if (scenario.schema) request.text = { format: { type: 'json_schema', name: 'city', strict: true, schema: scenario.schema } };
      if (scenario.thinking) Object.assign(request, { reasoning: { effort: 'low', summary: 'auto' }, include: ['reasoning.encrypted_content'] });
      return request;
    },
    async ask(request, stream, seen) {
      if (!stream) return show(await client.responses.create(request), seen);
      const helper = client.responses.stream(request);
      let ended = false;
      for await (const event of helper) {
        if (event.type === 'response.output_text.delta') seen.text += event.delta;
        if (event.type === 'response.failed') throw new StreamFailed(event.response.error?.message);
        ended ||= ['response.completed', 'response.incomplete'].includes(event.type);
      }
      if (!ended) throw new TypeError('no terminal event');
      return show(await helper.finalResponse(), seen);
    },
    follow(request, seen, results) {
      // What the helper adds for its own use is not sent back.
      const said = seen.raw.map(({ status, parsed_arguments, ...item }) => ({ ...item, ...(item.content && { content: item.content.map(({ parsed, ...inner }) => inner) }) }));
      return { ...request, input: [...request.input, ...said, ...seen.calls.map((call, index) => output(call.id, results[index]))] };
    },
  };
}

class StreamFailed extends Error {}
