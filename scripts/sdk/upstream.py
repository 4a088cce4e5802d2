#!/usr/bin/env python3
"""A scripted provider that speaks all seven formats on their own paths under one port, and checks what it is asked.

usage: upstream.py PORT [direct]        direct: the clients come without a gateway

The model's name chooses the scenario: `parallel-tools--anthropic-node--stream` is the scenario, the client that asks (its first
word is the format it speaks) and the mode. A request that the real service would refuse, or that is not what the client of the
scenario meant, is answered 400 with the reason; GET /__records tells what happened per format and model. The scenario `agent`
has no fixed conversation: agent.py answers what the coding agents of scripts/sdk/cli ask.
"""

import base64
import itertools
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import agent
import expect
from formats import anthropic, bedrock, cohere, gemini, ollama, openai_chat, responses
from formats.common import Refused
from scenarios import PNG, SCENARIOS, pieces, results_of

FORMATS = {"chat": openai_chat, "responses": responses, "anthropic": anthropic, "gemini": gemini, "ollama": ollama,
           "cohere": cohere, "bedrock": bedrock}
FIXED = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/messages": "anthropic", "/api/chat": "ollama", "/v2/chat": "cohere"}
RECORDS, LOCK = {}, threading.Lock()
# No two answers have the same id: agents take those for one that goes on.
NUMBERS = itertools.count(1)
TOKENS = 42


