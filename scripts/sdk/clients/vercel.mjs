// Vercel's `ai` SDK with its providers for four formats: one program, four ways to say it.

const PROVIDERS = {
  'responses-vercel': {
    make: (load, config) => load('@ai-sdk/openai').createOpenAI({ baseURL: `${config.base}/v1`, apiKey: config.key }),
    options: (scenario) => ({ openai: { store: false, forceReasoning: Boolean(scenario.thinking), ...(scenario.thinking && { reasoningEffort: 'low', reasoningSummary: 'auto', include: ['reasoning.encrypted_content'] }) } }),
  },
  'chat-vercel': {
    make: (load, config) => load('@ai-sdk/openai-compatible').createOpenAICompatible({ name: 'gateway', baseURL: `${config.base}/v1`, apiKey: config.key, includeUsage: true, supportsStructuredOutputs: true }),
    options: (scenario) => (scenario.thinking ? { gateway: { reasoningEffort: 'low' } } : {}),
  },
  'anthropic-vercel': {
    make: (load, config) => load('@ai-sdk/anthropic').createAnthropic({ baseURL: `${config.base}/v1`, apiKey: config.key }),
    options: (scenario) => (scenario.thinking ? { anthropic: { thinking: { type: 'enabled', budgetTokens: 1024 } } } : {}),
  },
  'gemini-vercel': {
    make: (load, config) => load('@ai-sdk/google').createGoogleGenerativeAI({ baseURL: `${config.base}/v1beta`, apiKey: config.key }),
    options: (scenario) => (scenario.thinking ? { google: { thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } } } : {}),
  },
};

export const vercel = (name) => (load, config) => {
  const ai = load('ai');
  const provider = PROVIDERS[name].make(load, config);
  const { tools: TOOLS } = config.data;
  const format = name.split('-')[0];

  function output({ text, images, error }) {
    if (images) return { type: 'content', value: [{ type: 'text', text }, ...images.map((image) => ({ type: 'file', data: { type: 'data', data: image.data }, mediaType: image.mime }))] };
    return { type: error ? 'error-text' : 'text', value: text };
  }

  const answered = (id, toolName, result) => ({ type: 'tool-result', toolCallId: id, toolName, output: output(result) });

  function part(block) {
    switch (block.kind) {
      case 'text': return { type: 'text', text: block.text };
      case 'image': return { type: 'file', data: block.data, mediaType: block.mime };
      case 'image_url': return { type: 'file', data: new URL(config.picture), mediaType: 'image/png' };
      case 'pdf': return { type: 'file', data: block.data, mediaType: 'application/pdf', filename: `${block.name}.pdf` };
      default: return { type: 'tool-call', toolCallId: block.id, toolName: block.name, input: block.args };
    }
  }

  function messages({ role, blocks }) {
    if (role === 'system') return [{ role, content: blocks[0].text }];
    const results = blocks.filter((block) => block.kind === 'result').map((block) => answered(block.id, block.name, block));
    const said = blocks.filter((block) => block.kind !== 'result').map(part);
    return [...(results.length ? [{ role: 'tool', content: results }] : []), ...(said.length ? [{ role, content: said }] : [])];
  }

  async function show(answer, seen) {
    const usage = await answer.usage;
    Object.assign(seen, {
      text: await answer.text, thinking: (await answer.reasoningText) ?? '', finish: await answer.finishReason,
      calls: (await answer.toolCalls).map((call) => ({ id: call.toolCallId, name: call.toolName, args: call.input })),
      raw: (await answer.response).messages ?? (await answer.responseMessages),
      usage: {
        input: usage.inputTokens ?? 0, output: usage.outputTokens ?? 0,
        cached: usage.inputTokenDetails.cacheReadTokens ?? 0, reasoning: usage.outputTokenDetails.reasoningTokens ?? 0,
      },
    });
  }

  function failure(error) {
    const wait = error.responseHeaders?.['retry-after'] ?? /"retryDelay":\s*"([0-9.]+)s"/.exec(error.responseBody ?? '')?.[1] ?? null;
    return { class: error.constructor.name, status: error.statusCode ?? null, message: String(error.message ?? error).slice(0, 300), wait };
  }

  function without(scenario) {
    if (scenario.count || scenario.marks) return 'this SDK has no words for it';
    if (format !== 'responses' && format !== 'chat' && scenario.messages.some((message) => message.role === 'system')) return 'no system messages in a conversation';
    if (['chat', 'gemini'].includes(format) && scenario.name === 'image-url') return 'this SDK fetches by itself, and not from here';
    if (format === 'gemini' && scenario.name === 'tool-error') return 'this SDK has no word for an error';
    if (format === 'gemini' && scenario.name === 'tool-image') return 'this SDK adds words of its own';
    if (format === 'chat' && scenario.results.some((result) => result.images)) return 'no pictures in tool messages';
    if (format === 'responses' && scenario.name === 'stop-sequence') return 'no stop sequences';
    return null;
  }

  return {
    name, format, vocabulary: 'vercel', failure, without,
    begin(scenario, model) {
      const request = { model: provider(model), messages: scenario.messages.flatMap(messages), maxRetries: 0, allowSystemInMessages: true, providerOptions: PROVIDERS[name].options(scenario) };
      for (const [ours, theirs] of Object.entries({ max_tokens: 'maxOutputTokens', temperature: 'temperature', top_p: 'topP', stop: 'stopSequences', system: 'instructions' })) {
        if (ours in scenario) request[theirs] = scenario[ours];
      }
      if (scenario.tools.length) {
        request.tools = Object.fromEntries(scenario.tools.map((tool) => [tool, ai.tool({ description: TOOLS[tool].description, inputSchema: ai.jsonSchema(TOOLS[tool].schema) })]));
      }
      if (scenario.choice) request.toolChoice = { any: 'required', none: 'none' }[scenario.choice] ?? { type: 'tool', toolName: scenario.choice };
      if (scenario.schema) request.output = ai.Output.object({ schema: ai.jsonSchema(scenario.schema), name: 'city' });
      return request;
    },
    async ask(request, stream, seen) {
      if (!stream) return show(await ai.generateText(request), seen);
      const answer = ai.streamText({ ...request, onError() {} });
      for await (const event of answer.stream) {
        if (event.type === 'text-delta') seen.text += event.text;
        if (event.type === 'error') throw event.error instanceof Error ? event.error : new StreamFailed(JSON.stringify(event.error));
      }
      return show(answer, seen);
    },
    follow(request, seen, results) {
      const content = seen.calls.map((call, index) => answered(call.id, call.name, results[index]));
      return { ...request, messages: [...request.messages, ...seen.raw, { role: 'tool', content }] };
    },
  };
};

class StreamFailed extends Error {}
