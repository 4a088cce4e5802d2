"""Google's client."""

import base64

from google import genai
from google.genai import errors, types

from scenarios import TOOLS


class GenAi:
    name, format = "gemini-python", "gemini"

    def __init__(self, config):
        self.picture = config["picture"]
        self.at = genai.Client(api_key=config["key"], http_options=types.HttpOptions(base_url=config["base"], timeout=60_000))

    def failure(self, error):
        wait = None
        if isinstance(error, errors.APIError):
            details = ((error.details or {}).get("error") or {}).get("details") or [] if isinstance(error.details, dict) else []
            wait = next((detail["retryDelay"].rstrip("s") for detail in details if "retryDelay" in detail), None)
            wait = wait or getattr(error.response, "headers", {}).get("retry-after")
        return {"class": type(error).__name__, "status": getattr(error, "code", None), "message": str(error)[:300], "wait": wait}

    def without(self, scenario):
        return "no system messages in a conversation" if any(message["role"] == "system" for message in scenario["messages"]) else None

    def begin(self, scenario, model):
        names = {"max_tokens": "max_output_tokens", "temperature": "temperature", "top_p": "top_p", "stop": "stop_sequences", "system": "system_instruction"}
        config = {name: scenario[ours] for ours, name in names.items() if ours in scenario}
        if scenario["tools"]:
            config["tools"] = [types.Tool(function_declarations=[types.FunctionDeclaration(
                name=name, description=TOOLS[name]["description"], parameters_json_schema=TOOLS[name]["schema"]) for name in scenario["tools"]])]
            config["automatic_function_calling"] = types.AutomaticFunctionCallingConfig(disable=True)
        if "choice" in scenario:
            mode = {"none": "NONE"}.get(scenario["choice"], "ANY")
            names = [scenario["choice"]] if scenario["choice"] in TOOLS else None
            config["tool_config"] = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode=mode, allowed_function_names=names))
        if "schema" in scenario:
            config |= {"response_mime_type": "application/json", "response_json_schema": scenario["schema"]}
        if scenario.get("thinking"):
            config["thinking_config"] = types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
        contents = [types.Content(role="model" if message["role"] == "assistant" else "user", parts=[self.part(block) for block in message["blocks"]])
                    for message in scenario["messages"]]
        return {"model": model, "contents": contents, "config": types.GenerateContentConfig(**config)}

    def count(self, request, _, seen):
        seen["usage"] = {"input": self.at.models.count_tokens(model=request["model"], contents=request["contents"]).total_tokens}

    def part(self, block):
        kind = block["kind"]
        if kind == "text":
            return types.Part(text=block["text"])
        if kind == "image_url":
            return types.Part.from_uri(file_uri=self.picture, mime_type="image/png")
        if kind == "call":
            return types.Part.from_function_call(name=block["name"], args=block["args"])
        if kind == "result":
            return self.result(None, block)
        return types.Part.from_bytes(data=base64.b64decode(block["data"]), mime_type=block.get("mime", "application/pdf"))

    def result(self, ident, result):
        pictures = [types.FunctionResponsePart(inline_data=types.FunctionResponseBlob(mime_type=image["mime"], data=base64.b64decode(image["data"])))
                    for image in result.get("images") or []]
        response = {"error" if result.get("error") else "result": result["text"]}
        return types.Part(function_response=types.FunctionResponse(id=ident, name=result["name"], response=response, parts=pictures or None))

    def ask(self, request, stream, seen):
        if not stream:
            return self.show(self.at.models.generate_content(**request), seen)
        for chunk in self.at.models.generate_content_stream(**request):
            self.show(chunk, seen)

    def show(self, answer, seen):
        """An answer, or a chunk of one: parts are appended, the last numbers count."""
        figures = answer.usage_metadata
        if figures:
            seen["usage"] = {"input": figures.prompt_token_count or 0, "output": figures.candidates_token_count or 0, "total": figures.total_token_count or 0,
                             "cached": figures.cached_content_token_count or 0, "reasoning": figures.thoughts_token_count or 0}
        seen["raw"] = seen["raw"] or []
        if answer.prompt_feedback and answer.prompt_feedback.block_reason:
            seen["finish"] = answer.prompt_feedback.block_reason.value
        for candidate in answer.candidates or []:
            seen["finish"] = candidate.finish_reason.value if candidate.finish_reason else seen["finish"]
            for part in (candidate.content and candidate.content.parts) or []:
                seen["raw"].append(part)
                if part.function_call:
                    seen["calls"].append({"id": part.function_call.id, "name": part.function_call.name, "args": part.function_call.args or {}})
                seen["thinking" if part.thought else "text"] += part.text or ""

    def follow(self, request, seen, results):
        kept = [part for part in seen["raw"] if part.text != "" or part.thought_signature]
        answers = [self.result(call["id"], result) for call, result in zip(seen["calls"], results)]
        turns = [types.Content(role="model", parts=kept), types.Content(role="user", parts=answers)]
        return {**request, "contents": [*request["contents"], *turns]}
