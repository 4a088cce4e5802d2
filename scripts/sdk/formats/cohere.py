"""Cohere's chat, version 2."""

from formats.common import (NAME, Calls, Seen, calls_of, compact, halves, image_at, known, need, parsed, spoken, sse, strewn, thought_of, typed)

CONTENT_TYPE = "text/event-stream"
SILENT = 1
TOP = """model messages tools documents citation_options response_format safety_mode max_tokens stop_sequences temperature seed
frequency_penalty presence_penalty k p logprobs tool_choice strict_tools thinking priority stream raw_prompting"""
ROLES = {"system": "role content", "user": "role content", "assistant": "role content tool_calls tool_plan citations", "tool": "role content tool_call_id"}
FINISH = {"stop": "COMPLETE", "tool": "TOOL_CALL", "length": "MAX_TOKENS", "stop_sequence": "STOP_SEQUENCE"}


def read(body, headers, play):
    need(headers.get("Authorization", "").startswith("Bearer "), "no bearer token")
    known(body, TOP, "body")
    seen, calls = Seen(stream=bool(body.get("stream"))), Calls()
    need(typed(body.get("messages"), list, "messages"), "messages: empty")
    for index, message in enumerate(body["messages"]):
        read_message(message, f"messages[{index}]", seen, calls)
    calls.settled("messages")
    need(body["messages"][-1]["role"] in ("user", "tool"), "the last message must be the user's or a tool's")
    read_tools(body, seen)
    read_settings(body, seen)
    return seen


def read_message(message, where, seen, calls):
    role = message.get("role") if isinstance(message, dict) else None
    need(role in ROLES, f"{where}.role: {role}")
    known(message, ROLES[role], where)
    if role == "tool":
        words = "".join(part.get("text", "") for part in parts(message.get("content"), where, "text document"))
        seen.add("user", [calls.answered(message.get("tool_call_id"), words)])
        return
    calls.settled(f"{where} ({role})")
    if role == "assistant":
        need(message.get("content") or message.get("tool_calls"), f"{where}: neither content nor tool_calls")
        blocks = parts(message["content"], where, "text thinking") if message.get("content") else []
        blocks = [{"kind": "text", "text": message["tool_plan"]}] + blocks if message.get("tool_plan") else blocks
        for number, item in enumerate(message.get("tool_calls") or []):
            place = f"{where}.tool_calls[{number}]"
            function = known(known(item, "id type function", place).get("function"), "name arguments", place)
            need(item.get("id") and item.get("type") == "function" and NAME.fullmatch(function.get("name") or ""), f"{place}: id, type and name")
            blocks.append(calls.called(item["id"], function["name"], parsed(function.get("arguments"), place)))
        seen.add(role, blocks)
        return
    need(message.get("content"), f"{where}.content: must not be empty")
    blocks = parts(message["content"], where, "text image_url" if role == "user" else "text")
    if role == "system" and not seen.messages:
        seen.system += [block["text"] for block in blocks]
    else:
        seen.add(role, blocks)


def parts(content, where, allowed):
    if isinstance(content, str):
        return [{"kind": "text", "text": content}]
    need(typed(content, list, f"{where}.content"), f"{where}.content: empty")
    out = []
    for item in content:
        kind = item.get("type")
        need(kind in allowed.split(), f"{where}.content.type: {kind} is none of {allowed}")
        known(item, f"type {kind}", where)
        if kind == "text":
            out.append({"kind": "text", "text": typed(item["text"], str, where)})
        elif kind == "thinking":
            out.append({"kind": "thinking", "text": item["thinking"], "signature": None})
        elif kind == "image_url":
            out.append(image_at(known(item["image_url"], "url detail", where).get("url"), where))
        else:
            document = known(item["document"], "data id", where)["data"]
            words = document if isinstance(document, str) else document.get("result", document.get("output", compact(document)))
            out.append({"kind": "text", "text": words})
    return out


