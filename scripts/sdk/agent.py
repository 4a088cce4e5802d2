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
READERS = ("Read", "read", "read_file", "exec_command", "shell_command", "shell", "exec")
PATHS, COMMANDS = ("file_path", "filePath", "absolute_path", "path"), ("cmd", "command")
FILES = {"start.txt": "This file: start.txt\nSecret word: quince\nNext file: left.txt\nNext file: right.txt\n",
         "left.txt": "This file: left.txt\nSecret word: medlar\n", "right.txt": "This file: right.txt\nSecret word: sorb-äpple\n"}
WORDS = ("quince", "medlar", "sorb")
# Conversation and answers are made up as it goes; the calls of this provider are signed.
SCENARIO = {"name": "agent", "thinking": True}
# Without a gateway, the model's name cannot tell the session.
ALIASES = {"gpt-6-sol": "agent--cli1--known"}
PROMPT = "Read the files with your tool and tell me the secret words. First file: {}/start.txt"


def prepare(folder):
    """Lay out the files, and say what to ask the agent."""
    for name, words in FILES.items():
        (folder / name).write_text(words)
    return PROMPT.format(folder)


def act(seen, provider):
    """(number of the turn, answer) for this request; None is the turn of a question beside the session."""
    reader = reader_of(seen.tools)
    if not seen.tools:
        return None, aside(seen)
    need(reader, f"LOST the tool for reading: {', '.join(sorted(seen.tools))}")
    blocks = [block for message in seen.messages for block in message["blocks"]]
    begin = FIRST.search("\n".join(block["text"] for block in blocks if block["kind"] == "text"))
    need(begin, "LOST the user's prompt")
    results = [block for block in blocks if block["kind"] == "result"]
    if not results:
        return 0, calling(seen, provider, reader, [begin[1]], "I will look into the first file.")
    shown = [name for result in results for name in check(result)]
    named = [name for result in results for name in NEXT.findall(result["text"])]
    need(len(set(named)) == 2, f"LOST part of the tool's result: {results[0]['text']!r:.200}")
    paths = [posixpath.join(posixpath.dirname(begin[1]), name) for name in named if name not in shown]
    if paths:
        return 1, calling(seen, provider, reader, paths, "Two more, at the same time.")
    found = [word for result in results for word in WORD.findall(result["text"])]
    return 2, answer(*thinking(seen, provider), text(f"The words are: {', '.join(found)}."), input=4000, output=30)


def reader_of(tools):
    """A gateway may have put the name of a tool's group before its own."""
    return next((name for wanted in READERS for name in tools if name.split("__")[-1] == wanted), None)


def check(result):
    """The names of the files in a result: they belong to the call that asked for them, even where two went out at once."""
    names = HERE.findall(result["text"])
    need(names and len(WORD.findall(result["text"])) == len(names), f"LOST the tool's result: {result['text']!r:.300}")
    for name in names:
        need(name in json.dumps(result["args"]), f"LOST which call a result belongs to: {name} for {result['args']}")
    return names


def calling(seen, provider, reader, paths, words):
    schema = seen.tools[reader]
    if "input" in (schema.get("properties") or {}):
        # A tool that takes a program reads all of them in one.
        wanted = [{"input": "\n".join(f"text(await tools.exec_command({json.dumps({'cmd': f'cat {path}'})}));" for path in paths)}]
    else:
        wanted = [arguments(schema, path) for path in paths]
    calls = [call(reader, f"{len(paths)}{number}", **args) for number, args in enumerate(wanted)]
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
