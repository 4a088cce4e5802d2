"""Gemini's generateContent, and streamGenerateContent with `alt=sse` and as one array."""

import json
import re

from formats.common import Seen, based, known, line_end, need, sse, strewn, typed
from scenarios import SIGNATURE

CONTENT_TYPE = "text/event-stream"
SILENT = 0
TOP = "contents systemInstruction tools toolConfig generationConfig safetySettings cachedContent labels serviceTier store model"
CONFIG = """temperature topP topK maxOutputTokens candidateCount stopSequences seed presencePenalty frequencyPenalty responseMimeType
responseSchema responseJsonSchema responseLogprobs logprobs responseModalities speechConfig mediaResolution thinkingConfig"""
DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult")
SCHEMA = """type format title description nullable enum items minItems maxItems properties required minProperties maxProperties
minLength maxLength pattern minimum maximum example default anyOf propertyOrdering"""
TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
# What the service publishes for calls that another model made.
SKIP = ("context_engineering_is_the_way_to_go", "skip_thought_signature_validator")
FINISH = {"stop": "STOP", "tool": "STOP", "length": "MAX_TOKENS", "stop_sequence": "STOP", "refusal": "SAFETY", "filter": "SAFETY"}
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 413: "INVALID_ARGUMENT",
          429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}


# Inside of these the names are the user's, not the protocol's.
OPAQUE = ("args", "response", "parametersJsonSchema", "responseJsonSchema", "labels")


