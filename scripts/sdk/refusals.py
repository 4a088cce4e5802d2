#!/usr/bin/env python3
"""What the scripted provider must refuse: each row is a translation mistake that somebody made once.

usage: refusals.py        exit code 1 when one of them is let through, or is refused for another reason
"""

import sys

from formats import anthropic, bedrock, cohere, gemini, ollama, openai_chat, responses
from formats.common import Refused

HEADERS = {"Authorization": "Bearer k", "X-Api-Key": "k", "X-Goog-Api-Key": "k", "Anthropic-Version": "2023-06-01"}
PLAY = {"streaming": False, "signs": True}
FUNCTION = {"name": "f", "arguments": "{}"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": FUNCTION}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "x"}
ITEM = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
MODEL = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"}]}
FUNCTION_RESPONSE = {"functionResponse": {"name": "f", "response": {"result": "x"}}}
SAID = {"role": "user", "content": [{"text": "x"}]}
TOOL_USE = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}]}


def user(content="x"):
    return {"role": "user", "content": content}


def chat(*messages, **more):
    return openai_chat, {"model": "m", "messages": list(messages) or [user()], **more}


def items(*inputs, **more):
    return responses, {"model": "m", "input": list(inputs) or "x", **more}


def messages(*turns, **more):
    return anthropic, {"model": "m", "max_tokens": 10, "messages": list(turns) or [user()], **more}


def contents(*turns, **more):
    return gemini, {"contents": [{"role": "user", "parts": [{"text": "x"}]}, *turns], **more}


def declared(schema):
    return contents(tools=[{"functionDeclarations": [{"name": "f", "parameters": schema}]}])


def lines(*turns, **more):
    return ollama, {"model": "m", "messages": list(turns) or [user()], **more}


def second(*turns, **more):
    return cohere, {"model": "m", "messages": list(turns) or [user()], **more}


def converse(*turns, **more):
    return bedrock, {"messages": list(turns) or [SAID], **more}


