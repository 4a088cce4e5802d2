// Anthropic's client for Node; streams through its helper, which accumulates blocks.

import { failure } from './openai.mjs';

export function messages(load, config) {
  const Anthropic = load('@anthropic-ai/sdk');
  const client = new (Anthropic.default ?? Anthropic)({ baseURL: config.base, apiKey: config.key, maxRetries: 0, timeout: 60_000 });
  const { tools: TOOLS } = config.data;

  function result(id, { text, images = [], error }) {
    // This format has no empty text.
    const content = [...(text ? [{ type: 'text', text }] : []), ...images.map(block)];
    return { type: 'tool_result', tool_use_id: id, content, ...(error && { is_error: true }) };
  }

  function block(one) {
    const bytes = (media_type) => ({ type: 'base64', media_type, data: one.data });
    switch (one.kind) {
      case 'text': return { type: 'text', text: one.text };
      case 'image': return { type: 'image', source: bytes(one.mime) };
      case 'image_url': return { type: 'image', source: { type: 'url', url: config.picture } };
      case 'pdf': return { type: 'document', title: one.name, source: bytes('application/pdf') };
      case 'call': return { type: 'tool_use', id: one.id, name: one.name, input: one.args };
      default: return result(one.id, one);
    }
  }

  function show(answer, seen) {
    const of = (type) => answer.content.filter((inner) => inner.type === type);
    const { usage } = answer;
    Object.assign(seen, {
      text: of('text').map((inner) => inner.text).join(''), thinking: of('thinking').map((inner) => inner.thinking).join(''),
      calls: of('tool_use').map(({ id, name, input }) => ({ id, name, args: input })),
      finish: answer.stop_reason, stopped_by: answer.stop_sequence, raw: answer.content,
      usage: { input: usage.input_tokens, output: usage.output_tokens, cached: usage.cache_read_input_tokens ?? 0, written: usage.cache_creation_input_tokens ?? 0 },
    });
  }

  return {
    name: 'anthropic-node', format: 'anthropic', failure,
    without: () => null,
    begin(scenario, model) {
      const request = {
        model, max_tokens: scenario.max_tokens ?? 4096,
        messages: scenario.messages.map(({ role, blocks }) => ({ role, content: blocks.map(block) })),
      };
      for (const [ours, theirs] of Object.entries({ temperature: 'temperature', top_p: 'top_p', system: 'system', stop: 'stop_sequences' })) {
        if (ours in scenario) request[theirs] = scenario[ours];
      }
      if (scenario.tools.length) {
        request.tools = scenario.tools.map((name) => ({ name, description: TOOLS[name].description, input_schema: TOOLS[name].schema }));
      }
      if (scenario.choice) request.tool_choice = ['any', 'none'].includes(scenario.choice) ? { type: scenario.choice } : { type: 'tool', name: scenario.choice };
      if (scenario.schema) request.output_config = { format: { type: 'json_schema', schema: scenario.schema } };
      if (scenario.marks) {
        const mark = { cache_control: { type: 'ephemeral' } };
        request.system = [{ type: 'text', text: scenario.system, ...mark }];
        Object.assign(request.messages.at(-1).content.at(-1), mark);
      }
      if (scenario.thinking) request.thinking = { type: 'enabled', budget_tokens: 1024 };
      return request;
    },
    async count({ model, messages: turns }, _, seen) {
      seen.usage = { input: (await client.messages.countTokens({ model, messages: turns })).input_tokens };
    },
    async ask(request, stream, seen) {
      const beta = request.messages.some((message) => message.role === 'system');
      const options = beta ? { headers: { 'anthropic-beta': 'mid-conversation-system-2026-04-07' } } : {};
      if (!stream) return show(await client.messages.create(request, options), seen);
      const helper = client.messages.stream(request, options);
      helper.on('text', (piece) => { seen.text += piece; });
      return show(await helper.finalMessage(), seen);
    },
    follow(request, seen, results) {
      const answers = seen.calls.map((call, index) => result(call.id, results[index]));
      return { ...request, messages: [...request.messages, { role: 'assistant', content: seen.raw }, { role: 'user', content: answers }] };
    },
  };
}
