"""Amazon Bedrock's Converse; its stream is binary: prelude, headers, payload, each under a CRC."""

import json
import re
import struct
import zlib

from formats.common import Calls, Seen, based, compact, halves, known, need, strewn, typed
from scenarios import REDACTED, SIGNATURE

CONTENT_TYPE = "application/vnd.amazon.eventstream"
SILENT = 1
TOP = """messages system inferenceConfig toolConfig guardrailConfig additionalModelRequestFields promptVariables
additionalModelResponseFieldPaths requestMetadata performanceConfig serviceTier outputConfig"""
ROLES = {"user": ("text", "image", "document", "toolResult", "cachePoint"), "assistant": ("text", "toolUse", "reasoningContent", "cachePoint")}
FINISH = {"stop": "end_turn", "tool": "tool_use", "length": "max_tokens", "stop_sequence": "stop_sequence", "refusal": "content_filtered", "filter": "content_filtered"}
KINDS = {400: "ValidationException", 401: "UnrecognizedClientException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
         413: "ValidationException", 429: "ThrottlingException", 500: "InternalServerException", 503: "ServiceUnavailableException"}


def read(body, headers, play):
    need(headers.get("Authorization"), "no authorization")
    known(body, TOP, "body")
    seen, calls = Seen(stream=play["streaming"]), Calls()
    for item in body.get("system") or []:
        known(item, "text cachePoint", "system")
        seen.system += [spoken_text(item, "system")] if "text" in item else []
    previous = None
    need(typed(body.get("messages"), list, "messages"), "messages: empty")
    for index, message in enumerate(body["messages"]):
        where = f"messages.{index}"
        role = known(message, "role content", where).get("role")
        need(role in ROLES, f"{where}.role: {role}")
        need(index or role == "user", "A conversation must start with a user message.")
        need(role != previous, "A conversation must alternate between user and assistant roles.")
        need(typed(message.get("content"), list, where), f"{where}.content: empty")
        read_message(message, where, seen, calls)
        previous = role
    calls.settled("messages")
    seen.marks = compact(body).count('"cachePoint":{')
    read_tools(body, seen)
    read_settings(body, seen)
    if seen.thinking:
        last = next((turn["blocks"] for turn in reversed(seen.messages) if turn["role"] == "assistant"), [])
        need(not any(part["kind"] == "call" for part in last) or last[0]["kind"] in ("thinking", "redacted"), "Expected `thinking`, but found `tool_use`")
    return seen


def read_message(message, where, seen, calls):
    role, content = message["role"], message["content"]
    if calls.open:
        answered = {item["toolResult"].get("toolUseId") for item in content if "toolResult" in item}
        need(role == "user" and set(calls.open) <= answered, f"{where}: Expected toolResult blocks for the Ids: {', '.join(set(calls.open) - answered)}")
    need(not any("document" in item for item in content) or any("text" in item for item in content), f"{where}: a document needs a text beside it")
    blocks = [block(item, f"{where}.content.{number}", ROLES[role], calls) for number, item in enumerate(content)]
    seen.add(role, [item for item in blocks if item])


def spoken_text(item, where):
    need(typed(item["text"], str, where).strip(), f"The text field in the ContentBlock object at {where} is blank.")
    return item["text"]


