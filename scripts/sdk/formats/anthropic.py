"""Anthropic Messages."""

import re

from formats.common import Calls, Seen, based, compact, halves, known, need, sse, strewn, typed
from scenarios import REDACTED, SIGNATURE

CONTENT_TYPE = "text/event-stream; charset=utf-8"
SILENT = 2
TOP = """model max_tokens messages system stream temperature top_p top_k stop_sequences tools tool_choice thinking
output_config output_format metadata service_tier cache_control container context_management mcp_servers"""
BLOCKS = {
    "text": "type text cache_control citations", "image": "type source cache_control",
    "document": "type source title context citations cache_control", "tool_use": "type id name input cache_control caller",
    "tool_result": "type tool_use_id content is_error cache_control", "thinking": "type thinking signature",
    "redacted_thinking": "type data",
}
ROLES = {"user": ("text", "image", "document", "tool_result"), "assistant": ("text", "tool_use", "thinking", "redacted_thinking"), "system": ("text",)}
FINISH = {"stop": "end_turn", "tool": "tool_use", "length": "max_tokens", "stop_sequence": "stop_sequence", "refusal": "refusal", "filter": "refusal"}
KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
         413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 529: "overloaded_error"}


def read(body, headers, play):
    need(headers.get("X-Api-Key") or headers.get("Authorization", "").startswith("Bearer "), "no key")
    need(headers.get("Anthropic-Version"), "anthropic-version: header is required")
    known(body, TOP, "body")
    need(typed(body.get("max_tokens"), int, "max_tokens") > 0, "max_tokens: at least 1")
    need(compact(body).count('"cache_control":{') <= 4, "more than four cache_control blocks")
    seen, calls = Seen(stream=bool(body.get("stream"))), Calls()
    read_tools(body, seen)
    read_settings(body, seen)
    if body.get("system") is not None:
        seen.system = [block["text"] for block in blocks(body["system"], "system", ("text",), calls)]
    need(typed(body.get("messages"), list, "messages"), "messages: at least one")
    need(body["messages"][0].get("role") == "user", "messages: first message must use the user role")
    for index, message in enumerate(merged(body["messages"])):
        read_message(message, f"messages.{index}", seen, calls, headers)
    calls.settled("messages")
    seen.marks = compact(body).count('"cache_control":{')
    check_thinking(body, seen)
    return seen


def merged(messages):
    """The service takes neighbours of one role for one message."""
    out = []
    for index, message in enumerate(messages):
        known(message, "role content", f"messages.{index}")
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        need(typed(content, list, f"messages.{index}.content"), f"messages.{index}: content must be non-empty")
        if out and out[-1]["role"] == message.get("role"):
            out[-1]["content"] = out[-1]["content"] + content
        else:
            out.append({"role": message.get("role"), "content": content})
    return out


def read_message(message, where, seen, calls, headers):
    role, content = message["role"], message["content"]
    need(role in ROLES, f"{where}.role: {role}")
    if role == "system":
        need("mid-conversation-" in headers.get("Anthropic-Beta", ""), f"{where}: role system needs its beta header")
    if calls.open:
        results = 0
        while results < len(content) and content[results].get("type") == "tool_result":
            results += 1
        answered = {block.get("tool_use_id") for block in content[:results]}
        need(role == "user" and set(calls.open) <= answered,
             f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(set(calls.open) - answered)}")
    seen.add(role, blocks(content, f"{where}.content", ROLES[role], calls))


def blocks(content, where, allowed, calls):
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    typed(content, list, where)
    return [block(item, f"{where}.{number}", allowed, calls) for number, item in enumerate(content)]


