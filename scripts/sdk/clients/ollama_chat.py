"""Ollama's client."""

import ollama

from scenarios import TOOLS


class Ollama:
    name, format = "ollama-python", "ollama"

    def __init__(self, config):
        self.at = ollama.Client(host=config["base"], headers={"Authorization": f"Bearer {config['key']}"}, timeout=60)

    def failure(self, error):
        return {"class": type(error).__name__, "status": getattr(error, "status_code", None), "message": str(error)[:300], "wait": None}

    def without(self, scenario):
        kinds = {block["kind"] for message in scenario["messages"] for block in message["blocks"]}
        if "choice" in scenario:
            return "no tool choice"
        if kinds & {"pdf", "image_url"} or any(result.get("images") for result in scenario["results"]):
            return "only pictures, as bytes, from the user"
        return None

    def begin(self, scenario, model):
        names = {"max_tokens": "num_predict", "temperature": "temperature", "top_p": "top_p", "stop": "stop"}
        request = {"model": model, "messages": [{"role": "system", "content": scenario["system"]}] if scenario.get("system") else []}
        for message in scenario["messages"]:
            request["messages"] += self.messages(message)
        options = {name: scenario[ours] for ours, name in names.items() if ours in scenario}
        request |= {"options": options} if options else {}
        if scenario["tools"]:
            request["tools"] = [{"type": "function", "function": {
                "name": name, "description": TOOLS[name]["description"], "parameters": TOOLS[name]["schema"]}} for name in scenario["tools"]]
        if "schema" in scenario:
            request["format"] = scenario["schema"]
        if scenario.get("thinking"):
            request["think"] = True
        return request

    def messages(self, message):
        blocks = message["blocks"]
        out = [{"role": "tool", "tool_name": block["name"], "content": block["text"]} for block in blocks if block["kind"] == "result"]
        said = {"role": message["role"], "content": "\n".join(block["text"] for block in blocks if block["kind"] == "text")}
        images = [block["data"] for block in blocks if block["kind"] == "image"]
        calls = [{"function": {"name": block["name"], "arguments": block["args"]}} for block in blocks if block["kind"] == "call"]
        said |= ({"images": images} if images else {}) | ({"tool_calls": calls} if calls else {})
        return out + ([said] if said["content"] or calls else [])

    def ask(self, request, stream, seen):
        ended = False
        for chunk in self.at.chat(**request, stream=True) if stream else [self.at.chat(**request)]:
            assert not ended, "a line after the last one"
            message, ended = chunk.message, chunk.done
            seen["text"] += message.content or ""
            seen["thinking"] += message.thinking or ""
            seen["calls"] += [{"id": None, "name": call.function.name, "args": dict(call.function.arguments)} for call in message.tool_calls or []]
            if ended:
                seen |= {"finish": chunk.done_reason, "usage": {"input": chunk.prompt_eval_count, "output": chunk.eval_count}}
        assert ended, "no line with done"

    def follow(self, request, seen, results):
        calls = [{"function": {"name": call["name"], "arguments": call["args"]}} for call in seen["calls"]]
        turn = {"role": "assistant", "content": seen["text"], "tool_calls": calls, **({"thinking": seen["thinking"]} if seen["thinking"] else {})}
        answers = [{"role": "tool", "tool_name": call["name"], "content": result["text"]} for call, result in zip(seen["calls"], results)]
        return {**request, "messages": [*request["messages"], turn, *answers]}