REFUSED = [
    (chat(top_k=3), "unknown member top_k"),
    (chat(user="x" * 65), "user: string too long"),
    (chat(user(), CALL, user()), "no result for the calls"),
    (chat(user(), CALL), "no result for the calls"),
    (chat(user(), {"role": "tool", "tool_call_id": "a", "content": "x"}), "which no open call has"),
    (chat(user(), {"role": "assistant", "content": None}), "null without tool_calls"),
    (chat(user(), {**CALL, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": {}}}]}), "not JSON"),
    (chat(user(), {**CALL, "tool_calls": [{"id": "a" * 65, "type": "function", "function": FUNCTION}]}), "64 at most"),
    (chat(user([{"type": "image", "source": {}}])), "is none of"),
    (chat(user([{"type": "image_url", "image_url": {"url": "AAAA"}}])), "neither a http(s) URL"),
    (chat(tools=[]), "tools: empty"),
    (chat(tool_choice="auto"), "only with tools"),
    (chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "g"}}), "no such tool"),
    (chat(tools=[{"type": "function", "function": {"name": "a.b"}}]), "name"),
    (chat(max_tokens=1, max_completion_tokens=1), "at once"),
    (chat(stop=list("abcde")), "up to four"),
    (chat(stream_options={"include_usage": True}), "only with stream"),
    (items(stop="x"), "unknown member stop"),
    (items(user(), ITEM), "no result for the calls"),
    (items({"type": "function_call_output", "call_id": "a", "output": "x"}), "which no open call has"),
    (items({"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}), "is none of"),
    (items(user([{"type": "input_image", "image_url": {"url": "https://a/b"}}])), "not allowed here"),
    (items(tools=[TOOL]), "unknown member function"),
    (items({**ITEM, "id": "call_1"}), "begins with fc"),
    (items(user="x" * 65), "user: string too long"),
    (items({"type": "additional_tools", "tools": [{"type": "namespace", "name": "n", "description": "", "tools": [TOOL]}]}, user()), "unknown member function"),
    (items({"type": "custom_tool_call", "call_id": "a", "name": "f", "input": {}}), "not allowed here"),
    (items({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "forged"}), "could not be verified"),
    ((anthropic, {"model": "m", "messages": [user()]}), "max_tokens"),
    (messages({"role": "assistant", "content": "x"}), "first message must use the user role"),
    (messages(user([{"type": "text", "text": " "}])), "non-whitespace"),
    (messages(user(), USE, user()), "immediately after"),
    (messages(user(), USE, user([{"type": "text", "text": "x"}, RESULT])), "immediately after"),
    (messages(user([RESULT])), "which no open call has"),
    (messages(temperature=1.5), "range 0..1"),
    (messages(seed=1), "unknown member seed"),
    (messages(tools=[{"name": "f", "input_schema": {}}]), "input_schema.type"),
    (messages(thinking={"type": "enabled", "budget_tokens": 1024}), "below max_tokens"),
    (messages(user(), {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "y"}]}), "Invalid `signature`"),
    (messages(user(), USE, user([RESULT]), max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024}), "Expected `thinking`"),
    (messages(user(), {"role": "system", "content": "x"}), "beta header"),
    (messages(user([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5)), "more than four"),
    (contents({"role": "assistant", "parts": [{"text": "x"}]}), "valid role"),
    (contents({"role": "model", "parts": []}), "must not be empty"),
    (contents({"role": "user", "parts": [{"text": "x", "inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}), "one initialized field"),
    (contents(MODEL, {"role": "user", "parts": [{"text": "x"}]}), "number of function response parts"),
    (contents(MODEL, {"role": "user", "parts": [FUNCTION_RESPONSE, FUNCTION_RESPONSE]}), "no open call"),
    (contents({"role": "user", "parts": [FUNCTION_RESPONSE]}), "no open call"),
    (contents({"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}, {"role": "user", "parts": [FUNCTION_RESPONSE]}), "missing a thought_signature"),
    (contents({"role": "model", "parts": [{"text": "x"}]}, MODEL, {"role": "user", "parts": [FUNCTION_RESPONSE]}), "immediately after a user turn"),
    (contents(stream=True), "unknown member stream"),
    (declared({"type": "object", "properties": {}}), "non-empty for OBJECT"),
    (declared({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}), "additionalProperties"),
    (declared({"type": "object", "properties": {"a": {"type": ["string", "null"]}}}), "type"),
    (declared({"type": "object", "properties": {"a": {"type": "array"}}}), "items: missing"),
    (contents(generationConfig={"responseSchema": {"type": "string"}}), "responseMimeType"),
    (lines(user(), {"role": "assistant", "content": "", "tool_calls": [{"function": FUNCTION}]}), "arguments"),
    (lines(user([{"type": "text", "text": "x"}])), "content"),
    (lines({**user(), "images": ["data:image/png;base64,AAAA"]}), "not base64"),
    (lines({"role": "tool", "content": "x"}), "a result without a call"),
    (lines(tool_choice="auto"), "unknown member tool_choice"),
    (second(tool_choice="auto"), "tool_choice: auto"),
    (second(user(), {"role": "assistant", "content": "x"}), "the last message"),
    (second(top_p=1), "unknown member top_p"),
    (second(user(), CALL, user()), "no result for the calls"),
    (converse(SAID, SAID), "alternate"),
    (converse(TOOL_USE), "start with a user"),
    (converse({"role": "user", "content": [{"text": ""}]}), "blank"),
    (converse({"role": "user", "content": "x"}), "not allowed here"),
    (converse(SAID, TOOL_USE, SAID), "Expected toolResult"),
    (converse(SAID, TOOL_USE, {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": [{"text": "x"}]}}]}), "toolConfig field must be defined"),
    (converse(toolConfig={"tools": []}), "at least one"),
    (converse({"role": "user", "content": [{"document": {"format": "pdf", "name": "a", "source": {"bytes": "AAAA"}}}]}), "needs a text"),
    (converse({"role": "user", "content": [{"text": "x"}, {"document": {"format": "pdf", "name": "a.pdf", "source": {"bytes": "AAAA"}}}]}), "document.name"),
]


def mistakes():
    """The rows that are not refused as they must be."""
    out = []
    for (speaker, body), reason in REFUSED:
        try:
            speaker.read(body, HEADERS, PLAY)
            out.append(f"let through ({reason}): {body}")
        except Refused as refusal:
            if reason not in str(refusal):
                out.append(f"refused for {refusal} instead of {reason}: {body}")
    return out


if __name__ == "__main__":
    found = mistakes()
    print("\n".join([*found, f"{len(REFUSED) - len(found)} passed, {len(found)} failed"]))
    sys.exit(1 if found else 0)
