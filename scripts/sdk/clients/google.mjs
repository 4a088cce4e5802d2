// Google's client for Node.

export function generate(load, config) {
  const { GoogleGenAI } = load('@google/genai');
  const client = new GoogleGenAI({ apiKey: config.key, httpOptions: { baseUrl: config.base, timeout: 60_000 } });
  const { tools: TOOLS } = config.data;

  function result(id, { name, text, images, error }) {
    const parts = images?.map((image) => ({ inlineData: { mimeType: image.mime, data: image.data } }));
    return { functionResponse: { ...(id && { id }), name, response: { [error ? 'error' : 'result']: text }, ...(parts && { parts }) } };
  }

  function part(block) {
    switch (block.kind) {
      case 'text': return { text: block.text };
      case 'image_url': return { fileData: { fileUri: config.picture, mimeType: 'image/png' } };
      case 'call': return { functionCall: { name: block.name, args: block.args } };
      case 'result': return result(null, block);
      default: return { inlineData: { mimeType: block.mime ?? 'application/pdf', data: block.data } };
    }
  }

  // An answer, or a chunk of one: parts are appended, the last numbers count.
  function show(answer, seen) {
    const figures = answer.usageMetadata;
    if (figures) {
      seen.usage = {
        input: figures.promptTokenCount ?? 0, output: figures.candidatesTokenCount ?? 0, total: figures.totalTokenCount ?? 0,
        cached: figures.cachedContentTokenCount ?? 0, reasoning: figures.thoughtsTokenCount ?? 0,
      };
    }
    seen.raw ??= [];
    seen.finish = answer.promptFeedback?.blockReason ?? seen.finish;
    for (const candidate of answer.candidates ?? []) {
      seen.finish = candidate.finishReason ?? seen.finish;
      for (const item of candidate.content?.parts ?? []) {
        seen.raw.push(item);
        if (item.functionCall) seen.calls.push({ id: item.functionCall.id ?? null, name: item.functionCall.name, args: item.functionCall.args ?? {} });
        seen[item.thought ? 'thinking' : 'text'] += item.text ?? '';
      }
    }
  }

  // This client's errors hold the body as text and no headers.
  function failure(error) {
    const found = /"retryDelay":\s*"([0-9.]+)s"/.exec(error.message ?? '');
    return { class: error.constructor.name, status: error.status ?? null, message: String(error.message).slice(0, 300), wait: found?.[1] ?? null };
  }

  return {
    name: 'gemini-node', format: 'gemini', failure,
    without: (scenario) => (scenario.messages.some((message) => message.role === 'system') ? 'no system messages in a conversation' : null),
    begin(scenario, model) {
      const settings = {};
      for (const [ours, theirs] of Object.entries({ max_tokens: 'maxOutputTokens', temperature: 'temperature', top_p: 'topP', stop: 'stopSequences', system: 'systemInstruction' })) {
        if (ours in scenario) settings[theirs] = scenario[ours];
      }
      if (scenario.tools.length) {
        settings.tools = [{ functionDeclarations: scenario.tools.map((name) => ({ name, description: TOOLS[name].description, parametersJsonSchema: TOOLS[name].schema })) }];
      }
      if (scenario.choice) {
        const named = TOOLS[scenario.choice] && { allowedFunctionNames: [scenario.choice] };
        settings.toolConfig = { functionCallingConfig: { mode: scenario.choice === 'none' ? 'NONE' : 'ANY', ...named } };
      }
      if (scenario.schema) Object.assign(settings, { responseMimeType: 'application/json', responseJsonSchema: scenario.schema });
      if (scenario.thinking) settings.thinkingConfig = { includeThoughts: true, thinkingBudget: 1024 };
      const contents = scenario.messages.map(({ role, blocks }) => ({ role: role === 'assistant' ? 'model' : 'user', parts: blocks.map(part) }));
      return { model, contents, config: settings };
    },
    async count({ model, contents }, _, seen) {
      seen.usage = { input: (await client.models.countTokens({ model, contents })).totalTokens };
    },
    async ask(request, stream, seen) {
      if (!stream) return show(await client.models.generateContent(request), seen);
      for await (const chunk of await client.models.generateContentStream(request)) show(chunk, seen);
      return undefined;
    },
    follow(request, seen, results) {
      const kept = seen.raw.filter((item) => item.text !== '' || item.thoughtSignature);
      const answers = seen.calls.map((call, index) => result(call.id, results[index]));
      return { ...request, contents: [...request.contents, { role: 'model', parts: kept }, { role: 'user', parts: answers }] };
    },
  };
}
