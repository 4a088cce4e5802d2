"""OpenAI Responses."""

from formats.common import (NAME, Calls, Seen, compact, data_url, halves, image_at, known, need, parsed, sse, strewn, typed)
from scenarios import SIGNATURE

CONTENT_TYPE = "text/event-stream; charset=utf-8"
SILENT = 2
TOP = """model input instructions stream store previous_response_id conversation include tools tool_choice parallel_tool_calls
max_tool_calls max_output_tokens temperature top_p top_logprobs reasoning text truncation metadata background prompt
prompt_cache_key prompt_cache_retention safety_identifier service_tier stream_options user context_management client_metadata"""
ITEMS = {
    "message": "type role content id status phase", "function_call": "type call_id name arguments id status namespace",
    "custom_tool_call": "type call_id name input id status namespace", "custom_tool_call_output": "type call_id output id status",
    "additional_tools": "type id role tools", "function_call_output": "type call_id output id status", "reasoning": "type id summary content encrypted_content status",
}
MEMBERS = {"function": "type name description parameters strict defer_loading", "custom": "type name description format defer_loading",
           "namespace": "type name description tools"}
PREFIX = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs", "additional_tools": "at"}
KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def read(body, headers, play):
    need(headers.get("Authorization", "").startswith("Bearer "), "no bearer token")
    known(body, TOP, "body")
    need(not body.get("previous_response_id") and not body.get("conversation"), "previous_response_id: not found")
    seen, calls = Seen(stream=bool(body.get("stream"))), Calls()
    if body.get("instructions") is not None:
        seen.system.append(typed(body["instructions"], str, "instructions"))
    items = body.get("input")
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    need(typed(items, list, "input"), "input: empty")
    for index, item in enumerate(items):
        read_item(item, f"input[{index}]", seen, calls)
    calls.settled("input")
    read_tools(body, seen)
    read_settings(body, seen)
    return seen


def read_item(item, where, seen, calls):
    kind = item.get("type", "message") if isinstance(item, dict) else None
    need(kind in ITEMS, f"{where}.type: {kind}")
    known(item, ITEMS[kind], where)
    need(not item.get("id") or kind not in PREFIX or item["id"].startswith(PREFIX[kind]), f"{where}.id: expected one that begins with {PREFIX.get(kind)}")
    if kind == "message":
        role = item.get("role")
        need(role in ("user", "assistant", "system", "developer"), f"{where}.role: {role}")
        content = parts(item.get("content"), where, "output_text refusal" if role == "assistant" else "input_text input_image input_file")
        if role in ("system", "developer") and not seen.messages:
            seen.system += [part["text"] for part in content]
        else:
            seen.add("system" if role == "developer" else role, content)
    elif kind == "function_call":
        need(item.get("call_id") and len(item["call_id"]) <= 64, f"{where}.call_id: up to 64 characters")
        need(NAME.fullmatch(item.get("name") or ""), f"{where}.name")
        seen.add("assistant", [calls.called(item["call_id"], item["name"], parsed(item.get("arguments"), f"{where}.arguments"))])
    elif kind == "custom_tool_call":
        need(item.get("call_id") and item.get("name"), f"{where}: call_id and name are required")
        seen.add("assistant", [calls.called(item["call_id"], item["name"], {"input": typed(item.get("input"), str, f"{where}.input")})])
    elif kind == "additional_tools":
        read_tool_list(typed(item.get("tools"), list, f"{where}.tools"), seen, f"{where}.tools")
    elif kind in ("function_call_output", "custom_tool_call_output"):
        output = parts(item.get("output"), where, "input_text input_image input_file")
        words = "".join(part["text"] for part in output if part["kind"] == "text")
        seen.add("user", [calls.answered(item.get("call_id"), words, images=[part for part in output if part["kind"] == "image"])])
    else:
        need(isinstance(item.get("summary"), list), f"{where}: summary is required")
        need(item.get("encrypted_content") in (SIGNATURE, None), f"{where}: encrypted_content could not be verified")
        words = "".join(part["text"] for part in item["summary"])
        seen.add("assistant", [{"kind": "thinking", "text": words, "signature": item.get("encrypted_content")}])


def parts(content, where, allowed):
    if isinstance(content, str):
        return [{"kind": "text", "text": content}]
    return [part(item, f"{where}.content[{number}]", allowed) for number, item in enumerate(typed(content, list, where))]


