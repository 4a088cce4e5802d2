"""What the formats share: refusing, server-sent events, and the neutral record of what a provider was asked."""

import base64
import json
import re
from dataclasses import dataclass, field

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Refused(Exception):
    """The service answers with an error; 400 unless told otherwise."""

    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


def need(condition, message):
    if not condition:
        raise Refused(message)


def known(value, allowed, where):
    """An object that has no member but these (words separated by spaces)."""
    need(isinstance(value, dict), f"{where}: expected an object, got {type(value).__name__}")
    strangers = set(value) - set(allowed.split())
    need(not strangers, f"{where}: unknown member {', '.join(sorted(strangers))}")
    return value


def typed(value, kind, where):
    need(isinstance(value, kind) and not (kind in (int, (int, float)) and isinstance(value, bool)),
         f"{where}: {type(value).__name__} is not allowed here")
    return value


def parsed(words, where):
    try:
        value = json.loads(words)
    except (TypeError, ValueError):
        raise Refused(f"{where}: not JSON: {str(words)[:80]}") from None
    need(isinstance(value, dict), f"{where}: not a JSON object")
    return value


def based(data, where):
    try:
        need(isinstance(data, str) and base64.b64decode(data, validate=True), f"{where}: empty")
    except ValueError:
        raise Refused(f"{where}: not base64") from None
    return data


def data_url(url, where):
    """(mime, base64) of a data URL."""
    found = re.fullmatch(r"data:([a-z]+/[a-z0-9.+-]+);base64,(.*)", typed(url, str, where), re.DOTALL)
    need(found, f"{where}: neither a http(s) URL nor a base64 data URL")
    return found[1], based(found[2], where)


def image_at(url, where):
    """A picture by its URL, whichever kind of URL that is."""
    if re.match(r"https?://[^/]+/", typed(url, str, where)):
        return {"kind": "image_url", "url": url}
    mime, data = data_url(url, where)
    need(mime in ("image/png", "image/jpeg", "image/gif", "image/webp"), f"{where}: {mime} is no picture")
    return {"kind": "image", "mime": mime, "data": data}


@dataclass
class Seen:
    """A request as its provider understood it."""
    system: list = field(default_factory=list)
    messages: list = field(default_factory=list)
    tools: dict = field(default_factory=dict)
    choice: str = "auto"
    settings: dict = field(default_factory=dict)
    schema: dict = None
    thinking: bool = False
    stream: bool = False
    include_usage: bool = True
    sealed: bool = True
    marks: int = 0

    def add(self, role, blocks):
        """Neighbours of one role are one turn."""
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["blocks"] += blocks
        else:
            self.messages.append({"role": role, "blocks": list(blocks)})

    def set(self, **settings):
        self.settings.update({key: value for key, value in settings.items() if value is not None})


class Calls:
    """The calls that wait for their results."""

    def __init__(self):
        self.open = {}
        self.all = set()

    def called(self, ident, name, args):
        need(ident not in self.all, f"the id {ident} of a call is used twice")
        self.all.add(ident)
        self.open[ident] = {"name": name, "args": args}
        return {"kind": "call", "id": ident, "name": name, "args": args}

    def answered(self, ident, text, **more):
        need(ident in self.open, f"a result for {ident}, which no open call has")
        return {"kind": "result", **self.open.pop(ident), "text": text, **more}

    def settled(self, where):
        need(not self.open, f"{where}: no result for the calls {', '.join(self.open)}")


def strewn(play, frames, stranger):
    """A frame that nobody documented after the first and before the last."""
    return [frames[0], stranger, *frames[1:], stranger] if play.get("strange") and frames else frames


def line_end(play):
    return "\r\n" if play.get("crlf") else "\n"


def sse(data, play, event=None):
    """One server-sent event; characters beyond ASCII go out as they are, as most services do."""
    end = line_end(play)
    head = f"event: {event}{end}" if event else ""
    words = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{head}data: {words}{end}{end}".encode()


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def halves(words):
    """The arguments of a call arrive in pieces that are no JSON by themselves."""
    return [words[:4], words[4:7], words[7:]] if len(words) > 7 else [words]


def spoken(answer):
    """The text of an answer."""
    return "".join(block["text"] for block in answer["blocks"] if block["kind"] == "text")


def calls_of(answer):
    return [block for block in answer["blocks"] if block["kind"] == "call"]


def thought_of(answer):
    return next((block for block in answer["blocks"] if block["kind"] == "thinking"), None)
