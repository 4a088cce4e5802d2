"""OpenAI's client, Chat Completions."""

import json

import openai

from scenarios import TOOLS

LIMITS = ("max_tokens", "temperature", "top_p", "stop")


def failure(error):
    """The status is absent where the connection or the stream failed; so is the wait."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    return {"class": type(error).__name__, "status": getattr(error, "status_code", None), "message": str(error)[:300],
            "wait": headers.get("retry-after"), "kind": kind(error), "code": getattr(error, "code", None)}


def kind(error):
    """The type in the body: OpenAI's client lays it bare, Anthropic's hands over the body."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else {}
    return inner.get("type") if isinstance(inner, dict) else None


class Chat:
    name, format = "chat-python", "chat"

    def __init__(self, config):
        self.picture = config["picture"]
        self.at = openai.OpenAI(base_url=f"{config['base']}/v1", api_key=config["key"], max_retries=0, timeout=60)

    failure = staticmethod(failure)

    def without(self, scenario):
        if any(result.get("images") for result in scenario["results"]):
            return "no pictures in tool messages"
        return None

    def begin(self, scenario, model):
        request = {"model": model, "messages": [], **{name: scenario[name] for name in LIMITS if name in scenario}}
        if scenario.get("system"):
            request["messages"].append({"role": "system", "content": scenario["system"]})
        for message in scenario["messages"]:
            request["messages"] += self.messages(message)
        if scenario["tools"]:
            request["tools"] = [{"type": "function", "function": {
                "name": name, "description": TOOLS[name]["description"], "parameters": TOOLS[name]["schema"]}} for name in scenario["tools"]]
        if "choice" in scenario:
            named = {"type": "function", "function": {"name": scenario["choice"]}}
            request["tool_choice"] = {"any": "required", "none": "none"}.get(scenario["choice"], named)
        if "schema" in scenario:
            request["response_format"] = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": scenario["schema"]}}
        if scenario.get("thinking"):
            request["reasoning_effort"] = "low"
        return request

    def messages(self, message):
        blocks = message["blocks"]
        out = [{"role": "tool", "tool_call_id": block["id"], "content": block["text"]} for block in blocks if block["kind"] == "result"]
        calls = [{"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": json.dumps(block["args"])}}
                 for block in blocks if block["kind"] == "call"]
        said = [self.part(block) for block in blocks if block["kind"] not in ("result", "call")]
        # A plain string where nothing else is said, as most programs do.
        content = said[0]["text"] if len(said) == 1 and said[0]["type"] == "text" else said
        role = "developer" if message["role"] == "system" else message["role"]
        if said or calls:
            out.append({"role": role, "content": content or None, **({"tool_calls": calls} if calls else {})})
        return out

    def part(self, block):
        if block["kind"] == "text":
            return {"type": "text", "text": block["text"]}
        if block["kind"] == "pdf":
            return {"type": "file", "file": {"filename": f"{block['name']}.pdf", "file_data": f"data:application/pdf;base64,{block['data']}"}}
        url = self.picture if block["kind"] == "image_url" else f"data:{block['mime']};base64,{block['data']}"
        return {"type": "image_url", "image_url": {"url": url}}

    def ask(self, request, stream, seen):
        if stream:
            return self.collect(self.at.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}), seen)
        answer = self.at.chat.completions.create(**request)
        choice = answer.choices[0]
        message = choice.message
        seen |= {"text": message.content or "", "refusal": message.refusal or "", "thinking": getattr(message, "reasoning_content", None) or "",
                 "finish": choice.finish_reason, "usage": usage(answer.usage), "raw": message.model_dump(exclude_none=True),
                 "calls": [shown(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []]}

    def collect(self, stream, seen):
        """What a program does that accumulates by itself: pieces by index."""
        calls, extra = {}, {}
        for chunk in stream:
            assert chunk.object == "chat.completion.chunk", chunk
            seen["usage"] = usage(chunk.usage) if chunk.usage else seen["usage"]
            for choice in chunk.choices:
                delta = choice.delta
                seen["text"] += delta.content or ""
                seen["refusal"] += delta.refusal or ""
                seen["thinking"] += getattr(delta, "reasoning_content", None) or ""
                for detail in getattr(delta, "reasoning_details", None) or []:
                    extra.setdefault("reasoning_details", []).append(detail)
                for piece in delta.tool_calls or []:
                    call = calls.setdefault(piece.index, {"id": None, "name": "", "arguments": ""})
                    assert not (piece.id and call["id"]), "an id came twice"
                    call["id"] = call["id"] or piece.id
                    call["name"] += piece.function.name or ""
                    call["arguments"] += piece.function.arguments or ""
                assert not (choice.finish_reason and seen["finish"]), "two finish reasons"
                seen["finish"] = choice.finish_reason or seen["finish"]
        assert sorted(calls) == list(range(len(calls))), f"indices {sorted(calls)}"
        made = [{"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}} for call in calls.values()]
        seen["calls"] = [shown(call["id"], call["name"], call["arguments"]) for call in calls.values()]
        seen["raw"] = {"role": "assistant", "content": seen["text"] or None, **({"tool_calls": made} if made else {}), **extra}

    def follow(self, request, seen, results):
        answers = [{"role": "tool", "tool_call_id": call["id"], "content": result["text"]} for call, result in zip(seen["calls"], results)]
        return {**request, "messages": [*request["messages"], seen["raw"], *answers]}


def shown(ident, name, arguments):
    return {"id": ident, "name": name, "args": json.loads(arguments)}


def usage(figures):
    prompt, completion = figures.prompt_tokens_details, figures.completion_tokens_details
    return {"input": figures.prompt_tokens, "output": figures.completion_tokens, "total": figures.total_tokens,
            "cached": (prompt and prompt.cached_tokens) or 0, "reasoning": (completion and completion.reasoning_tokens) or 0}