def part(item, where, allowed):
    kind = item.get("type") if isinstance(item, dict) else None
    need(kind in allowed.split(), f"{where}.type: {kind} is none of {allowed}")
    if kind in ("input_text", "output_text"):
        known(item, "type text annotations logprobs prompt_cache_breakpoint", where)
        return {"kind": "text", "text": typed(item.get("text"), str, where)}
    if kind == "refusal":
        return {"kind": "text", "text": item["refusal"]}
    if kind == "input_image":
        return image_at(known(item, "type image_url detail file_id", where).get("image_url"), where)
    known(item, "type filename file_data file_id file_url detail", where)
    mime, data = data_url(item.get("file_data"), where)
    need(mime == "application/pdf" and item.get("filename"), f"{where}: a PDF with a file name")
    return {"kind": "pdf", "data": data}


def read_tool_list(tools, seen, where, group=None):
    """Functions, tools whose input is plain text, and groups of both; what the service does by itself needs no schema."""
    for index, tool in enumerate(tools):
        kind, place, grouped = tool.get("type"), f"{where}[{index}]", {"namespace": group} if group else {}
        need(kind in ("function", "custom", "namespace") or (kind == "web_search" and not group), f"{place}.type: {kind}")
        if kind == "web_search":
            continue
        known(tool, MEMBERS[kind], place)
        need(NAME.fullmatch(tool.get("name") or ""), f"{place}: name")
        if kind == "namespace":
            read_tool_list(tool["tools"], seen, f"{place}.tools", tool["name"])
        elif kind == "custom":
            seen.tools[tool["name"]] = {"custom": True, "properties": {"input": {"type": "string"}}, **grouped}
        else:
            seen.tools[tool["name"]] = {**function_schema(tool, place), **grouped}


def function_schema(tool, where):
    schema = tool.get("parameters") or {"type": "object", "properties": {}}
    need(schema.get("type") == "object", f"{where}.parameters: not of type object")
    if tool.get("strict"):
        need(schema.get("additionalProperties") is False and set(schema.get("required") or []) == set(schema.get("properties") or {}),
             f"{where}.parameters: strict wants additionalProperties false and all of them required")
    return schema


def read_tools(body, seen):
    read_tool_list(body.get("tools") or [], seen, "tools")
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        need(known(choice, "type name", "tool_choice").get("type") == "function" and choice.get("name") in seen.tools, "tool_choice: no such tool")
        seen.choice = choice["name"]
    elif choice is not None:
        need(choice in ("none", "auto", "required"), f"tool_choice: {choice}")
        need(choice != "required" or seen.tools, "tool_choice: required without tools")
        seen.choice = "any" if choice == "required" else choice


def read_settings(body, seen):
    need(body.get("max_output_tokens") is None or typed(body["max_output_tokens"], int, "max_output_tokens") >= 16, "max_output_tokens: at least 16")
    need(len(body.get("user") or "") <= 64, "user: string too long, 64 characters at most")
    need(0 <= (body.get("temperature") or 0) <= 2, "temperature: 0 to 2")
    reasoning = known(body.get("reasoning") or {}, "effort summary context mode", "reasoning")
    # The models think unless told otherwise; who asks for the summary wants to see it.
    seen.thinking = reasoning.get("effort", "medium" if reasoning.get("summary") else "none") != "none"
    seen.sealed = "reasoning.encrypted_content" in (body.get("include") or [])
    seen.set(max_tokens=body.get("max_output_tokens"), temperature=body.get("temperature"), top_p=body.get("top_p"))
    wanted = known(body.get("text") or {}, "format verbosity", "text").get("format") or {"type": "text"}
    if wanted.get("type") == "json_schema":
        known(wanted, "type name schema strict description", "text.format")
        need(NAME.fullmatch(wanted.get("name") or ""), "text.format.name")
        seen.schema = typed(wanted.get("schema"), dict, "text.format.schema")
    else:
        need(wanted.get("type") in ("text", "json_object"), "text.format.type")


def usage(figures):
    return {"input_tokens": figures["input"], "input_tokens_details": {"cached_tokens": figures["cached"], "cache_write_tokens": figures["written"]},
            "output_tokens": figures["output"], "output_tokens_details": {"reasoning_tokens": figures["reasoning"]},
            "total_tokens": figures["input"] + figures["output"]}