def routed(path):
    """(format, model from the path, action) of a POST."""
    parts = urlsplit(path)
    if parts.path in FIXED:
        return FIXED[parts.path], None, "generate"
    if parts.path == "/v1/messages/count_tokens":
        return "anthropic", None, "count"
    words = parts.path.strip("/").split("/")
    if len(words) == 3 and words[0] in ("v1", "v1beta", "v1alpha") and words[1] == "models" and ":" in words[2]:
        model, _, action = unquote(words[2]).partition(":")
        stream = ("sse" if "alt=sse" in parts.query else "array") if action == "streamGenerateContent" else "whole"
        return ("gemini", model, "count" if action == "countTokens" else stream) if action in ("generateContent", "streamGenerateContent", "countTokens") else None
    if len(words) == 3 and words[0] == "model" and words[2] in ("converse", "converse-stream"):
        return "bedrock", unquote(words[1]), "sse" if words[2] == "converse-stream" else "whole"
    return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.reply(200, {}, b"")

    def do_GET(self):
        path = urlsplit(self.path).path
        if path == "/picture.png":
            return self.reply(200, {"Content-Type": "image/png"}, base64.b64decode(PNG))
        if path == "/__records":
            with LOCK:
                return self.answer(200, {}, RECORDS)
        rows = {"/v1/models": {"object": "list", "data": [{"id": name, "object": "model", "created": 1, "owned_by": "x"} for name in SCENARIOS]},
                "/v1beta/models": {"models": [{"name": f"models/{name}", "supportedGenerationMethods": ["generateContent"]} for name in SCENARIOS]},
                "/api/tags": {"models": [{"name": name, "model": name} for name in SCENARIOS]}, "/api/version": {"version": "0.12.0"}}
        return self.answer(200, {}, rows[path]) if path in rows else self.answer(404, {}, {"error": "no such path"})

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        route = routed(self.path)
        if route is None:
            return self.answer(404, {}, {"error": f"no such path: {self.path}"})
        kind, model, action = route
        try:
            body = json.loads(text)
            model = model or body.get("model", "")
        except ValueError:
            return self.answer(400, *FORMATS[kind].error(400, "the body is not JSON"))
        # Before the scenario may stand the name of a model family, for gateways that know what each can do.
        told = agent.ALIASES.get(model) or "--".join(model.split("--")[-3:])
        name, client, _ = [*told.split("--"), "", ""][:3]
        scenario = agent.SCENARIO if name == "agent" else SCENARIOS.get(name)
        if scenario is None:
            return self.answer(404, *FORMATS[kind].error(404, f"no such model: {model}"))
        if action == "count":
            self.record(kind, told, {"turn": 0, "status": 200, "count": True})
            return self.answer(200, {}, {"input_tokens": TOKENS} if kind == "anthropic" else {"totalTokens": TOKENS})
        self.play(kind, told, action, body, scenario)

    def play(self, kind, model, action, body, scenario):
        """Read the request, check it, and give the scenario's answer of this turn."""
        speaker, client = FORMATS[kind], [*model.split("--"), ""][1].split("-")[0]
        play = {**scenario, "model": model, "pieces": lambda words: pieces(scenario, words), "signs": scenario.get("thinking"),
                "streaming": action in ("sse", "array"), "array": action == "array", "direct": "direct" in sys.argv,
                "passes": client == kind, "number": next(NUMBERS)}
        row = {"turn": 0, "status": 200}
        try:
            seen = play["seen"] = speaker.read(body, self.headers, play)
            if scenario is agent.SCENARIO:
                row["turn"], answer = agent.act(seen, kind)
                row |= {"tools": len(seen.tools), "thinking": seen.thinking, "body": body}
                self.record(kind, model, row)
                return self.say(speaker, answer, play)
            row["turn"] = turn_of(scenario, seen)
            expect.check(scenario, row["turn"], seen, kind, client)
        except Refused as refusal:
            row |= {"status": refusal.status, "reason": str(refusal), **({"body": body} if scenario is agent.SCENARIO else {})}
            self.record(kind, model, row)
            return self.answer(refusal.status, *speaker.error(refusal.status, str(refusal)))
        self.record(kind, model, row)
        time.sleep(scenario.get("delay", 0))
        answer = expect.renamed(scenario, seen)["answers"][row["turn"]]
        if "fault" in answer:
            return self.fault(speaker, answer["fault"])
        self.say(speaker, through_tool(scenario, seen, without_redacted(kind, answer)), play)

    def say(self, speaker, answer, play):
        if play["seen"].stream:
            return self.stream(speaker, answer, play)
        self.answer(200, {}, speaker.whole(answer, play))

    def record(self, kind, model, row):
        with LOCK:
            RECORDS.setdefault(f"{kind} {model}", []).append(row)

    def fault(self, speaker, fault):
        if fault.get("html"):
            return self.reply(fault["status"], {"Content-Type": "text/html"}, fault["message"].encode())
        self.answer(fault["status"], *speaker.error(fault["status"], fault["message"], fault.get("retry_after")))

    def answer(self, status, headers, body):
        self.reply(status, {"Content-Type": "application/json", **headers}, json.dumps(body, ensure_ascii=False).encode())

    def reply(self, status, headers, body):
        self.head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)
        self.wfile.flush()

    def head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def stream(self, speaker, answer, play):
        content, end = speaker.frames(answer, play)
        breaks = answer.get("breaks")
        if answer.get("early"):
            content = content[:speaker.SILENT]
        kind = "application/json" if play["array"] else speaker.CONTENT_TYPE
        self.head(200, {"Content-Type": kind, "Transfer-Encoding": "chunked"})
        self.wfile.flush()
        frames = content + ([speaker.stream_error("the provider broke off", play)] if breaks == "error" else [] if breaks else end)
        if play.get("glued"):
            frames = [b"".join(frames)]
        if play.get("split"):
            whole, size = b"".join(frames), play["split"]
            frames = [whole[at:at + size] for at in range(0, len(whole), size)]
        for frame in frames:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(frame), frame))
            self.wfile.flush()
        if breaks == "cut":
            # No last chunk: the connection ends in the middle of the body.
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def turn_of(scenario, seen):
    """Which answer is due: the results beyond those of the scenario's own history tell."""
    given = sum(block["kind"] == "result" for message in scenario["messages"] for block in message["blocks"])
    got = sum(block["kind"] == "result" for message in seen.messages for block in message["blocks"])
    turn, results = 0, given
    while results < got and turn + 1 < len(scenario["answers"]):
        results += len(results_of(scenario, turn))
        turn += 1
    return turn


def through_tool(scenario, seen, answer):
    """A schema that came as a forced tool is answered by a call of that tool."""
    if not scenario.get("schema") or seen.schema or not seen.tools:
        return answer
    words = json.loads(answer["blocks"][0]["text"])
    return {**answer, "finish": "tool", "blocks": [{"kind": "call", "id": "call_json_1", "name": next(iter(seen.tools)), "args": words}]}


def without_redacted(kind, answer):
    """Only two formats have thoughts that nobody may read."""
    hidden = () if kind in ("anthropic", "bedrock") else ("redacted",)
    return {**answer, "blocks": [block for block in answer["blocks"] if block["kind"] not in hidden]}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        # A client that hangs up is no news; anything else is a bug of this file.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
