"""Anthropic's client; streams through its helper, which accumulates blocks."""

import anthropic

from clients.chat import failure
from scenarios import TOOLS


class Messages:
    name, format = "anthropic-python", "anthropic"

    def __init__(self, config):
        self.picture = config["picture"]
        self.at = anthropic.Anthropic(base_url=config["base"], api_key=config["key"], max_retries=0, timeout=60)

    failure = staticmethod(failure)

    def without(self, scenario):
        return None

    def begin(self, scenario, model):
        request = {"model": model, "max_tokens": scenario.get("max_tokens", 4096), "messages": [
            {"role": message["role"], "content": [self.block(block) for block in message["blocks"]]} for message in scenario["messages"]]}
        names = {"system": "system", "stop": "stop_sequences"}
        request |= {name: scenario[ours] for ours, name in names.items() if ours in scenario}
        # Not among the parameters of this SDK any more; older versions and other models have them.
        sampling = {name: scenario[name] for name in ("temperature", "top_p") if name in scenario}
        request |= {"extra_body": sampling} if sampling else {}
        if any(message["role"] == "system" for message in scenario["messages"]):
            request["extra_headers"] = {"anthropic-beta": "mid-conversation-system-2026-04-07"}
        if scenario["tools"]:
            request["tools"] = [{"name": name, "description": TOOLS[name]["description"], "input_schema": TOOLS[name]["schema"]} for name in scenario["tools"]]
        if "choice" in scenario:
            kinds = ("any", "none")
            request["tool_choice"] = {"type": scenario["choice"]} if scenario["choice"] in kinds else {"type": "tool", "name": scenario["choice"]}
        if "schema" in scenario:
            request["output_config"] = {"format": {"type": "json_schema", "schema": scenario["schema"]}}
        if "marks" in scenario:
            mark = {"cache_control": {"type": "ephemeral"}}
            request["system"] = [{"type": "text", "text": scenario["system"], **mark}]
            request["messages"][-1]["content"][-1] |= mark
        if scenario.get("thinking"):
            request["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        return request

    def count(self, request, _, seen):
        seen["usage"] = {"input": self.at.messages.count_tokens(model=request["model"], messages=request["messages"]).input_tokens}

    def block(self, block):
        kind = block["kind"]
        if kind == "text":
            return {"type": "text", "text": block["text"]}
        if kind == "image":
            return {"type": "image", "source": {"type": "base64", "media_type": block["mime"], "data": block["data"]}}
        if kind == "image_url":
            return {"type": "image", "source": {"type": "url", "url": self.picture}}
        if kind == "pdf":
            return {"type": "document", "title": block["name"], "source": {"type": "base64", "media_type": "application/pdf", "data": block["data"]}}
        if kind == "call":
            return {"type": "tool_use", "id": block["id"], "name": block["name"], "input": block["args"]}
        return self.result(block["id"], block)

    def result(self, ident, result):
        # This format has no empty text.
        said = [{"type": "text", "text": result["text"]}] if result["text"] else []
        content = [*said, *(self.block(image) for image in result.get("images") or [])]
        failed = {"is_error": True} if result.get("error") else {}
        return {"type": "tool_result", "tool_use_id": ident, "content": content, **failed}

    def ask(self, request, stream, seen):
        if not stream:
            return self.show(self.at.messages.create(**request), seen)
        stopped = False
        with self.at.messages.stream(**request) as events:
            for event in events:
                seen["text"] += event.text if event.type == "text" else ""
                stopped = stopped or event.type == "message_stop"
            answer = events.get_final_message()
        assert stopped, "no message_stop"
        streamed = seen["text"]
        self.show(answer, seen)
        assert seen["text"] == streamed, "the deltas are not the final text"

    def show(self, answer, seen):
        assert answer.type == "message" and answer.role == "assistant", answer
        figures = answer.usage
        seen |= {
            "text": "".join(block.text for block in answer.content if block.type == "text"),
            "thinking": "".join(block.thinking for block in answer.content if block.type == "thinking"),
            "calls": [{"id": block.id, "name": block.name, "args": block.input} for block in answer.content if block.type == "tool_use"],
            "finish": answer.stop_reason, "stopped_by": answer.stop_sequence, "raw": [block.model_dump(exclude_none=True) for block in answer.content],
            "usage": {"input": figures.input_tokens, "output": figures.output_tokens, "cached": figures.cache_read_input_tokens or 0,
                      "written": figures.cache_creation_input_tokens or 0}}

    def follow(self, request, seen, results):
        answers = [self.result(call["id"], result) for call, result in zip(seen["calls"], results)]
        turns = [{"role": "assistant", "content": seen["raw"]}, {"role": "user", "content": answers}]
        return {**request, "messages": [*request["messages"], *turns]}