def item_of(block, index, answer, play):
    if block["kind"] == "thinking":
        return {"id": f"rs_{play['number']}_{index}", "type": "reasoning", "summary": [{"type": "summary_text", "text": block["text"]}] if block["text"] else [],
                "encrypted_content": block["signature"] if play["seen"].sealed else None}
    if block["kind"] == "call":
        tool = play["seen"].tools.get(block["name"]) or {}
        grouped = {"namespace": tool["namespace"]} if "namespace" in tool else {}
        if tool.get("custom"):
            return {"id": f"ctc_{play['number']}_{index}", "type": "custom_tool_call", "status": "completed", "call_id": block["id"], "name": block["name"],
                    "input": block["args"]["input"], **grouped}
        return {"id": f"fc_{play['number']}_{index}", "type": "function_call", "status": "completed", "call_id": block["id"], "name": block["name"],
                "arguments": compact(block["args"]), **grouped}
    refused = answer["finish"] == "refusal"
    content = {"type": "refusal", "refusal": block["text"]} if refused else {"type": "output_text", "text": block["text"], "annotations": [], "logprobs": []}
    state = "incomplete" if answer["finish"] in ("length", "filter") else "completed"
    return {"id": f"msg_{play['number']}_{index}", "type": "message", "status": state, "role": "assistant", "content": [content]}


def response(play, status, output, figures=None, reason=None, failure=None):
    return {"id": f"resp_{play['number']}", "object": "response", "created_at": 1750000000, "status": status, "error": failure,
            "incomplete_details": {"reason": reason} if reason else None, "instructions": None, "max_output_tokens": None,
            "model": play["model"], "output": output, "parallel_tool_calls": True, "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None}, "store": False, "temperature": 1.0, "text": {"format": {"type": "text"}},
            "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled", "usage": figures, "user": None, "metadata": {}}


def blocks_of(answer):
    """What was filtered before its first word has no item."""
    return [block for block in answer["blocks"] if block.get("text") != "" or block["kind"] != "text" or answer["finish"] != "filter"]


def whole(answer, play):
    output = [item_of(block, index, answer, play) for index, block in enumerate(blocks_of(answer))]
    reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(answer["finish"])
    return response(play, "incomplete" if reason else "completed", output, usage(answer["usage"]), reason)


def frames(answer, play):
    number = iter(range(1_000_000))

    def event(kind, **members):
        name = f"response.{kind}"
        return sse({"type": name, "sequence_number": next(number), **members}, play, name)

    out = [event("created", response=response(play, "in_progress", [])), event("in_progress", response=response(play, "in_progress", []))]
    for index, block in enumerate(blocks_of(answer)):
        done = item_of(block, index, answer, play)
        empty = {"reasoning": {"summary": []}, "message": {"content": [], "status": "in_progress"}, "function_call": {"arguments": "", "status": "in_progress"},
                 "custom_tool_call": {"input": "", "status": "in_progress"}}
        out.append(event("output_item.added", output_index=index, item={**done, **empty[done["type"]]}))
        out += inside(event, done, {"item_id": done["id"], "output_index": index}, play)
        out.append(event("output_item.done", output_index=index, item=done))
    final = whole(answer, play)
    return strewn(play, out, b": a comment\n\n"), [event(final["status"], response=final)]


def inside(event, item, place, play):
    """The events between an item's announcement and its end."""
    if item["type"] == "function_call":
        return [*(event("function_call_arguments.delta", **place, delta=piece) for piece in halves(item["arguments"])),
                event("function_call_arguments.done", **place, arguments=item["arguments"], name=item["name"])]
    if item["type"] == "custom_tool_call":
        return [*(event("custom_tool_call_input.delta", **place, delta=piece) for piece in halves(item["input"])),
                event("custom_tool_call_input.done", **place, input=item["input"])]
    if item["type"] == "reasoning" and not item["summary"]:
        return []
    if item["type"] == "reasoning":
        place, part, words = {**place, "summary_index": 0}, item["summary"][0], item["summary"][0]["text"]
        return [event("reasoning_summary_part.added", **place, part={**part, "text": ""}),
                *(event("reasoning_summary_text.delta", **place, delta=piece) for piece in play["pieces"](words)),
                event("reasoning_summary_text.done", **place, text=words), event("reasoning_summary_part.done", **place, part=part)]
    place, part = {**place, "content_index": 0}, item["content"][0]
    member = "refusal" if part["type"] == "refusal" else "text"
    kind, more = ("refusal", {}) if member == "refusal" else ("output_text", {"logprobs": []})
    return [event("content_part.added", **place, part={**part, member: ""}),
            *(event(f"{kind}.delta", **place, delta=piece, **more) for piece in play["pieces"](part[member])),
            event(f"{kind}.done", **place, **{member: part[member]}, **more), event("content_part.done", **place, part=part)]


def error(status, message, wait=None):
    headers = {"Retry-After": str(wait)} if wait else {}
    return headers, {"error": {"message": message, "type": KINDS.get(status, "server_error"), "param": None, "code": "model_not_found" if status == 404 else None}}


def stream_error(message, play):
    failed = response(play, "failed", [], failure={"code": "server_error", "message": message})
    return sse({"type": "response.failed", "sequence_number": 999, "response": failed}, play, "response.failed")
