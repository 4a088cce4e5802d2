"""What the matrix plays: neutral conversations, the provider's part in them, and what must arrive at both ends.

A scenario belongs to no wire format. `messages` and `answers` are lists of blocks (`text`, `image`, `call`, ...); the clients
say them in their SDK's words, the files of formats/ in the providers' words. A second answer means a second turn: the client
sends back what it got, with a result for each call.

usage: scenarios.py        prints all of it as JSON, for the clients that are not written in Python
"""

import base64
import json
import struct
import sys
import zlib


def png(side=2):
    """A small real picture: providers look into what they are sent."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x20\x80\xf0" * side for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PNG = base64.b64encode(png()).decode()
PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").decode()
REDACTED = base64.b64encode(b"a thought that only its maker can read.").decode()
# Its base64 has neither `+` nor `/`, so it is the same in both alphabets.
SIGNATURE = base64.b64encode(b"a signed thought, nobody may touch it...").decode()
# Line separators, combining marks, an astral sign, a joined family, right-to-left, a NUL escape, JSON's own signs.
ODD = "Zürich e\u0301 \u2028\u2029\u0085 😀 👨‍👩‍👧 שלום \\ \" {} </s> data: [DONE]\ttab \U00010348 end"
LONG = "".join(f"{number:07d}. " + "abcdefghij" * 9 + "\n" for number in range(1000))

TOOLS = {
    "get_weather": {"description": "Weather of a city", "schema": {
        "type": "object", "required": ["city"],
        "properties": {"city": {"type": "string", "description": "Its name"}, "unit": {"type": "string", "enum": ["c", "f"]}}}},
    "get_time": {"description": "Time of a zone", "schema": {
        "type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}},
    # Legal at Gemini and Ollama only.
    "files.read": {"description": "Read", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
    "ping": {"description": "Says pong", "schema": {"type": "object", "properties": {}}},
    # Each keyword here is legal JSON Schema and an error in Gemini's `parameters`.
    # Longer than most formats allow: tools of servers far away are named like this.
    "mcp__a_server_with_a_rather_long_name__and_a_tool_that_says_in_its_name_all_that_it_does_for_you": {
        "description": "Long", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
    "plan": {"description": "Plan a trip", "schema": {
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": False,
        "required": ["stops", "mode"], "$defs": {"stop": {
            "type": "object", "properties": {"name": {"type": "string"}, "days": {"type": ["integer", "null"], "exclusiveMinimum": 0}},
            "required": ["name"], "additionalProperties": False}},
        "properties": {
            "stops": {"type": "array", "items": {"$ref": "#/$defs/stop"}, "uniqueItems": True},
            "mode": {"oneOf": [{"const": "train"}, {"const": "bike"}]}}}},
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
          "required": ["city", "people"], "additionalProperties": False}
USAGE = {"input": 37, "cached": 0, "written": 0, "output": 11, "reasoning": 0}


def text(words):
    return {"kind": "text", "text": words}


def call(name, number=1, **args):
    return {"kind": "call", "id": f"call_{name}_{number}", "name": name, "args": args}


def result(of, words, **more):
    return {"kind": "result", "id": of["id"], "name": of["name"], "args": of["args"], "text": words, **more}


def thought(words="Let me think.", signature=SIGNATURE):
    return {"kind": "thinking", "text": words, "signature": signature}


def user(*blocks):
    return {"role": "user", "blocks": [text(block) if isinstance(block, str) else block for block in blocks]}


def assistant(*blocks):
    return {**user(*blocks), "role": "assistant"}


def system(words):
    return {"role": "system", "blocks": [text(words)]}


def answer(*blocks, finish="stop", **usage):
    return {"blocks": user(*blocks)["blocks"], "finish": finish, "usage": {**USAGE, **usage}}


def fault(status, message, **more):
    return {"fault": {"status": status, "message": message, **more}}


SCENARIOS = {}


def scenario(name, *messages, answers=None, results=(), modes=("whole", "stream"), phase="calm", **more):
    """`results`: one per call of the answers, in their order. A scenario with a fault has a phase of its own, because a
    fault may cool the account for everything else that runs."""
    SCENARIOS[name] = {
        "name": name, "messages": list(messages or [user("hello")]), "answers": answers or [answer("Hello there.")],
        "results": list(results), "modes": list(modes), "phase": phase, "tools": [], **more}


def conversation():
    scenario("plain")
    scenario("unicode", user(ODD), answers=[answer(ODD)])
    scenario("long", user(LONG), answers=[answer(LONG)])
    scenario("empty", answers=[answer("", output=2)])
    scenario("multi-turn", user("one"), assistant("two"), user("three"), assistant("four"), user("five"))
    scenario("system", user("hello"), system="Be brief.\nBe kind.")
    scenario("mid-system", user("one"), assistant("two"), system("From now on speak French."), user("three"), system="Be brief.")
    scenario("same-role", user("one"), user("two"), assistant("three"), assistant("four"), user("five"))
    # One of the two only: newer models of Anthropic refuse both at once.
    scenario("sampling", temperature=0.5, max_tokens=77, stop=["END", "STOP"])
    scenario("top-p", top_p=0.9)
    # More than some providers take: they get the most that they do take.
    scenario("hot", temperature=1.7, only=["chat", "responses", "gemini", "ollama"])
    # OpenAI's Responses want 16 at least.
    scenario("max-tokens", max_tokens=17, answers=[answer("Cut off in the", finish="length", output=17)])
    scenario("stop-sequence", stop=["END"], answers=[answer("Before the ", finish="stop_sequence")])
    scenario("refusal", answers=[answer("I cannot help with that.", finish="refusal")])
    scenario("filtered", answers=[answer("This far", finish="filter")])
    scenario("blocked", answers=[answer("", finish="filter")])


def media():
    picture, linked = {"kind": "image", "mime": "image/png", "data": PNG}, {"kind": "image_url", "path": "/picture.png"}
    pdf = {"kind": "pdf", "data": PDF, "name": "report"}
    scenario("image", user("What is it?", picture, "And why?"))
    # Who takes only bytes: the gateway may fetch them or refuse.
    scenario("image-url", user("What is it?", linked), may_refuse=["gemini", "ollama", "cohere", "bedrock"])
    scenario("pdf", user("Sum it up.", pdf), may_refuse=["ollama", "cohere"])


def tools():
    bern, rome, time = call("get_weather", city="Bern", unit="c"), call("get_weather", 2, city="Rom ü\u2028"), call("get_time", zone="Europe/Zurich")
    both, ask = ["get_weather", "get_time"], user("Weather and time?")
    done = answer("All done.", input=90, output=7)
    scenario("tool", ask, tools=both, answers=[answer(bern, finish="tool"), done], results=[result(bern, "12 degrees")])
    scenario("parallel-tools", ask, tools=both, answers=[answer(bern, rome, time, finish="tool"), done],
             results=[result(bern, "12"), result(rome, "21"), result(time, "noon")], interleave=True)
    # Whoever works in parallel answers in any order; formats without ids go by theirs.
    scenario("swapped-results", ask, tools=both, answers=[answer(bern, rome, time, finish="tool"), done], swap=True,
             results=[result(bern, "12"), result(rome, "21"), result(time, "noon")], only=["chat", "responses", "anthropic"])
    scenario("text-and-tool", ask, tools=both, answers=[answer("I will look.", bern, finish="tool"), done], results=[result(bern, "12")])
    scenario("wrong-finish", ask, tools=both, answers=[answer(bern, finish="tool"), done], results=[result(bern, "12")], says_stop=True, repaired=True)
    scenario("empty-arguments", user("ping it"), tools=["ping"], answers=[answer(call("ping"), finish="tool"), done], results=[result(call("ping"), "pong")])
    scenario("empty-result", user("ping it"), tools=["ping"], answers=[answer(call("ping"), finish="tool"), done], results=[result(call("ping"), "")])
    dotted = call("files.read", city="Bern")
    scenario("dotted-name", ask, tools=["files.read"], answers=[answer(dotted, finish="tool"), done], results=[result(dotted, "12")], only=["gemini", "ollama"])
    deep = call("plan", stops=[{"name": "Chur", "days": 2}, {"name": "St. Moritz", "days": None}], mode="train")
    scenario("hard-schema", user("plan it"), tools=["plan"], answers=[answer(deep, finish="tool"), done], results=[result(deep, "planned")])
    scenario("tool-history", ask, assistant("Looking.", bern, time), user(result(bern, "12 degrees"), result(time, "noon"), "So?"),
             assistant("It is fine."), user("Thanks. And now?"), tools=both)
    scenario("tool-error", ask, tools=both, answers=[answer(bern, finish="tool"), done], results=[result(bern, "no such city", error=True)])
    scenario("tool-image", ask, tools=both, answers=[answer(bern, finish="tool"), done],
             results=[result(bern, "a picture:", images=[{"kind": "image", "mime": "image/png", "data": PNG}])], may_refuse=["ollama", "cohere", "chat"])
    scenario("forced-tool", ask, tools=both, choice="get_weather", answers=[answer(bern, finish="tool")])
    scenario("any-tool", ask, tools=both, choice="any", answers=[answer(time, finish="tool")])
    scenario("no-tool", ask, tools=both, choice="none")
    scenario("json-schema", user("Which city?"), schema=SCHEMA, answers=[answer('{"city":"Bern","people":140000}')])
    scenario("thinking", ask, tools=both, thinking=True, answers=[answer(thought(), bern, finish="tool", output=40, reasoning=25), done], results=[result(bern, "12")])
    scenario("thinking-redacted", ask, tools=both, thinking=True, only=["anthropic"], results=[result(bern, "12")],
             answers=[answer({"kind": "redacted", "data": REDACTED}, bern, finish="tool", output=40), done])
    # An agent's loop: each step has a thought and a call of its own, and all of them must come back.
    step = answer(thought("Now the time."), time, finish="tool", input=60, output=30, reasoning=12)
    scenario("agent-loop", ask, tools=both, thinking=True, results=[result(bern, "12"), result(time, "noon")],
             answers=[answer(thought(), bern, finish="tool", output=40, reasoning=25), step, done])
    # Too little room for a budget of thoughts: what goes out must be legal all the same.
    scenario("thinking-small", thinking=True, max_tokens=100, loose=True, only=["chat", "responses", "gemini", "ollama"])
    # Nothing but its seal is shown of this thought, and yet it must come back.
    scenario("thinking-hidden", ask, tools=both, thinking=True, answers=[answer(thought(""), bern, finish="tool", output=40, reasoning=25), done], results=[result(bern, "12")])
    far = call(next(name for name in TOOLS if len(name) > 64), city="Bern")
    scenario("long-name", ask, tools=[far["name"]], answers=[answer(far, finish="tool"), done], results=[result(far, "12")], only=["anthropic", "ollama"])
    scenario("thinking-text", thinking=True, answers=[answer(thought("First this,\nthen that."), "So it is.", output=31, reasoning=20)])


def figures():
    scenario("cached", answers=[answer("Cheap.", input=1000, cached=600, written=100, output=50)])
    scenario("usage", answers=[answer("Exactly.", input=4321, output=123, reasoning=45)])


    # Marks of the client for the provider's cache.
    scenario("cache-marks", user("This is worth keeping."), system="Be brief.", marks=2, only=["anthropic"])
    scenario("count", user("How many are these?"), modes=["whole"], count=True, only=["anthropic", "gemini"])


def framing():
    scenario("crlf", user(ODD), answers=[answer(ODD)], modes=["stream"], crlf=True)
    scenario("split-bytes", user("hello"), answers=[answer(ODD)], modes=["stream"], split=3)
    scenario("glued", answers=[answer("all in one write")], modes=["stream"], glued=True)
    scenario("huge-chunk", answers=[answer("x" * 300_000 + "\u2028é")], pieces=1)
    scenario("no-end", answers=[answer("The end is missing.")], modes=["stream"], no_end=True, repaired=True)
    # What one format's services send beside its documented events.
    scenario("strange-events", answers=[answer("Nothing", " to see.")], modes=["stream"], strange=True, repaired=True)
    scenario("slow-first-byte", delay=0.7)


def faults():
    scenario("error-400", answers=[fault(400, "that value is not allowed")], phase="faulty")
    scenario("error-401", answers=[fault(401, "the key is not valid")], phase="faulty")
    scenario("error-403", answers=[fault(403, "this is forbidden")], phase="faulty")
    scenario("error-404", answers=[fault(404, "no such model")], phase="faulty")
    scenario("error-413", answers=[fault(413, "the request is too large")], phase="faulty")
    scenario("error-429", answers=[fault(429, "too many requests", retry_after=17)], phase="faulty")
    scenario("error-500", answers=[fault(500, "something broke")], phase="faulty")
    scenario("error-503", answers=[fault(503, "overloaded")], phase="faulty")
    # The model is a combo whose first two targets, of other formats, are broken.
    scenario("fallback", answers=[answer("From the third of them.")], phase="last", model="fallback-{provider}")
    scenario("error-html", answers=[fault(502, "<html><body>Bad Gateway</body></html>", html=True)], phase="faulty")
    scenario("stream-error", answers=[{**answer("It begins well"), "breaks": "error"}], modes=["stream"], phase="faulty")
    # Before any content nothing is sent to the client yet, so these are proper errors of HTTP.
    scenario("early-error", answers=[{**answer("never said"), "breaks": "error", "early": True}], modes=["stream"], phase="faulty")
    scenario("early-cut", answers=[{**answer("never said"), "breaks": "cut", "early": True}], modes=["stream"], phase="faulty")
    scenario("stream-cut", answers=[{**answer("It begins well"), "breaks": "cut"}], modes=["stream"], phase="faulty")


for part in (conversation, media, tools, figures, framing, faults):
    part()


def results_of(scenario, turn):
    """The results for the calls of one answer."""
    calls = [sum(block["kind"] == "call" for block in answer.get("blocks", ())) for answer in scenario["answers"][:turn + 1]]
    return scenario["results"][sum(calls[:turn]):sum(calls)]


def pieces(scenario, words):
    """How a provider cuts a text for a stream: never nothing, never inside a character (the transport cuts the bytes)."""
    size = len(words) if scenario.get("pieces") == 1 else max(5, len(words) // 100)
    return [words[at:at + size] for at in range(0, len(words), max(size, 1))]


if __name__ == "__main__":
    json.dump({"scenarios": SCENARIOS, "tools": TOOLS}, sys.stdout)