def camel(value):
    """The service takes both spellings of its names, and some SDKs mix them."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, inner in value.items():
        ours = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        need(ours not in out, f"{ours}: given twice")
        if ours == "properties":
            out[ours] = {key: camel(schema) for key, schema in inner.items()}
        else:
            out[ours] = inner if ours in OPAQUE else camel(inner)
    return out


def read(body, headers, play):
    body = camel(body)
    need(headers.get("X-Goog-Api-Key") or headers.get("Authorization", "").startswith("Bearer "), "no key")
    known(body, TOP, "body")
    seen = Seen(stream=play["streaming"])
    if body.get("systemInstruction") is not None:
        known(body["systemInstruction"], "role parts", "systemInstruction")
        seen.system = [typed(part.get("text"), str, "systemInstruction.parts") for part in body["systemInstruction"]["parts"]]
    need(typed(body.get("contents"), list, "contents"), "contents is not specified")
    open_calls = []
    for index, content in enumerate(body["contents"]):
        open_calls = read_content(content, f"contents[{index}]", seen, open_calls, body["contents"][index - 1] if index else None)
    need(not open_calls, "function calls without responses")
    need(seen.messages[-1]["role"] == "user", "the last content must be the user's")
    read_tools(body, seen)
    read_settings(body, seen)
    if play["signs"]:
        check_signatures(body["contents"])
    return seen


def read_content(content, where, seen, waiting, before):
    known(content, "role parts", where)
    role, parts = content.get("role", "user"), content.get("parts")
    need(role in ("user", "model"), f"{where}: please use a valid role: user, model")
    need(typed(parts, list, f"{where}.parts"), f"{where}.parts: must not be empty")
    blocks, calls, answers = [], [], 0
    for number, item in enumerate(parts):
        blocks.append(part(item, f"{where}.parts[{number}]", waiting, calls))
        answers += "functionResponse" in item
    need(not calls or role == "model", f"{where}: a functionCall in a user content")
    if calls:
        need(before is not None and before.get("role", "user") == "user",
             f"{where}: function call turn comes immediately after a user turn or after a function response turn")
    if waiting or answers:
        need(answers == len(waiting), f"{where}: the number of function response parts ({answers}) is not that of the function call parts ({len(waiting)})")
    seen.add("assistant" if role == "model" else "user", blocks)
    return calls


def part(item, where, waiting, calls):
    known(item, " ".join(DATA) + " thought thoughtSignature videoMetadata mediaResolution", where)
    kinds = [kind for kind in DATA if kind in item]
    need(len(kinds) == 1, f"{where}: required oneof field 'data' must have one initialized field, has {kinds}")
    kind, data = kinds[0], item[kinds[0]]
    if kind == "text":
        words = typed(data, str, where)
        return {"kind": "thinking", "text": words, "signature": item.get("thoughtSignature")} if item.get("thought") else {"kind": "text", "text": words}
    if kind == "inlineData":
        known(data, "mimeType data displayName", where)
        # Both alphabets are taken here, and Google's own client for Python uses the one for URLs.
        data["data"] = based(str(data.get("data")).translate(str.maketrans("-_", "+/")), where)
        need("/" in (data.get("mimeType") or ""), f"{where}.inlineData.mimeType")
        return {"kind": "pdf", "data": data["data"]} if data["mimeType"] == "application/pdf" else {"kind": "image", "mime": data["mimeType"], "data": data["data"]}
    if kind == "fileData":
        need(re.match(r"https?://", known(data, "mimeType fileUri displayName", where).get("fileUri", "")), f"{where}.fileUri")
        return {"kind": "image_url", "url": data["fileUri"]}
    if kind == "functionCall":
        known(data, "name args id", where)
        check_name(data.get("name"), where)
        typed(data.get("args", {}), dict, f"{where}.args")
        calls.append(data)
        return {"kind": "call", "id": data.get("id"), "name": data["name"], "args": data.get("args", {}), "signature": item.get("thoughtSignature")}
    need(kind == "functionResponse", f"{where}: no {kind} here")
    return response_part(data, where, waiting)


def response_part(data, where, waiting):
    """Matched by id where both have one, else by name and order."""
    known(data, "name response id parts willContinue scheduling", where)
    typed(data.get("response"), dict, f"{where}.response")
    fits = [item for item in waiting if item["name"] == data.get("name") and not item.get("answered") and
            (not item.get("id") or not data.get("id") or item["id"] == data["id"])]
    need(fits, f"{where}: no open call {data.get('name')} {data.get('id')}")
    fits[0]["answered"] = True
    inner = data["response"]
    simple = next((inner[key] for key in ("result", "output", "content", "error") if key in inner and len(inner) == 1), None)
    pictures = [{"kind": "image", "mime": extra["inlineData"]["mimeType"], "data": extra["inlineData"]["data"]} for extra in data.get("parts") or []]
    return {"kind": "result", "name": data["name"], "args": fits[0].get("args", {}), "error": "error" in inner, "images": pictures,
            "text": simple if isinstance(simple, str) else json.dumps(inner, ensure_ascii=False)}


def check_name(name, where):
    need(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}", name or ""), f"{where}.name: {name}")


def check_signatures(contents):
    """A call of the current turn without its signature is refused by the models that sign."""
    begin = max(index for index, content in enumerate(contents)
                if content.get("role", "user") == "user" and not any("functionResponse" in item for item in content["parts"]))
    for content in contents[begin:]:
        first = next((item for item in content["parts"] if "functionCall" in item), None)
        if first is not None:
            signature = first.get("thoughtSignature")
            need(signature, f"Function call {first['functionCall']['name']} is missing a thought_signature")
            need(signature in (SIGNATURE, *SKIP), "Corrupted thought signature")


def check_schema(schema, where):
    """The subset of OpenAPI that `parameters` and `responseSchema` take."""
    typed(schema, dict, where)
    strangers = set(schema) - set(SCHEMA.split())
    need(not strangers, f'Invalid JSON payload received. Unknown name "{", ".join(sorted(strangers))}" at {where}')
    need(isinstance(schema.get("type", "string"), str) and schema.get("type", "string").lower() in TYPES, f"{where}.type: {schema.get('type')}")
    need(all(isinstance(value, str) for value in schema.get("enum") or []), f"{where}.enum: only strings")
    properties = schema.get("properties")
    if schema.get("type", "").lower() == "object":
        need(properties is None or properties, f"{where}.properties: should be non-empty for OBJECT type")
        need(set(schema.get("required") or []) <= set(properties or {}), f"{where}.required: property is not defined")
    need(schema.get("type", "").lower() != "array" or "items" in schema, f"{where}.items: missing field")
    for name, inner in (properties or {}).items():
        check_schema(inner, f"{where}.properties[{name}]")
    for number, inner in enumerate([*([schema["items"]] if "items" in schema else []), *(schema.get("anyOf") or [])]):
        check_schema(inner, f"{where}.{number}")


def read_tools(body, seen):
    for index, tool in enumerate(body.get("tools") or []):
        known(tool, "functionDeclarations googleSearch codeExecution urlContext", f"tools[{index}]")
        for number, declared in enumerate(tool.get("functionDeclarations") or []):
            where = f"tools[{index}].functionDeclarations[{number}]"
            known(declared, "name description parameters parametersJsonSchema behavior response responseJsonSchema", where)
            check_name(declared.get("name"), where)
            need("parameters" not in declared or "parametersJsonSchema" not in declared, f"{where}: parameters and parametersJsonSchema exclude each other")
            if "parameters" in declared:
                check_schema(declared["parameters"], f"{where}.parameters")
            seen.tools[declared["name"]] = declared.get("parameters") or declared.get("parametersJsonSchema") or {"type": "object", "properties": {}}
    calling = known(body.get("toolConfig") or {}, "functionCallingConfig retrievalConfig", "toolConfig").get("functionCallingConfig") or {}
    known(calling, "mode allowedFunctionNames", "functionCallingConfig")
    mode, names = calling.get("mode", "AUTO"), calling.get("allowedFunctionNames")
    need(mode in ("AUTO", "ANY", "NONE", "VALIDATED"), f"functionCallingConfig.mode: {mode}")
    need(not names or mode in ("ANY", "VALIDATED"), "allowedFunctionNames: only with mode ANY")
    need(set(names or []) <= set(seen.tools), "allowedFunctionNames: no such function")
    need(mode != "ANY" or seen.tools, "functionCallingConfig.mode ANY without functions")
    seen.choice = names[0] if names and len(names) == 1 else {"ANY": "any", "NONE": "none"}.get(mode, "auto")


def read_settings(body, seen):
    config = known(body.get("generationConfig") or {}, CONFIG, "generationConfig")
    need(0 <= (config.get("temperature") or 0) <= 2, "temperature: 0 to 2")
    need(len(config.get("stopSequences") or []) <= 5, "stopSequences: up to 5")
    need(config.get("candidateCount") in (None, 1), "candidateCount: one only here")
    thinking = known(config.get("thinkingConfig") or {}, "includeThoughts thinkingBudget thinkingLevel", "thinkingConfig")
    need(not ("thinkingBudget" in thinking and "thinkingLevel" in thinking), "thinkingBudget and thinkingLevel at once")
    seen.thinking = bool(thinking.get("thinkingBudget") or thinking.get("thinkingLevel") or thinking.get("includeThoughts"))
    seen.set(max_tokens=config.get("maxOutputTokens"), stop=config.get("stopSequences"), temperature=config.get("temperature"), top_p=config.get("topP"))
    if "responseSchema" in config:
        check_schema(config["responseSchema"], "generationConfig.responseSchema")
    seen.schema = config.get("responseSchema") or config.get("responseJsonSchema")
    need(not seen.schema or config.get("responseMimeType") == "application/json", "responseSchema needs responseMimeType application/json")


def usage(figures):
    out = {"promptTokenCount": figures["input"], "candidatesTokenCount": figures["output"] - figures["reasoning"],
           "totalTokenCount": figures["input"] + figures["output"], "promptTokensDetails": [{"modality": "TEXT", "tokenCount": figures["input"]}]}
    # The service leaves out what is zero.
    optional = {"cachedContentTokenCount": figures["cached"], "thoughtsTokenCount": figures["reasoning"]}
    return {**out, **{name: count for name, count in optional.items() if count}}


def said(answer, play, pieces):
    """Parts, the text in pieces; the signature sits on the first call, or on the last text."""
    out, signature = [], None
    for block in answer["blocks"]:
        if block["kind"] == "thinking":
            signature = block["signature"]
            out += [{"text": piece, "thought": True} for piece in pieces(block["text"]) if piece]
        elif block["kind"] == "text":
            out += [{"text": piece} for piece in pieces(block["text"]) or [""]]
        else:
            item = {"functionCall": {"name": block["name"], "args": block["args"]}}
            out.append({**item, "thoughtSignature": signature} if signature else item)
            signature = None
    return out


def candidate(parts, play, figures, ending=None):
    inner = {"index": 0, "content": {"role": "model", "parts": parts}, **({"finishReason": ending} if ending else {})}
    return {"candidates": [inner], "usageMetadata": usage(figures), "modelVersion": play["model"], "responseId": f"r{play['number']}"}


def is_blocked(answer):
    return answer["finish"] == "filter" and not any(block.get("text") for block in answer["blocks"])


def blocked(play, figures):
    """A prompt that is not answered at all has no candidate."""
    return {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage(figures), "modelVersion": play["model"], "responseId": f"r{play['number']}"}


def whole(answer, play):
    if is_blocked(answer):
        return blocked(play, answer["usage"])
    return candidate(said(answer, play, lambda words: [words]), play, answer["usage"], FINISH[answer["finish"]])


def frames(answer, play):
    if is_blocked(answer):
        return [], [sse(blocked(play, answer["usage"]), {"crlf": True})]
    early = {**answer["usage"], "output": answer["usage"]["reasoning"]}
    out = [candidate([item], play, early) for item in said(answer, play, play["pieces"])]
    end = [candidate([{"text": ""}], play, answer["usage"], FINISH[answer["finish"]])]
    if play.get("array"):
        rows = [json.dumps(item, ensure_ascii=False) for item in out + end]
        return [f"{'[' if number == 0 else ','}{row}{line_end(play)}".encode() for number, row in enumerate(rows)], [b"]"]
    out = strewn(play, out, {"usageMetadata": usage(early), "modelVersion": play["model"], "responseId": f"r{play['number']}"})
    # Google ends its lines with CRLF always.
    return [sse(item, {"crlf": True}) for item in out], [sse(item, {"crlf": True}) for item in end]


def error(status, message, wait=None):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait}s"}] if wait else []
    return {}, {"error": {"code": status, "message": message, "status": STATUS.get(status, "INTERNAL"), **({"details": details} if details else {})}}


def stream_error(message, play):
    return sse({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}}, {"crlf": True})
