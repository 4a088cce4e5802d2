"""Whether a provider was asked what the client meant: the request that arrived against the scenario."""

import json

from formats.common import need
from scenarios import PNG, SIGNATURE, TOOLS, results_of

# A turn comes back with its signed thought where both ends have a place for one.
SEALING_CLIENTS = ("anthropic", "responses", "gemini")
SEALING_PROVIDERS = ("anthropic", "responses", "gemini", "bedrock")
# What a format has no word for.
WORDLESS = {
    "stop": ("responses",), "choice": ("ollama",), "named": ("ollama", "cohere"), "none": ("ollama", "bedrock"),
}


def conversation(scenario, turn):
    """The messages that the provider should see in this turn of the scenario."""
    messages = [dict(message, blocks=list(message["blocks"])) for message in scenario["messages"]]
    for number in range(turn):
        messages.append({"role": "assistant", "blocks": scenario["answers"][number]["blocks"]})
        messages.append({"role": "user", "blocks": results_of(scenario, number)})
    return messages


def check(scenario, turn, seen, provider, client):
    expected = conversation(renamed(scenario, seen), turn)
    check_system(scenario, seen)
    check_messages(expected, seen, provider, client)
    if turn:
        check_seal(scenario, turn, seen, provider, client)
    check_tools(renamed(scenario, seen), seen, provider)
    check_settings(scenario, seen, provider, client, turn)
    if provider in ("anthropic", "bedrock"):
        need(seen.marks == scenario.get("marks", 0), f"LOST marks for the cache: {seen.marks} instead of {scenario.get('marks', 0)}")


def renamed(scenario, seen):
    """A name that is too long for the provider has another there, in all places the same."""
    if scenario["name"] not in ("long-name", "dotted-name") or len(seen.tools) != 1:
        return scenario
    return json.loads(json.dumps(scenario).replace(scenario["tools"][0], next(iter(seen.tools))))


def check_system(scenario, seen):
    wanted = scenario.get("system")
    if wanted:
        need("".join(seen.system).strip().startswith(wanted), f"LOST system: {seen.system!r:.120} instead of {wanted!r}")


def check_messages(expected, seen, provider, client):
    """A system message in the middle may have become the user's words or a system's, but must stay in its place."""
    wanted, got = flat(expected), flat(seen.messages)
    for kind in ("call", "result", "image", "pdf"):
        compare(kind, [block for block in wanted if block["kind"] == kind], [block for block in got if block["kind"] == kind], provider, client)
    links = [block for block in wanted if block["kind"] == "image_url"]
    fetched = [block for block in got if block["kind"] == "image_url" and block["url"].endswith(links[0]["path"]) or block.get("data") == PNG] if links else []
    need(len(fetched) == len(links), "LOST the linked picture")
    # A result's picture may have found another place than inside of the result.
    pictures = [image["data"] for block in wanted if block["kind"] == "result" for image in block.get("images") or []]
    found = [image["data"] for block in got if block["kind"] == "result" for image in block.get("images") or []]
    found += [block["data"] for block in got if block["kind"] == "image"]
    need(all(data in found for data in pictures), "LOST the picture of a tool's result")
    said, heard = words(wanted), words(got)
    # Who has to put the picture of a result elsewhere may say so.
    led = bool(pictures) and tolerant(said) in tolerant([text for text in heard if text in said])
    need(said == heard or tolerant(said) == tolerant(heard) or led, f"LOST text: {difference(said, heard)}")
    order = [block["kind"] for block in wanted if block["kind"] in ("call", "result") or block["kind"] == "text" and block["text"]]
    seen_order = [block["kind"] for block in got if block["kind"] in ("call", "result") or block["kind"] == "text" and block["text"]]
    need(collapsed(order) == collapsed(seen_order) or any(block.get("images") for block in wanted), f"LOST order: {collapsed(seen_order)} instead of {collapsed(order)}")
    if not any(message["role"] == "system" for message in expected):
        need(roles(expected) == roles(seen.messages), f"LOST roles: {roles(seen.messages)} instead of {roles(expected)}")


def flat(messages):
    return [block for message in messages for block in message["blocks"]]


def words(blocks):
    return [block["text"] for block in blocks if block["kind"] == "text" and block["text"]]


def tolerant(texts):
    """Blocks of one message may have been joined, and a reminder's tags put around a system message."""
    joined = "".join(texts)
    for tag in ("<system-reminder>", "</system-reminder>", "\n"):
        joined = joined.replace(tag, "")
    return joined


