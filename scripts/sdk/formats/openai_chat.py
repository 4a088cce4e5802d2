"""OpenAI Chat Completions."""

from formats.common import (NAME, Calls, Refused, Seen, calls_of, compact, data_url, halves, image_at, known, need, parsed,
                            spoken, sse, strewn, thought_of, typed)

CONTENT_TYPE = "text/event-stream; charset=utf-8"
SILENT = 1
TOP = """model messages stream stream_options temperature top_p n stop max_tokens max_completion_tokens presence_penalty
frequency_penalty logit_bias logprobs top_logprobs seed user safety_identifier metadata store service_tier tools tool_choice
parallel_tool_calls response_format reasoning_effort verbosity modalities prompt_cache_key prompt_cache_retention"""
ROLES = {
    "system": "role content name", "developer": "role content name", "user": "role content name",
    # The members for reasoning are none of OpenAI's own, but those of the many who speak this format.
    "assistant": "role content name tool_calls refusal audio annotations function_call reasoning_content reasoning reasoning_details",
    "tool": "role content tool_call_id",
}
FINISH = {"stop": "stop", "tool": "tool_calls", "length": "length", "stop_sequence": "stop", "refusal": "stop", "filter": "content_filter"}
KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
         413: "request_too_large", 429: "rate_limit_error"}


def read(body, headers, play):
    need(headers.get("Authorization", "").startswith("Bearer "), "no bearer token")
    known(body, TOP, "body")
    seen, calls = Seen(stream=bool(body.get("stream"))), Calls()
    need(typed(body.get("messages"), list, "messages"), "messages: empty")
    for index, message in enumerate(body["messages"]):
        read_message(message, f"messages[{index}]", seen, calls)
    calls.settled("messages")
    read_tools(body, seen)
    read_settings(body, seen)
    return seen


def read_message(message, where, seen, calls):
    role = message.get("role") if isinstance(message, dict) else None
    need(role in ROLES, f"{where}.role: {role}")
    known(message, ROLES[role], where)
    content = message.get("content")
    if role == "tool":
        words = "".join(part["text"] for part in parts(content, where, "text"))
        seen.add("user", [calls.answered(message.get("tool_call_id"), words)])
        return
    calls.settled(f"{where} ({role})")
    if role == "assistant":
        seen.add(role, read_assistant(message, where, calls))
    elif role == "user":
        seen.add(role, parts(content, where, "text image_url file input_audio"))
    elif seen.messages:
        seen.add("system", parts(content, where, "text"))
    else:
        seen.system += [part["text"] for part in parts(content, where, "text")]


def read_assistant(message, where, calls):
    content, said = message.get("content"), []
    need(content is not None or message.get("tool_calls") or message.get("refusal"), f"{where}.content: null without tool_calls")
    if message.get("reasoning_content"):
        said.append({"kind": "thinking", "text": message["reasoning_content"], "signature": None})
    said += [] if content is None else parts(content, where, "text refusal")
    need(message.get("tool_calls") is None or message["tool_calls"], f"{where}.tool_calls: empty")
    for number, item in enumerate(message.get("tool_calls") or []):
        place = f"{where}.tool_calls[{number}]"
        known(item, "id type function", place)
        need(item.get("type") == "function" and item.get("id") and len(item["id"]) <= 64, f"{place}: type and id (64 at most)")
        function = known(item.get("function"), "name arguments", f"{place}.function")
        need(NAME.fullmatch(function.get("name") or ""), f"{place}.function.name: {function.get('name')}")
        said.append(calls.called(item["id"], function["name"], parsed(function.get("arguments"), f"{place}.arguments")))
    return said


def parts(content, where, allowed):
    if isinstance(content, str):
        return [{"kind": "text", "text": content}]
    need(typed(content, list, f"{where}.content"), f"{where}.content: empty list")
    return [part(item, f"{where}.content[{number}]", allowed) for number, item in enumerate(content)]


def part(item, where, allowed):
    kind = item.get("type") if isinstance(item, dict) else None
    need(kind in allowed.split(), f"{where}.type: {kind} is none of {allowed}")
    known(item, f"type {kind}", where)
    if kind in ("text", "refusal"):
        return {"kind": "text", "text": typed(item.get(kind), str, where)}
    if kind == "image_url":
        return image_at(known(item["image_url"], "url detail", where).get("url"), where)
    if kind == "file":
        file = known(item["file"], "file_data filename file_id", where)
        mime, data = data_url(file.get("file_data"), where)
        need(mime == "application/pdf" and file.get("filename"), f"{where}: a PDF with a file name")
        return {"kind": "pdf", "data": data}
    raise Refused(f"{where}: no audio here")


def read_tools(body, seen):
    tools, choice = body.get("tools"), body.get("tool_choice")
    need(tools is None or tools, "tools: empty")
    need(choice is None or tools, "tool_choice: only with tools")
    need(body.get("parallel_tool_calls") is None or tools, "parallel_tool_calls: only with tools")
    for index, tool in enumerate(tools or []):
        known(tool, "type function", f"tools[{index}]")
        need(tool.get("type") == "function", f"tools[{index}].type")
        function = known(tool.get("function"), "name description parameters strict", f"tools[{index}].function")
        need(NAME.fullmatch(function.get("name") or ""), f"tools[{index}].function.name")
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        need(schema.get("type") == "object", f"tools[{index}].function.parameters: not of type object")
        seen.tools[function["name"]] = schema
    if isinstance(choice, dict):
        need(choice.get("type") == "function" and known(choice, "type function", "tool_choice"), "tool_choice.type")
        need(choice["function"].get("name") in seen.tools, "tool_choice: no such tool")
        seen.choice = choice["function"]["name"]
    elif choice is not None:
        need(choice in ("none", "auto", "required"), f"tool_choice: {choice}")
        seen.choice = "any" if choice == "required" else choice


