"""The provider's part in the session of a coding agent: it has files read with the agent's own tool until it knows all the words.

The prompt names the first file, a file names those to read next, and the last answer holds every word that was found. What is
said depends on the conversation alone, so any agent can play, with whatever its tool for reading is called.
"""

import json
import posixpath
import re

from formats.common import Refused, need
from scenarios import answer, call, text, thought

FIRST, HERE, NEXT, WORD = (re.compile(f"{label}: ([\\w./-]+)") for label in ("First file", "This file", "Next file", "Secret word"))
# The tools of these agents that can read a file, and their members for a path or a command.
READERS = ("Read", "read", "read_file", "exec_command", "shell_command", "shell", "Bash", "bash")
PATHS, COMMANDS = ("file_path", "filePath", "absolute_path", "path"), ("cmd", "command")
FILES = {"start.txt": "This file: start.txt\nSecret word: quince\nNext file: left.txt\nNext file: right.txt\n",
         "left.txt": "This file: left.txt\nSecret word: medlar\n", "right.txt": "This file: right.txt\nSecret word: sorb-äpple\n"}
WORDS = ("quince", "medlar", "sorb")
# Conversation and answers are made up as it goes; the calls of this provider are signed.
SCENARIO = {"name": "agent", "thinking": True}
PROMPT = "Read the files with your tool and tell me the secret words. First file: {}/start.txt"


def prepare(folder):
    """Lay out the files, and say what to ask the agent."""
    for name, words in FILES.items():
        (folder / name).write_text(words)
    return PROMPT.format(folder)


def act(seen, provider):
    """(number of the turn, answer) for this request; None is the turn of a question beside the session."""
    reader = next((name for wanted in READERS for name in seen.tools if name == wanted), None)
    if reader is None:
        return None, aside(seen)
    blocks = [block for message in seen.messages for block in message["blocks"]]
    begin = FIRST.search("\n".join(block["text"] for block in blocks if block["kind"] == "text"))
    need(begin, "LOST the user's prompt")
    results = [block for block in blocks if block["kind"] == "result"]
    for result in results:
        check(result)
    named = [name for result in results for name in NEXT.findall(result["text"])]
    if not results:
        return 0, calling(seen, provider, reader, [begin[1]], "I will look into the first file.")
    if len(results) == 1:
        paths = [posixpath.join(posixpath.dirname(begin[1]), name) for name in named]
        need(len(paths) == 2, f"LOST part of the tool's result: {results[0]['text']!r:.200}")
        return 1, calling(seen, provider, reader, paths, "Two more, at the same time.")
    need(len(results) == 3, f"LOST results: {len(results)} instead of 3")
    found = [word for result in results for word in WORD.findall(result["text"])]
    return 2, answer(*thinking(seen, provider), text(f"The words are: {', '.join(found)}."), input=4000, output=30)


def check(result):
    """The content of a file belongs to the call that asked for it, even where both calls went out at once."""
    name = HERE.search(result["text"])
    need(name and WORD.search(result["text"]), f"LOST the tool's result: {result['text']!r:.300}")
    need(name[1] in json.dumps(result["args"]), f"LOST which call a result belongs to: {name[1]} for {result['args']}")


def calling(seen, provider, reader, paths, words):
    calls = [call(reader, f"{len(paths)}{number}", **arguments(seen.tools[reader], path)) for number, path in enumerate(paths)]
    return answer(*thinking(seen, provider), text(words), *calls, finish="tool", input=3000, output=60)


def arguments(schema, path):
    properties = schema.get("properties") or {}
    for name in PATHS:
        if name in properties:
            return {name: path}
    for name in COMMANDS:
        if name in properties:
            lists = str(properties[name].get("type", "")).lower() == "array"
            return {name: ["cat", path] if lists else f"cat {path}"}
    raise Refused(f"LOST the schema of the tool for reading: {json.dumps(schema)[:300]}")


def thinking(seen, provider):
    """Gemini signs its calls whether or not it was asked to show what it thinks."""
    return [thought()] if seen.thinking or provider == "gemini" else []


def aside(seen):
    """A title, a summary, a question of the agent's own: in words, or in JSON where it wants a form filled in."""
    return answer(text(json.dumps(filled(seen.schema)) if seen.schema else "Reading some files"))


def filled(schema):
    kind = str(schema.get("type", "string")).lower()
    if schema.get("enum"):
        return schema["enum"][0]
    if kind == "object":
        return {name: filled(inner) for name, inner in (schema.get("properties") or {}).items()}
    return {"array": [], "number": 1, "integer": 1, "boolean": False}.get(kind, "Reading some files")