def difference(said, heard):
    a, b = "".join(said), "".join(heard)
    at = next((index for index, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"at {at} of {len(a)}: {b[at:at + 30]!r} instead of {a[at:at + 30]!r} ({len(heard)} texts of {len(b)})"


def collapsed(order):
    return [kind for index, kind in enumerate(order) if not index or kind != order[index - 1]]


def roles(messages):
    return collapsed([message["role"] for message in messages if message["blocks"]])


def compare(kind, wanted, got, provider, client):
    if kind == "image":
        pictures = [block["data"] for block in wanted]
        need([block["data"] for block in got][:len(pictures)] == pictures, f"LOST picture: {len(got)} instead of {len(wanted)}")
        return
    if kind == "result":
        # Which result is whose is what counts, not their order.
        wanted, got = (sorted(blocks, key=lambda block: json.dumps([block["name"], block["args"]], sort_keys=True)) for blocks in (wanted, got))
    need(len(got) == len(wanted), f"LOST {kind}: {len(got)} instead of {len(wanted)}")
    for one, other in zip(wanted, got):
        if kind == "pdf":
            need(one["data"] == other["data"], "LOST pdf: other bytes")
        else:
            need((one["name"], one["args"]) == (other["name"], other["args"]), f"LOST {kind}: {other['name']} {other['args']} instead of {one['name']} {one['args']}")
    if kind == "result":
        for one, other in zip(wanted, got):
            check_result(one, other, provider, client)


def check_result(one, other, provider, client):
    text = other["text"]
    try:
        # Gemini's clients send an object, which may travel as its JSON; Vercel's puts the name beside the words.
        inner = json.loads(text)
        text = next((value for name, value in inner.items() if name != "name"), text) if isinstance(inner, dict) else text
    except ValueError:
        pass
    # For nothing there may stand a word that says so, where nothing is not allowed.
    loose = one.get("error") or one.get("images") or not one["text"]
    need(one["text"] in str(text) if loose else one["text"] == text, f"LOST result: {other['text']!r} instead of {one['text']!r}")
    if one.get("error") and client in ("anthropic", "gemini") and provider in ("anthropic", "gemini", "bedrock"):
        need(other.get("error"), "LOST that the result is an error")


def check_seal(scenario, turn, seen, provider, client):
    if not scenario.get("thinking") or provider not in SEALING_PROVIDERS or client not in SEALING_CLIENTS:
        return
    if scenario["name"] == "thinking-redacted":
        lost = provider in ("anthropic", "bedrock") and not any(block["kind"] == "redacted" for block in flat(seen.messages))
        need(not lost, "LOST the redacted thought")
        return
    seals = [block.get("signature") for block in flat(seen.messages) if block.get("signature")]
    need(seals == [SIGNATURE] * turn, f"LOST the signed thought: {seals or 'nothing came back'}")


def check_tools(scenario, seen, provider):
    wanted, choice = scenario["tools"], scenario.get("choice", "auto")
    if choice == "none" and provider in WORDLESS["none"]:
        need(not seen.tools or seen.choice == "none", "tool_choice none: the tools are still there")
        return
    invented = set(seen.tools) - set(wanted)
    need(not invented or (scenario.get("schema") and len(invented) == 1), f"tools nobody sent: {invented}")
    narrowed = choice in seen.tools and provider in WORDLESS["named"]
    need(set(wanted) <= set(seen.tools) or narrowed, f"LOST tools: {sorted(seen.tools)} instead of {wanted}")
    for name in wanted:
        schema = seen.tools.get(name) or {}
        inner, outer = set(schema.get("properties") or {}), set(TOOLS.get(name, TOOLS["get_weather"])["schema"]["properties"]) - ({"unit"} if name not in TOOLS else set())
        need(inner == outer or name not in seen.tools, f"LOST schema of {name}: {sorted(inner)} instead of {sorted(outer)}")
    if wanted and provider not in WORDLESS["choice"]:
        fits = [choice, "any"] if choice in TOOLS and provider in WORDLESS["named"] else [choice]
        # One tool and the duty to call one is the same as its name.
        fits += ["any"] if choice in TOOLS and list(seen.tools) == [choice] else []
        need(seen.choice in fits, f"LOST tool choice: {seen.choice} instead of {choice}")


def check_settings(scenario, seen, provider, client, turn):
    for name in ("max_tokens", "temperature", "top_p", "stop"):
        wanted, got = scenario.get(name), seen.settings.get(name)
        if scenario.get("loose"):
            continue
        if name == "temperature" and wanted and provider in ("anthropic", "bedrock", "cohere"):
            wanted = min(wanted, 1)
        if wanted is not None and not {provider, client} & set(WORDLESS.get(name, ())):
            need(got == wanted, f"LOST {name}: {got} instead of {wanted}")
    if scenario.get("schema"):
        forced = [name for name in seen.tools if name == seen.choice or seen.choice == "any" or provider in WORDLESS["choice"]]
        schema = seen.schema or (seen.tools[forced[0]] if forced else None)
        need(schema, "LOST the schema of the answer")
        need(set(schema.get("properties") or {}) == set(scenario["schema"]["properties"]), f"LOST parts of the schema: {schema}")
    # Without the sealed thought the second turn is refused by some: then it is better asked without thinking.
    unsealed = turn and client not in SEALING_CLIENTS and provider in SEALING_PROVIDERS
    if scenario.get("thinking") and not unsealed and not scenario.get("loose"):
        need(seen.thinking, "LOST that thinking was asked for")
