"""Ollama's /api/chat: lines of JSON, no ids for calls, arguments as objects."""

import json

from formats.common import Seen, based, calls_of, compact, known, line_end, need, spoken, strewn, thought_of, typed

CONTENT_TYPE = "application/x-ndjson"
SILENT = 0
TOP = "model messages tools format options stream keep_alive think logprobs top_logprobs truncate shift"
OPTIONS = """num_keep seed num_predict top_k top_p min_p typical_p repeat_last_n temperature repeat_penalty presence_penalty
frequency_penalty penalize_newline stop num_ctx num_batch num_gpu main_gpu use_mmap num_thread"""


def read(body, headers, play):
    known(body, TOP, "body")
    seen, waiting = Seen(stream=body.get("stream", True)), []
    for index, message in enumerate(typed(body.get("messages"), list, "messages")):
        where = f"messages[{index}]"
        known(message, "role content images tool_calls tool_name thinking tool_call_id name", where)
        waiting = read_message(message, where, seen, waiting)
    need(not waiting, "tool calls without results")
    for index, tool in enumerate(body.get("tools") or []):
        function = known(tool, "type function", f"tools[{index}]")["function"]
        known(function, "name description parameters", f"tools[{index}].function")
        seen.tools[typed(function.get("name"), str, f"tools[{index}].function.name")] = function.get("parameters") or {"type": "object", "properties": {}}
    options = known(body.get("options") or {}, OPTIONS, "options")
    need(options.get("stop") is None or isinstance(options["stop"], list), "options.stop: a list")
    seen.set(max_tokens=options.get("num_predict"), stop=options.get("stop"), temperature=options.get("temperature"), top_p=options.get("top_p"))
    need(body.get("think") in (None, True, False, "low", "medium", "high"), "think")
    seen.thinking = bool(body.get("think"))
    seen.schema = body.get("format") if isinstance(body.get("format"), dict) else None
    need(body.get("format") in (None, "", "json") or seen.schema, "format: json or a schema")
    return seen


def read_message(message, where, seen, waiting):
    role, blocks = message.get("role"), []
    need(role in ("system", "user", "assistant", "tool"), f"{where}.role: {role}")
    words = typed(message.get("content", ""), str, f"{where}.content")
    if role == "tool":
        need(waiting, f"{where}: a result without a call")
        # By order; a name that is given must fit.
        fits = [item for item in waiting if message.get("tool_name") in (None, "", item["name"])]
        need(fits, f"{where}.tool_name: {message.get('tool_name')} was not called")
        call = fits[0]
        pictures = [{"kind": "image", "mime": None, "data": based(data, where)} for data in message.get("images") or []]
        seen.add("user", [{"kind": "result", "name": call["name"], "args": call["args"], "text": words, "images": pictures}])
        return [item for item in waiting if item is not call]
    need(not waiting, f"{where}: the calls before it have no results")
    if message.get("thinking"):
        blocks.append({"kind": "thinking", "text": message["thinking"], "signature": None})
    if words:
        blocks.append({"kind": "text", "text": words})
    blocks += [{"kind": "image", "mime": None, "data": based(data, f"{where}.images")} for data in message.get("images") or []]
    called = []
    for item in message.get("tool_calls") or []:
        known(item, "function id type", f"{where}.tool_calls")
        function = known(item.get("function"), "name arguments index", f"{where}.tool_calls.function")
        called.append({"name": function.get("name"), "args": typed(function.get("arguments"), dict, f"{where}.arguments")})
    blocks += [{"kind": "call", "id": None, **item} for item in called]
    need(not called or role == "assistant", f"{where}: only the assistant calls")
    if role == "system" and not seen.messages:
        seen.system.append(words)
    else:
        seen.add(role, blocks)
    return called


def line(play, message, **more):
    # Go's JSON writes the separators escaped; all else goes out as it is.
    words = compact({"model": play["model"], "created_at": "2026-01-01T00:00:00.123456789Z", "message": {"role": "assistant", **message}, "done": False, **more})
    words = words.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    # Python's client cuts lines at U+0085 and could not read the real service here; a gateway has to.
    return words.replace("\u0085", "\\u0085") if play["direct"] else words


def ending(answer):
    return {"done": True, "done_reason": "length" if answer["finish"] == "length" else "stop", "total_duration": 5_000_000,
            "load_duration": 1_000_000, "prompt_eval_count": answer["usage"]["input"], "prompt_eval_duration": 1_000_000,
            "eval_count": answer["usage"]["output"], "eval_duration": 2_000_000}


def tool_calls(answer):
    return {"tool_calls": [{"function": {"name": item["name"], "arguments": item["args"]}} for item in calls_of(answer)]}


def whole(answer, play):
    thought = thought_of(answer)
    message = {"content": spoken(answer), **({"thinking": thought["text"]} if thought and thought["text"] else {}), **(tool_calls(answer) if calls_of(answer) else {})}
    return json.loads(line(play, message, **ending(answer)))


def frames(answer, play):
    out, end = [], line_end(play)
    for block in answer["blocks"]:
        if block["kind"] == "thinking":
            out += [line(play, {"content": "", "thinking": piece}) for piece in play["pieces"](block["text"])]
        elif block["kind"] == "text":
            out += [line(play, {"content": piece}) for piece in play["pieces"](block["text"])]
        else:
            out.append(line(play, {"content": "", "tool_calls": [{"function": {"name": block["name"], "arguments": block["args"]}}]}))
    out = strewn(play, out, line(play, {"content": ""}))
    last = line(play, {"content": ""}, **ending(answer))
    # The last line break may be missing.
    return [f"{row}{end}".encode() for row in out], [(last + ("" if play.get("no_end") else end)).encode()]


def error(status, message, wait=None):
    return ({"Retry-After": str(wait)} if wait else {}), {"error": message}


def stream_error(message, play):
    return (compact({"error": message}) + line_end(play)).encode()