def block(item, where, allowed, calls):
    need(isinstance(item, dict) and len(item) == 1 and next(iter(item)) in allowed, f"{where}: one of {allowed}, got {list(item)}")
    kind, inner = next(iter(item.items()))
    if kind == "text":
        return {"kind": "text", "text": spoken_text(item, where)}
    if kind == "image":
        need(known(inner, "format source", where).get("format") in ("png", "jpeg", "gif", "webp"), f"{where}.image.format")
        return {"kind": "image", "mime": f"image/{inner['format']}", "data": based(known(inner["source"], "bytes s3Location", where).get("bytes"), where)}
    if kind == "document":
        known(inner, "format name source context citations", where)
        need(re.fullmatch(r"[A-Za-z0-9()\[\]-]+( [A-Za-z0-9()\[\]-]+)*", inner.get("name") or ""), f"{where}.document.name: {inner.get('name')}")
        need(inner.get("format") == "pdf", f"{where}.document.format")
        return {"kind": "pdf", "data": based(inner["source"].get("bytes"), where)}
    if kind == "toolUse":
        known(inner, "toolUseId name input type", where)
        need(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", inner.get("toolUseId") or ""), f"{where}.toolUseId: {inner.get('toolUseId')}")
        need(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", inner.get("name") or ""), f"{where}.name: {inner.get('name')}")
        return calls.called(inner["toolUseId"], inner["name"], typed(inner.get("input"), dict, where))
    if kind == "toolResult":
        return tool_result(inner, where, calls)
    if kind == "reasoningContent":
        if "redactedContent" in inner:
            need(inner["redactedContent"] == REDACTED, f"{where}: invalid redacted content")
            return {"kind": "redacted", "data": REDACTED}
        reasoning = known(inner.get("reasoningText"), "text signature", where)
        need(reasoning.get("signature") == SIGNATURE, f"{where}: invalid signature in thinking block")
        return {"kind": "thinking", "text": reasoning.get("text"), "signature": reasoning["signature"]}
    return None


def tool_result(inner, where, calls):
    known(inner, "toolUseId content status type", where)
    need(inner.get("status") in (None, "success", "error"), f"{where}.status")
    words, pictures = "", []
    for part in typed(inner.get("content"), list, where):
        if "json" in part:
            words += part["json"].get("result", compact(part["json"])) if isinstance(part["json"], dict) else compact(part["json"])
        else:
            found = block(part, where, ("text", "image", "document"), calls)
            words += found["text"] if found["kind"] == "text" else ""
            pictures += [found] if found["kind"] == "image" else []
    return calls.answered(inner.get("toolUseId"), words, error=inner.get("status") == "error", images=pictures)


def read_tools(body, seen):
    config = known(body.get("toolConfig") or {}, "tools toolChoice", "toolConfig")
    need("toolConfig" not in body or config.get("tools"), "toolConfig.tools: at least one")
    used = any(part["kind"] in ("call", "result") for turn in seen.messages for part in turn["blocks"])
    need(not used or config, "The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    for index, tool in enumerate(config.get("tools") or []):
        known(tool, "toolSpec cachePoint", f"tools.{index}")
        if "toolSpec" in tool:
            spec = known(tool["toolSpec"], "name description inputSchema strict", f"tools.{index}.toolSpec")
            need("description" not in spec or spec["description"], f"tools.{index}.toolSpec.description: at least 1 character")
            schema = known(spec["inputSchema"], "json", f"tools.{index}.inputSchema")["json"]
            need(schema.get("type") == "object", f"tools.{index}.inputSchema.json.type must be object")
            seen.tools[spec["name"]] = schema
    choice = config.get("toolChoice")
    if choice is not None:
        need(len(choice) == 1 and next(iter(choice)) in ("auto", "any", "tool"), f"toolChoice: {choice}")
        seen.choice = choice["tool"]["name"] if "tool" in choice else next(iter(choice))


def read_settings(body, seen):
    config = known(body.get("inferenceConfig") or {}, "maxTokens temperature topP stopSequences", "inferenceConfig")
    need(0 <= (config.get("temperature") or 0) <= 1, "temperature: 0 to 1")
    need("temperature" not in config or "topP" not in config, "temperature and topP cannot both be specified for this model")
    seen.set(max_tokens=config.get("maxTokens"), stop=config.get("stopSequences"), temperature=config.get("temperature"), top_p=config.get("topP"))
    extra = body.get("additionalModelRequestFields") or {}
    thinking = extra.get("thinking") or extra.get("reasoning_config") or {}
    seen.thinking = thinking.get("type") in ("enabled", "adaptive")
    if thinking.get("type") == "enabled":
        need(config.get("maxTokens", 1 << 20) > thinking["budget_tokens"] >= 1024, "budget_tokens: at least 1024 and below maxTokens")
    text = (body.get("outputConfig") or {}).get("textFormat")
    if text:
        need(text.get("type") == "json_schema", "outputConfig.textFormat.type")
        seen.schema = json.loads(text["structure"]["jsonSchema"]["schema"])
    elif "output_config" in extra:
        seen.schema = (extra["output_config"].get("format") or {}).get("schema")


def usage(figures):
    fresh = figures["input"] - figures["cached"] - figures["written"]
    return {"inputTokens": fresh, "outputTokens": figures["output"], "totalTokens": figures["input"] + figures["output"],
            "cacheReadInputTokens": figures["cached"], "cacheWriteInputTokens": figures["written"]}


def ident(part):
    return part["id"].replace("call_", "tooluse_")


def said(part):
    if part["kind"] == "text":
        return {"text": part["text"]}
    if part["kind"] == "thinking":
        return {"reasoningContent": {"reasoningText": {"text": part["text"], "signature": part["signature"]}}}
    if part["kind"] == "redacted":
        return {"reasoningContent": {"redactedContent": part["data"]}}
    return {"toolUse": {"toolUseId": ident(part), "name": part["name"], "input": part["args"]}}


def finish(answer, play):
    return "end_turn" if play.get("says_stop") else FINISH[answer["finish"]]


def whole(answer, play):
    content = [said(part) for part in answer["blocks"] if part != {"kind": "text", "text": ""}]
    return {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": finish(answer, play),
            "usage": usage(answer["usage"]), "metrics": {"latencyMs": 5}}


def frame(headers, payload):
    """A message of the event stream; all headers are strings (type 7)."""
    head = b"".join(struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode() for name, value in headers.items())
    body = compact(payload).encode()
    prelude = struct.pack(">II", 16 + len(head) + len(body), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + body
    return message + struct.pack(">I", zlib.crc32(message))


def event(kind, **payload):
    # The service pads its payloads so that their length tells nothing.
    return frame({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, {**payload, "p": "abcdefgh"})


def frames(answer, play):
    out = [event("messageStart", role="assistant")]
    for index, part in enumerate(part for part in answer["blocks"] if part != {"kind": "text", "text": ""}):
        if part["kind"] == "call":
            out.append(event("contentBlockStart", contentBlockIndex=index, start={"toolUse": {"toolUseId": ident(part), "name": part["name"]}}))
            deltas = [{"toolUse": {"input": piece}} for piece in halves(compact(part["args"]))]
        elif part["kind"] == "text":
            deltas = [{"text": piece} for piece in play["pieces"](part["text"])]
        elif part["kind"] == "redacted":
            deltas = [said(part)]
        else:
            deltas = [{"reasoningContent": {"text": piece}} for piece in play["pieces"](part["text"])] + [{"reasoningContent": {"signature": part["signature"]}}]
        out += [event("contentBlockDelta", contentBlockIndex=index, delta=delta) for delta in deltas]
        out.append(event("contentBlockStop", contentBlockIndex=index))
    out = strewn(play, out, event("somethingNew", value=1))
    end = [event("messageStop", stopReason=finish(answer, play))]
    return out, end + ([] if play.get("no_end") else [event("metadata", usage=usage(answer["usage"]), metrics={"latencyMs": 5})])


def error(status, message, wait=None):
    return {"x-amzn-ErrorType": KINDS.get(status, "InternalServerException"), **({"Retry-After": str(wait)} if wait else {})}, {"message": message}


def stream_error(message, play):
    return frame({":exception-type": "modelStreamErrorException", ":content-type": "application/json", ":message-type": "exception"},
                 {"message": message, "originalStatusCode": 500, "originalMessage": message})
