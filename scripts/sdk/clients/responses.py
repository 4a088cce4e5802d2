"""OpenAI's client, Responses; streams through its helper, which checks the order of events."""

import json

import openai

from clients.chat import failure
from scenarios import TOOLS


class Responses:
    name, format = "responses-python", "responses"

    def __init__(self, config):
        self.picture = config["picture"]
        self.at = openai.OpenAI(base_url=f"{config['base']}/v1", api_key=config["key"], max_retries=0, timeout=60)

    failure = staticmethod(failure)

    def without(self, scenario):
        return "no stop sequences" if scenario["name"] == "stop-sequence" else None

    def begin(self, scenario, model):
        request = {"model": model, "input": [item for message in scenario["messages"] for item in self.items(message)], "store": False}
        if scenario["name"] == "plain":
            # The short way to say it.
            request["input"] = scenario["messages"][0]["blocks"][0]["text"]
        names = {"max_tokens": "max_output_tokens", "temperature": "temperature", "top_p": "top_p", "system": "instructions"}
        request |= {name: scenario[ours] for ours, name in names.items() if ours in scenario}
        if scenario["tools"]:
            request["tools"] = [{"type": "function", "name": name, "description": TOOLS[name]["description"], "strict": False,
                                 "parameters": TOOLS[name]["schema"]} for name in scenario["tools"]]
        if "choice" in scenario:
            named = {"type": "function", "name": scenario["choice"]}
            request["tool_choice"] = {"any": "required", "none": "none"}.get(scenario["choice"], named)
        if "schema" in scenario:
            request["text"] = {"format": {"type": "json_schema", "name": "city", "strict": True, "schema": scenario["schema"]}}
        if scenario.get("thinking"):
            request |= {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
        return request

    def items(self, message):
        out, said = [], []
        for block in message["blocks"]:
            if block["kind"] == "call":
                out.append({"type": "function_call", "call_id": block["id"], "name": block["name"], "arguments": json.dumps(block["args"])})
            elif block["kind"] == "result":
                out.append(self.output(block["id"], block))
            else:
                said.append(self.part(block, message["role"]))
        role = "developer" if message["role"] == "system" else message["role"]
        spoken = [{"type": "message", "role": role, "content": said}] if said else []
        # Results come before what the user says to them; the assistant speaks before it calls.
        return spoken + out if message["role"] == "assistant" else out + spoken

    def part(self, block, role):
        if block["kind"] == "text":
            return {"type": "output_text", "text": block["text"], "annotations": []} if role == "assistant" else {"type": "input_text", "text": block["text"]}
        if block["kind"] == "pdf":
            return {"type": "input_file", "filename": f"{block['name']}.pdf", "file_data": f"data:application/pdf;base64,{block['data']}"}
        url = self.picture if block["kind"] == "image_url" else f"data:{block['mime']};base64,{block['data']}"
        return {"type": "input_image", "image_url": url, "detail": "auto"}

    def output(self, ident, result):
        pictures = [self.part(image, "user") for image in result.get("images") or []]
        output = [{"type": "input_text", "text": result["text"]}, *pictures] if pictures else result["text"]
        return {"type": "function_call_output", "call_id": ident, "output": output}

    def ask(self, request, stream, seen):
        if not stream:
            return self.show(self.at.responses.create(**request), seen)
        numbers = []
        with self.at.responses.create(**request, stream=True) as events:
            final = None
            for event in events:
                numbers.append(event.sequence_number)
                seen["text"] += event.delta if event.type == "response.output_text.delta" else ""
                if event.type in ("response.completed", "response.incomplete"):
                    final = event.response
                if event.type in ("response.failed", "error"):
                    raise StreamFailed(str(getattr(event, "message", None) or event.response.error))
        assert numbers == sorted(set(numbers)), f"sequence numbers {numbers}"
        assert final is not None, "no terminal event"
        streamed = seen["text"]
        self.show(final, seen)
        assert seen["text"] == streamed, "the deltas are not the final text"

    def show(self, answer, seen):
        seen |= {"text": answer.output_text, "raw": [item.model_dump(exclude_none=True) for item in answer.output], "usage": usage(answer.usage)}
        reason = answer.incomplete_details.reason if answer.incomplete_details else None
        seen["finish"] = f"{answer.status}:{reason}" if reason else answer.status
        for item in answer.output:
            if item.type == "function_call":
                seen["calls"].append({"id": item.call_id, "name": item.name, "args": json.loads(item.arguments)})
            elif item.type == "reasoning":
                seen["thinking"] += "".join(part.text for part in item.summary) or "".join(part.text for part in item.content or [])
            elif item.type == "message":
                seen["refusal"] += "".join(part.refusal for part in item.content if part.type == "refusal")

    def follow(self, request, seen, results):
        raw = [{name: value for name, value in item.items() if name != "status"} for item in seen["raw"]]
        return {**request, "input": [*request["input"], *raw, *(self.output(call["id"], result) for call, result in zip(seen["calls"], results))]}


class StreamFailed(Exception):
    """The stream ended with a failure of the protocol's own."""


def usage(figures):
    return {"input": figures.input_tokens, "output": figures.output_tokens, "total": figures.total_tokens,
            "cached": figures.input_tokens_details.cached_tokens, "reasoning": figures.output_tokens_details.reasoning_tokens}
