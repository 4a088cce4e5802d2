"""Cohere's client: it speaks to the scripted provider alone, and proves that part of it."""

import json

import cohere

from scenarios import TOOLS


class Cohere:
    name, format = "cohere-python", "cohere"

    def __init__(self, config):
        self.picture = config["picture"]
        self.at = cohere.ClientV2(api_key=config["key"], base_url=config["base"], timeout=60)

    def failure(self, error):
        return {"class": type(error).__name__, "status": getattr(error, "status_code", None), "message": str(error)[:300],
                "wait": (getattr(error, "headers", None) or {}).get("retry-after")}

    def without(self, scenario):
        kinds = {block["kind"] for message in scenario["messages"] for block in message["blocks"]}
        if "pdf" in kinds or any(result.get("images") for result in scenario["results"]):
            return "pictures from the user only, and no files"
        return None

    def begin(self, scenario, model):
        names = {"max_tokens": "max_tokens", "temperature": "temperature", "top_p": "p", "stop": "stop_sequences"}
        request = {"model": model, "messages": [], **{name: scenario[ours] for ours, name in names.items() if ours in scenario}}
        if scenario.get("system"):
            request["messages"].append({"role": "system", "content": scenario["system"]})
        for message in scenario["messages"]:
            request["messages"] += self.messages(message)
        if scenario["tools"]:
            request["tools"] = [{"type": "function", "function": {
                "name": name, "description": TOOLS[name]["description"], "parameters": TOOLS[name]["schema"]}} for name in scenario["tools"]]
        if "choice" in scenario:
            request["tool_choice"] = "NONE" if scenario["choice"] == "none" else "REQUIRED"
        if "schema" in scenario:
            request["response_format"] = {"type": "json_object", "schema": scenario["schema"]}
        if scenario.get("thinking"):
            request["thinking"] = {"type": "enabled", "token_budget": 1024}
        # This SDK retries by itself, which would double what is recorded.
        return {**request, "request_options": {"max_retries": 0}}

    def messages(self, message):
        blocks = message["blocks"]
        out = [{"role": "tool", "tool_call_id": block["id"], "content": block["text"]} for block in blocks if block["kind"] == "result"]
        said = [self.part(block) for block in blocks if block["kind"] not in ("result", "call")]
        calls = [{"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": json.dumps(block["args"])}}
                 for block in blocks if block["kind"] == "call"]
        turn = {"role": message["role"], **({"content": said} if said else {}), **({"tool_calls": calls} if calls else {})}
        return out + ([turn] if said or calls else [])

    def part(self, block):
        if block["kind"] == "text":
            return {"type": "text", "text": block["text"]}
        url = self.picture if block["kind"] == "image_url" else f"data:{block['mime']};base64,{block['data']}"
        return {"type": "image_url", "image_url": {"url": url}}

    def ask(self, request, stream, seen):
        if stream:
            return self.collect(self.at.chat_stream(**request), seen)
        answer = self.at.chat(**request)
        message = answer.message
        seen |= {"finish": answer.finish_reason, "usage": usage(answer.usage), "text": message.tool_plan or ""}
        for part in message.content or []:
            seen["thinking" if part.type == "thinking" else "text"] += part.thinking if part.type == "thinking" else part.text
        seen["calls"] = [{"id": call.id, "name": call.function.name, "args": json.loads(call.function.arguments)} for call in message.tool_calls or []]

    def collect(self, events, seen):
        calls = []
        for event in events:
            if event.type == "content-delta":
                content = event.delta.message.content
                seen["text"] += content.text or ""
                seen["thinking"] += content.thinking or ""
            elif event.type == "tool-plan-delta":
                seen["text"] += event.delta.message.tool_plan
            elif event.type == "tool-call-start":
                call = event.delta.message.tool_calls
                calls.append({"id": call.id, "name": call.function.name, "args": call.function.arguments or ""})
            elif event.type == "tool-call-delta":
                calls[event.index]["args"] += event.delta.message.tool_calls.function.arguments
            elif event.type == "message-end":
                if event.delta.error:
                    raise StreamFailed(event.delta.error)
                seen |= {"finish": event.delta.finish_reason, "usage": usage(event.delta.usage)}
        seen["calls"] = [{**call, "args": json.loads(call["args"])} for call in calls]

    def follow(self, request, seen, results):
        calls = [{"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": json.dumps(call["args"])}} for call in seen["calls"]]
        turn = {"role": "assistant", "tool_calls": calls, **({"tool_plan": seen["text"]} if seen["text"] else {})}
        answers = [{"role": "tool", "tool_call_id": call["id"], "content": result["text"]} for call, result in zip(seen["calls"], results)]
        return {**request, "messages": [*request["messages"], turn, *answers]}


class StreamFailed(Exception):
    """The stream ended with an error of the service's own."""


def usage(figures):
    return {"input": int(figures.tokens.input_tokens), "output": int(figures.tokens.output_tokens)}
