"""Whether what a client saw is what the scenario says: one judge for all clients, so that none is judged by its own rules."""

import json

# How each client names how an answer ended; `vercel` is what its SDK makes of all formats.
FINISH = {
    "chat": {"stop": "stop", "tool": "tool_calls", "length": "length", "stop_sequence": "stop", "filter": "content_filter"},
    "responses": {"stop": "completed", "tool": "completed", "length": "incomplete:max_output_tokens", "stop_sequence": "completed", "filter": "incomplete:content_filter"},
    "anthropic": {"stop": "end_turn", "tool": "tool_use", "length": "max_tokens", "stop_sequence": "stop_sequence", "filter": "refusal"},
    "gemini": {"stop": "STOP", "tool": "STOP", "length": "MAX_TOKENS", "stop_sequence": "STOP", "filter": "SAFETY"},
    "ollama": {"stop": "stop", "tool": "stop", "length": "length", "stop_sequence": "stop", "filter": "stop"},
    # These two are clients only of the scripted provider itself.
    "cohere": {"stop": "COMPLETE", "tool": "TOOL_CALL", "length": "MAX_TOKENS", "stop_sequence": "STOP_SEQUENCE", "filter": "COMPLETE"},
    "bedrock": {"stop": "end_turn", "tool": "tool_use", "length": "max_tokens", "stop_sequence": "stop_sequence", "filter": "content_filtered"},
    "vercel": {"stop": "stop", "tool": "tool-calls", "length": "length", "stop_sequence": "stop", "filter": "content-filter"},
}
# A refusal in words: some formats have a place of their own for it, the others end as if filtered.
REFUSED = {"chat": ("stop", "content_filter"), "responses": ("completed", "incomplete:content_filter"), "anthropic": ("refusal",),
           "gemini": ("SAFETY",), "ollama": ("stop",), "vercel": ("stop", "content-filter", "other")}