def read_settings(body, seen):
    stop, limits = body.get("stop"), [body.get("max_tokens"), body.get("max_completion_tokens")]
    stop = [stop] if isinstance(stop, str) else stop
    need(stop is None or 0 < len(stop) <= 4, "stop: up to four")
    need(None in limits, "max_tokens and max_completion_tokens at once")
    need(len(body.get("user") or "") <= 64, "user: string too long, 64 characters at most")
    need(body.get("n") in (None, 1), "n: one answer only here")
    need(0 <= (body.get("temperature") or 0) <= 2, "temperature: 0 to 2")
    need(body.get("stream_options") is None or seen.stream, "stream_options: only with stream")
    seen.include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    seen.thinking = body.get("reasoning_effort") not in (None, "none")
    need(body.get("reasoning_effort") in (None, "none", "minimal", "low", "medium", "high", "xhigh", "max"), "reasoning_effort")
    seen.set(max_tokens=next((limit for limit in limits if limit is not None), None), stop=stop,
             temperature=body.get("temperature"), top_p=body.get("top_p"))
    wanted = body.get("response_format") or {"type": "text"}
    need(wanted.get("type") in ("text", "json_object", "json_schema"), "response_format.type")
    if wanted["type"] == "json_schema":
        inner = known(wanted.get("json_schema"), "name schema strict description", "response_format.json_schema")
        need(NAME.fullmatch(inner.get("name") or ""), "response_format.json_schema.name")
        seen.schema = typed(inner.get("schema"), dict, "response_format.json_schema.schema")


def usage(figures):
    return {
        "prompt_tokens": figures["input"], "completion_tokens": figures["output"], "total_tokens": figures["input"] + figures["output"],
        "prompt_tokens_details": {"cached_tokens": figures["cached"], "cache_write_tokens": figures["written"], "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": figures["reasoning"], "audio_tokens": 0,
                                      "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}


def head(play, kind):
    return {"id": f"chatcmpl-{play['number']}", "object": kind, "created": 1750000000, "model": play["model"], "system_fingerprint": "fp_1"}


def finish(answer, play):
    return "stop" if play.get("says_stop") else FINISH[answer["finish"]]


def whole(answer, play):
    words, thought = spoken(answer), thought_of(answer)
    refused = answer["finish"] == "refusal"
    message = {"role": "assistant", "content": None if refused or (calls_of(answer) and not words) else words,
               "refusal": words if refused else None, "annotations": []}
    if thought:
        message["reasoning_content"] = thought["text"]
    if calls_of(answer):
        message["tool_calls"] = [{"id": item["id"], "type": "function", "function": {
            "name": item["name"], "arguments": compact(item["args"])}} for item in calls_of(answer)]
    choice = {"index": 0, "finish_reason": finish(answer, play), "logprobs": None, "message": message}
    return {**head(play, "chat.completion"), "choices": [choice], "usage": usage(answer["usage"])}


def frames(answer, play):
    base = head(play, "chat.completion.chunk")
    asked = play["seen"].include_usage

    def chunk(delta, ending=None):
        return sse({**base, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": ending}],
                    **({"usage": None} if asked else {})}, play)

    out, number, later = [chunk({"role": "assistant", "content": ""})], 0, []
    for block in answer["blocks"]:
        if block["kind"] == "thinking":
            out += [chunk({"reasoning_content": piece}) for piece in play["pieces"](block["text"])]
        elif block["kind"] == "text":
            member = "refusal" if answer["finish"] == "refusal" else "content"
            out += [chunk({member: piece}) for piece in play["pieces"](block["text"])]
        else:
            first = {"index": number, "id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": ""}}
            out.append(chunk({"tool_calls": [first]}))
            rest = [chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]}) for piece in halves(compact(block["args"]))]
            later.append(rest)
            number += 1
            if not play.get("interleave"):
                out += later.pop()
    # Fragments of several calls in turns: legal here, and nowhere else.
    while any(later):
        out += [rest.pop(0) for rest in later if rest]
    out = strewn(play, out, b": PROCESSING\n\n" + sse({**base, "choices": [], "prompt_filter_results": []}, play))
    end = [chunk({}, finish(answer, play))]
    if asked:
        end.append(sse({**base, "choices": [], "usage": usage(answer["usage"])}, play))
    if not play.get("no_end"):
        end.append(sse("[DONE]", play))
    return out, end


def error(status, message, wait=None):
    headers = {"Retry-After": str(wait)} if wait else {}
    return headers, {"error": {"message": message, "type": KINDS.get(status, "server_error"), "param": None,
                               "code": "model_not_found" if status == 404 else None}}


def stream_error(message, play):
    return sse({"error": {"message": message, "type": "server_error", "param": None, "code": "server_error"}}, play)