def block(item, where, allowed, calls):
    kind = item.get("type") if isinstance(item, dict) else None
    need(kind in allowed, f"{where}.type: {kind} is none of {allowed}")
    known(item, BLOCKS[kind], where)
    if kind == "text":
        need(typed(item.get("text"), str, where).strip(), f"{where}: text content blocks must contain non-whitespace text")
        return {"kind": "text", "text": item["text"]}
    if kind == "image":
        return image(item["source"], where)
    if kind == "document":
        source = known(item["source"], "type media_type data", where)
        need(source.get("type") == "base64" and source.get("media_type") == "application/pdf", f"{where}.source: a PDF in base64")
        return {"kind": "pdf", "data": based(source.get("data"), where)}
    if kind == "tool_use":
        need(re.fullmatch(r"[A-Za-z0-9_-]+", item.get("id") or ""), f"{where}.id: {item.get('id')}")
        need(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", item.get("name") or ""), f"{where}.name: {item.get('name')}")
        return calls.called(item["id"], item["name"], typed(item.get("input"), dict, f"{where}.input"))
    if kind == "tool_result":
        inner = blocks(item.get("content") or [], f"{where}.content", ("text", "image", "document"), calls)
        words = "".join(part["text"] for part in inner if part["kind"] == "text")
        pictures = [part for part in inner if part["kind"] == "image"]
        return calls.answered(item.get("tool_use_id"), words, error=bool(item.get("is_error")), images=pictures)
    if kind == "thinking":
        need(item.get("signature") == SIGNATURE, f"{where}: Invalid `signature` in `thinking` block")
        return {"kind": "thinking", "text": typed(item.get("thinking"), str, where), "signature": item["signature"]}
    need(item.get("data") == REDACTED, f"{where}: Invalid `data` in `redacted_thinking` block")
    return {"kind": "redacted", "data": item["data"]}


def image(source, where):
    if source.get("type") == "url":
        need(re.match(r"https?://", known(source, "type url", where).get("url", "")), f"{where}.source.url")
        return {"kind": "image_url", "url": source["url"]}
    known(source, "type media_type data", where)
    need(source.get("type") == "base64" and source.get("media_type") in ("image/png", "image/jpeg", "image/gif", "image/webp"), f"{where}.source")
    return {"kind": "image", "mime": source["media_type"], "data": based(source.get("data"), where)}


def read_tools(body, seen):
    for index, tool in enumerate(body.get("tools") or []):
        if re.fullmatch(r"web_(search|fetch)_20\d{6}", tool.get("type") or ""):
            # The service's own tools bring no schema.
            known(tool, "type name max_uses allowed_domains blocked_domains user_location cache_control", f"tools.{index}")
            continue
        known(tool, "type name description input_schema cache_control strict eager_input_streaming defer_loading", f"tools.{index}")
        need(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", tool.get("name") or ""), f"tools.{index}.name")
        schema = typed(tool.get("input_schema"), dict, f"tools.{index}.input_schema")
        need(schema.get("type") == "object", f"tools.{index}.input_schema.type: Field required")
        seen.tools[tool["name"]] = schema
    choice = body.get("tool_choice")
    if choice is not None:
        known(choice, "type name disable_parallel_tool_use", "tool_choice")
        need(seen.tools, "tool_choice: only with tools")
        need(choice.get("type") in ("auto", "any", "none", "tool"), "tool_choice.type")
        seen.choice = choice["name"] if choice["type"] == "tool" else choice["type"]
        need(choice["type"] != "tool" or seen.choice in seen.tools, "tool_choice: no such tool")


def read_settings(body, seen):
    need(0 <= (body.get("temperature") or 0) <= 1, "temperature: range 0..1")
    need("temperature" not in body or "top_p" not in body, "`temperature` and `top_p` cannot both be specified for this model")
    for stop in body.get("stop_sequences") or []:
        need(stop.strip(), "stop_sequences: each must contain non-whitespace")
    known(body.get("metadata") or {}, "user_id", "metadata")
    seen.set(max_tokens=body["max_tokens"], stop=body.get("stop_sequences"), temperature=body.get("temperature"), top_p=body.get("top_p"))
    config = known(body.get("output_config") or {}, "effort format", "output_config")
    wanted = config.get("format") or body.get("output_format")
    if wanted:
        known(wanted, "type schema name", "output_config.format")
        need(wanted.get("type") == "json_schema", "output_config.format.type")
        seen.schema = typed(wanted.get("schema"), dict, "output_config.format.schema")


def check_thinking(body, seen):
    thinking = body.get("thinking") or {"type": "disabled"}
    known(thinking, "type budget_tokens display", "thinking")
    need(thinking.get("type") in ("enabled", "adaptive", "disabled"), "thinking.type")
    seen.thinking = thinking["type"] != "disabled"
    if not seen.thinking:
        return
    if thinking["type"] == "enabled":
        need(1024 <= typed(thinking.get("budget_tokens"), int, "thinking.budget_tokens") < body["max_tokens"],
             "thinking.budget_tokens: at least 1024 and below max_tokens")
        need(body.get("temperature") in (None, 1), "temperature may only be set to 1 when thinking is enabled")
    need(seen.choice in ("auto", "none"), "Thinking may not be enabled when tool_choice forces tool use")
    last = next((turn for turn in reversed(seen.messages) if turn["role"] == "assistant"), None)
    looping = seen.messages[-1]["role"] == "user" and seen.messages[-1]["blocks"][0]["kind"] == "result"
    if last and looping:
        need(last["blocks"][0]["kind"] in ("thinking", "redacted"), "messages: Expected `thinking` or `redacted_thinking`, but found `tool_use`")


def usage(figures):
    return {
        "input_tokens": figures["input"] - figures["cached"] - figures["written"], "cache_creation_input_tokens": figures["written"],
        "cache_read_input_tokens": figures["cached"], "output_tokens": figures["output"],
        "cache_creation": {"ephemeral_5m_input_tokens": figures["written"], "ephemeral_1h_input_tokens": 0},
        "output_tokens_details": {"thinking_tokens": figures["reasoning"]}, "server_tool_use": None, "service_tier": "standard"}


def finish(answer, play):
    named = (play.get("stop") or [None])[0] if answer["finish"] == "stop_sequence" else None
    return {"stop_reason": "end_turn" if play.get("says_stop") else FINISH[answer["finish"]], "stop_sequence": named}


def said(part):
    if part["kind"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["kind"] == "thinking":
        return {"type": "thinking", "thinking": part["text"], "signature": part["signature"]}
    if part["kind"] == "redacted":
        return {"type": "redacted_thinking", "data": part["data"]}
    return {"type": "tool_use", "id": ident(part), "name": part["name"], "input": part["args"]}


def ident(part):
    return part["id"].replace("call_", "toolu_")


def envelope(play, **more):
    return {"id": f"msg_{play['number']}", "type": "message", "role": "assistant", "model": play["model"], **more}


def whole(answer, play):
    content = [said(part) for part in answer["blocks"] if part != {"kind": "text", "text": ""}]
    return envelope(play, content=content, **finish(answer, play), usage=usage(answer["usage"]))


def frames(answer, play):
    def event(kind, **members):
        return sse({"type": kind, **members}, play, kind)

    first = {**usage(answer["usage"]), "output_tokens": 1}
    out = [event("message_start", message=envelope(play, content=[], stop_reason=None, stop_sequence=None, usage=first)), event("ping")]
    for index, part in enumerate(part for part in answer["blocks"] if part != {"kind": "text", "text": ""}):
        out += [event("content_block_start", index=index, content_block=opened(part))]
        out += [event("content_block_delta", index=index, delta=delta) for delta in deltas(part, play)]
        out += [event("content_block_stop", index=index)]
    ending = {"input_tokens": first["input_tokens"], "output_tokens": answer["usage"]["output"],
              "cache_read_input_tokens": first["cache_read_input_tokens"], "cache_creation_input_tokens": first["cache_creation_input_tokens"],
              "output_tokens_details": first["output_tokens_details"]}
    end = [event("message_delta", delta=finish(answer, play), usage=ending)]
    # An event of tomorrow is for the gateway alone: some clients fall over it.
    tomorrow = event("ping") if play["passes"] else event("content_block_mood", index=0, mood="fine")
    out = strewn(play, out, tomorrow + b": a comment\n\n")
    return out, end + ([] if play.get("no_end") else [event("message_stop")])


def opened(part):
    if part["kind"] == "redacted":
        return said(part)
    empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
    return {"type": part["kind"], **empty[part["kind"]]} if part["kind"] in empty else {**said(part), "input": {}}


def deltas(part, play):
    if part["kind"] == "text":
        return [{"type": "text_delta", "text": piece} for piece in play["pieces"](part["text"])]
    if part["kind"] == "thinking":
        return [*({"type": "thinking_delta", "thinking": piece} for piece in play["pieces"](part["text"])),
                {"type": "signature_delta", "signature": part["signature"]}]
    if part["kind"] == "redacted":
        return []
    # The service begins with an empty fragment, and for no arguments sends nothing else.
    return [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *(halves(compact(part["args"])) if part["args"] else [])]]


def error(status, message, wait=None):
    headers = {"request-id": "req_1", **({"Retry-After": str(wait)} if wait else {})}
    return headers, {"type": "error", "error": {"type": KINDS.get(status, "api_error"), "message": message}, "request_id": "req_1"}


def stream_error(message, play):
    return sse({"type": "error", "error": {"type": "overloaded_error", "message": message}}, play, "error")