# What a connection's end looks like to a client.
BROKEN = ("APIConnectionError", "RemoteProtocolError", "ReadError", "ConnectionError", "IncompleteRead")
# What every provider of the matrix counts.
TOKENS = 42
# What a provider's answer cannot tell.
UNTOLD = {"cached": ("ollama",), "written": ("ollama", "cohere", "gemini"), "reasoning": ("ollama", "cohere", "bedrock")}
STATUS = {400: (400,), 401: (401, 502, 503), 403: (401, 403, 502, 503), 404: (404,), 413: (413,), 429: (429,), 500: (500, 502, 503), 502: (502, 503), 503: (503, 529, 502)}
OPENAI = {400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError", 429: "RateLimitError"}
# Only where an SDK has a class per status.
CLASSES = {"chat-python": OPENAI, "responses-python": OPENAI, "chat-node": OPENAI, "responses-node": OPENAI, "anthropic-node": OPENAI,
           "anthropic-python": {**OPENAI, 413: "ContentTooLargeError", 529: "OverloadedError"},
           "gemini-python": {**dict.fromkeys((400, 401, 403, 404, 413, 429), "ClientError"), **dict.fromkeys((500, 502, 503), "ServerError")}}


def judge(row, scenario, direct, asked):
    """Why this row is wrong, or None. `asked` is what the provider recorded for it."""
    refusals = [record["reason"] for record in asked if "reason" in record]
    if refusals:
        return f"the provider refused turn {asked[-1]['turn'] + 1}: {refusals[0]}"
    if scenario.get("count"):
        return judge_count(row, asked)
    if "fault" in scenario["answers"][0]:
        return judge_fault(row, scenario["answers"][0]["fault"], direct)
    if "breaks" in scenario["answers"][0]:
        return judge_break(row, scenario, direct)
    if "error" in row:
        refused = row["provider"] in scenario.get("may_refuse", ()) and row["error"]["status"] == 400 and not asked
        return None if refused and not direct else f"{row['error']['class']}: {row['error']['message'][:220]}"
    if len(row["turns"]) != len(scenario["answers"]):
        return f"{len(row['turns'])} turns instead of {len(scenario['answers'])}"
    for number, (turn, answer) in enumerate(zip(row["turns"], scenario["answers"])):
        reason = judge_turn(row, turn, answer, scenario)
        if reason:
            return f"turn {number + 1}: {reason}"
    return None


def judge_count(row, asked):
    """The provider's own count where it has the same format; an estimate elsewhere."""
    if "error" in row:
        return f"{row['error']['class']}: {row['error']['message'][:220]}"
    count = row["turns"][0]["usage"]["input"]
    return None if count == TOKENS or (row["provider"] != row["format"] and 0 < count < 100) else f"count: {count}"


def judge_turn(row, turn, answer, scenario):
    words = "".join(block["text"] for block in answer["blocks"] if block["kind"] == "text")
    got = turn["text"] or turn["refusal"]
    if scenario.get("schema"):
        if json.loads(got or "null") != json.loads(words):
            return f"text: {got!r:.80} instead of {words!r}"
    elif got != words and not (answer["finish"] in ("refusal", "filter") and silent(row, turn, got, words)):
        return f"text: {len(got)} signs {got!r:.80} instead of {len(words)} signs {words!r:.80}"
    calls = [block for block in answer["blocks"] if block["kind"] == "call"]
    if [(call["name"], call["args"]) for call in turn["calls"]] != [(call["name"], call["args"]) for call in calls]:
        return f"calls: {turn['calls']!r:.200}"
    idents = [call["id"] for call in turn["calls"]]
    if row["format"] not in ("ollama", "gemini") and (not all(idents) or len(set(idents)) != len(idents)):
        return f"ids of calls: {idents}"
    return judge_finish(row, turn, answer, scenario) or judge_thinking(row, turn, answer) or judge_usage(row, turn, answer, scenario)


def silent(row, turn, got, words):
    """Where nothing was said, a format with a place for refusals may say that it was one; Vercel's SDK takes that for text."""
    return not got or (not words and (not turn["text"] or row.get("vocabulary") == "vercel"))


def judge_finish(row, turn, answer, scenario):
    vocabulary, finish, provider = row.get("vocabulary", row["format"]), answer["finish"], row["provider"]
    if finish in ("refusal", "filter") and provider in ("ollama", "cohere"):
        finish = "stop"
    elif finish == "refusal" and provider in ("gemini", "bedrock"):
        finish = "filter"
    fits = REFUSED[vocabulary] if finish == "refusal" else (FINISH[vocabulary][finish],)
    # An Anthropic answer says `refusal` for both.
    if finish == "filter" and provider == "anthropic":
        fits += REFUSED[vocabulary]
    if finish == "stop_sequence" and vocabulary == "anthropic" and provider not in ("anthropic", "cohere", "bedrock"):
        fits = ("end_turn", "stop_sequence")
    # At a provider of the client's own format the bytes pass as they are.
    if scenario.get("says_stop") and row["format"] == provider:
        fits += (FINISH[vocabulary]["stop"],)
    if turn["finish"] not in fits:
        return f"finish: {turn['finish']} instead of {' or '.join(fits)}"
    if finish == "stop_sequence" and row["format"] == vocabulary == provider == "anthropic" and turn.get("stopped_by") != scenario["stop"][0]:
        return f"stop_sequence: {turn.get('stopped_by')}"
    return None


def judge_thinking(row, turn, answer):
    words = "".join(block["text"] for block in answer["blocks"] if block["kind"] == "thinking")
    return None if turn["thinking"] == words or row.get("thoughtless") else f"thinking: {turn['thinking']!r:.80} instead of {words!r:.80}"


def judge_usage(row, turn, answer, scenario):
    """The client's own sums. A stream without its end marker may have lost the numbers with it."""
    if scenario.get("no_end") and row["provider"] == "bedrock":
        return None
    true = dict(answer["usage"])
    for name, providers in UNTOLD.items():
        if row["provider"] in providers:
            # Anthropic and Bedrock count these apart; for the others they are inside of the input already.
            true[name] = 0
    total = true["input"] + true["output"]
    wanted = {"input": true["input"], "output": true["output"], "total": total, "cached": true["cached"], "reasoning": true["reasoning"]}
    if row.get("vocabulary") == "vercel":
        pass
    elif row["format"] in ("anthropic", "bedrock"):
        wanted |= {"input": true["input"] - true["cached"] - true["written"], "written": true["written"]}
    elif row["format"] == "gemini":
        wanted |= {"output": true["output"] - true["reasoning"]}
    if turn["usage"] is None:
        return "no usage"
    wrong = {name: (count, wanted[name]) for name, count in turn["usage"].items() if count != wanted[name]}
    return "usage: " + ", ".join(f"{name} {count} instead of {right}" for name, (count, right) in wrong.items()) if wrong else None


def judge_fault(row, fault, direct):
    error = row.get("error")
    if error is None:
        return "no error was raised"
    status = fault["status"]
    allowed = (status,) if direct else STATUS[status]
    if error["status"] not in allowed:
        return f"status {error['status']} instead of {allowed}: {error['class']} {error['message'][:160]}"
    wanted = CLASSES.get(row["client"], {}).get(error["status"])
    if wanted and error["class"] != wanted:
        return f"class {error['class']} instead of {wanted}"
    if "retry_after" in fault and row["format"] != "ollama" and not (error["wait"] and fault["retry_after"] - 3 <= float(error["wait"]) <= fault["retry_after"] + 1):
        return f"retry after {error['wait']} instead of {fault['retry_after']}"
    if fault.get("html") and not direct and "<html" in error["message"]:
        return "the provider's HTML was copied"
    return None


def judge_break(row, scenario, direct):
    """What had arrived stays, and then an exception: never an end that looks like one."""
    if "error" not in row and direct and scenario["answers"][0].get("early"):
        # Some clients take nothing at all for an answer; a gateway may not let it come to that.
        return None
    if "error" not in row:
        return f"a broken stream ended as if complete: finish {row['turns'][0]['finish']}, {row['turns'][0]['text']!r}"
    # Node's fetch says `terminated` with a TypeError.
    if row["error"]["class"] in ("AssertionError", "KeyError", "TypeError", "AttributeError") and row["error"]["message"] != "terminated":
        return f"{row['error']['class']}: {row['error']['message']}"
    if scenario["answers"][0].get("early"):
        # The status of a provider's own words in a stream is known to no client but Google's.
        fits = direct or row["error"]["status"] in (500, 502, 503, 504, 529)
        return None if fits else f"status {row['error']['status']} for what broke before its first word: {row['error']['class']} {row['error']['message'][:120]}"
    if not direct and (row["error"]["class"] in BROKEN or row["error"]["message"] == "terminated"):
        return f"the connection broke instead of an error in the stream: {row['error']['class']} {row['error']['message'][:120]}"
    begun = scenario["answers"][0]["blocks"][0]["text"]
    got = row["turns"][0]["text"]
    return None if got and begun.startswith(got) else f"{got!r} before the error instead of {begun!r}"
