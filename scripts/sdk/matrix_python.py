#!/usr/bin/env python3
"""The official Python clients play all scenarios of the matrix.

usage: matrix_python.py CONFIG [direct]        CONFIG: a JSON file of `matrix`, which judges the printed lines

Prints one JSON object per (client, provider, scenario, mode): what the client saw in each turn, or the error that it raised.
"""

import json
import os
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

# Keys of the environment are none of this test's business.
for name in [name for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL", "_AUTH_TOKEN"))]:
    del os.environ[name]

from clients.chat import Chat  # noqa: E402
from clients.genai import GenAi  # noqa: E402
from clients.messages import Messages  # noqa: E402
from clients.ollama_chat import Ollama  # noqa: E402
from clients.responses import Responses  # noqa: E402
from scenarios import SCENARIOS, results_of  # noqa: E402

if "direct" in sys.argv:
    # The gateway serves no clients of these two formats.
    from clients.cohere_chat import Cohere
    from clients.converse import Converse
else:
    Cohere = Converse = None
CLIENTS = {client.name: client for client in (Chat, Responses, Messages, GenAi, Ollama, Cohere, Converse) if client}
PRINTING = threading.Lock()


def empty():
    return {"text": "", "refusal": "", "thinking": "", "calls": [], "finish": None, "usage": None, "raw": None}


def play(client, provider, prefix, scenario, mode):
    """All turns of one scenario; the record is complete whatever happens."""
    row = {"client": client.name, "format": client.format, "provider": provider, "scenario": scenario["name"], "mode": mode, "turns": []}
    reason = client.without(scenario) if client.format in scenario.get("only", [client.format]) else "not of this format"
    if reason:
        return {**row, "skipped": reason}
    try:
        model = scenario.get("model", f"{prefix}{scenario['name']}--{client.name}--{mode}").replace("{provider}", provider)
        request = client.begin(scenario, model)
        for number in range(len(scenario["answers"])):
            seen = empty()
            row["turns"].append(seen)
            (client.count if scenario.get("count") else client.ask)(request, mode == "stream", seen)
            if number + 1 < len(scenario["answers"]):
                results = results_of(scenario, number)
                if scenario.get("swap"):
                    seen, results = {**seen, "calls": seen["calls"][::-1]}, results[::-1]
                request = client.follow(request, seen, results)
    except Exception as error:  # whatever it is, it belongs into the table
        row["error"] = client.failure(error)
    for turn in row["turns"]:
        del turn["raw"]
    return row


def show(row):
    with PRINTING:
        print(json.dumps(row), flush=True)


def reset(config):
    """What the last fault has cooled is of no interest to the next one."""
    if config.get("reset"):
        request = urllib.request.Request(config["reset"]["url"], b'{"scope":"all"}', {"Content-Type": "application/json", **config["reset"]["headers"]})
        urllib.request.urlopen(request, timeout=10).close()


def cells(config, phase):
    """Clients change fastest, so that one scenario's wait is not waited for by all."""
    for scenario in SCENARIOS.values():
        if scenario["phase"] == phase and scenario["name"] in config["scenarios"]:
            for mode in scenario["modes"]:
                for provider, prefix in config["providers"].items():
                    yield provider, prefix, scenario, mode


def faulty(config, clients, wanted, phase="faulty"):
    """One after another at each provider: a fault may close the account for all that run beside it."""
    for provider, prefix, scenario, mode in cells(config, phase):
        if provider == wanted:
            for client in clients:
                if not config["direct"] or provider == client.format:
                    reset(config)
                    show(play(client, provider, prefix, scenario, mode))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    clients = [client(config) for name, client in CLIENTS.items() if name in config["clients"]]
    fits = lambda client, provider: not config["direct"] or provider == client.format  # noqa: E731
    with ThreadPoolExecutor(8) as pool:
        for provider, prefix, scenario, mode in cells(config, "calm"):
            for client in clients:
                if fits(client, provider):
                    pool.submit(lambda *cell: show(play(*cell)), client, provider, prefix, scenario, mode)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda provider: faulty(config, clients, provider), config["providers"]))
    # These touch the accounts of several providers.
    for provider in config["providers"]:
        faulty(config, clients, provider, "last")


if __name__ == "__main__":
    main()