def read_tools(body, seen):
    for index, tool in enumerate(body.get("tools") or []):
        function = known(known(tool, "type function", f"tools[{index}]").get("function"), "name description parameters", f"tools[{index}]")
        need(tool.get("type") == "function" and NAME.fullmatch(function.get("name") or ""), f"tools[{index}]: type and name")
        schema = typed(function.get("parameters"), dict, f"tools[{index}].function.parameters")
        need(schema.get("type") == "object", f"tools[{index}].function.parameters: not of type object")
        seen.tools[function["name"]] = schema
    choice = body.get("tool_choice")
    need(choice in (None, "REQUIRED", "NONE"), f"tool_choice: {choice}")
    need(choice is None or seen.tools, "tool_choice: only with tools")
    seen.choice = {None: "auto", "REQUIRED": "any", "NONE": "none"}[choice]


def read_settings(body, seen):
    need(len(body.get("stop_sequences") or []) <= 5, "stop_sequences: up to 5")
    need(0 <= (body.get("temperature") or 0) <= 1, "temperature: 0 to 1")
    thinking = known(body.get("thinking") or {}, "type token_budget", "thinking")
    seen.thinking = thinking.get("type") == "enabled"
    seen.set(max_tokens=body.get("max_tokens"), stop=body.get("stop_sequences"), temperature=body.get("temperature"), top_p=body.get("p"))
    wanted = known(body.get("response_format") or {"type": "text"}, "type json_schema schema", "response_format")
    need(wanted.get("type") in ("text", "json_object"), f"response_format.type: {wanted.get('type')}")
    seen.schema = wanted.get("json_schema") or wanted.get("schema")
    need(not (seen.schema and seen.tools), "response_format is not supported with tools")


def usage(figures):
    counted = {"input_tokens": figures["input"], "output_tokens": figures["output"]}
    return {"billed_units": counted, "tokens": counted, "cached_tokens": figures["cached"]}


def finish(answer, play):
    return "COMPLETE" if play.get("says_stop") else FINISH.get(answer["finish"], "COMPLETE")


def whole(answer, play):
    thought, words, calls = thought_of(answer), spoken(answer), calls_of(answer)
    content = [{"type": "thinking", "thinking": thought["text"]}] if thought else []
    message = {"role": "assistant"}
    if calls:
        message["tool_calls"] = [{"id": item["id"], "type": "function", "function": {"name": item["name"], "arguments": compact(item["args"])}} for item in calls]
        message |= {"tool_plan": words} if words else {}
    else:
        content.append({"type": "text", "text": words})
    return {"id": "c-1", "finish_reason": finish(answer, play), "message": {**message, **({"content": content} if content else {})}, "usage": usage(answer["usage"])}


def frames(answer, play):
    def event(kind, **members):
        return sse({"type": kind, **members}, play, kind)

    def delta(kind, index=None, **message):
        return event(kind, **({} if index is None else {"index": index}), delta={"message": message})

    first = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    out, contents, calls = [event("message-start", id="c-1", delta={"message": first})], 0, 0
    for block in answer["blocks"]:
        kind = block["kind"]
        if kind == "call":
            function = {"name": block["name"], "arguments": ""}
            out.append(delta("tool-call-start", calls, tool_calls={"id": block["id"], "type": "function", "function": function}))
            out += [delta("tool-call-delta", calls, tool_calls={"function": {"arguments": piece}}) for piece in halves(compact(block["args"]))]
            out.append(event("tool-call-end", index=calls))
            calls += 1
        elif kind == "text" and calls_of(answer):
            out += [delta("tool-plan-delta", tool_plan=piece) for piece in play["pieces"](block["text"])]
        else:
            out.append(delta("content-start", contents, content={"type": kind, kind: ""}))
            out += [delta("content-delta", contents, content={kind: piece}) for piece in play["pieces"](block["text"])]
            out.append(event("content-end", index=contents))
            contents += 1
    out = strewn(play, out, event("debug", prompt="x"))
    end = [event("message-end", delta={"finish_reason": finish(answer, play), "usage": usage(answer["usage"])})]
    return out, end + ([] if play.get("no_end") else [sse("[DONE]", play)])


def error(status, message, wait=None):
    return ({"Retry-After": str(wait)} if wait else {}), {"id": "e-1", "message": message}


def stream_error(message, play):
    return sse({"type": "message-end", "delta": {"error": message, "finish_reason": "ERROR"}}, play, "message-end")
