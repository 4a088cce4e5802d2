"""The scripted provider and a gateway that knows it under each of its formats: what the scripts beside this file share."""

import pathlib
import sys

from kit import Gateway, free_port

HERE = pathlib.Path(__file__).resolve().parent
# The node type and API type of each provider format, and what its base URL ends with.
NODES = {"chat": ("openai-compatible", "chat", "/v1"), "responses": ("openai-compatible", "responses", "/v1"),
         "anthropic": ("anthropic-compatible", None, "/v1"), "gemini": ("gemini-compatible", None, "/v1beta"),
         "ollama": ("ollama-compatible", None, "")}
CATALOGUED = {"cohere": "/v2", "bedrock": ""}
# A family's name in front of the scenario, where the gateway's decisions depend on it: not every model of Bedrock thinks.
FAMILY = {"anthropic": "claude-sonnet-4-5--", "gemini": "gemini-3-pro--", "bedrock": "anthropic.claude-sonnet-4-5--"}
# The faults of these tests are the scenarios' own; breakers must not add theirs.
PATIENCE = {f"resilience__provider_breaker__{kind}__{name}": value for kind in ("apikey", "local")
            for name, value in {"failure_threshold": 1000, "minimum_calls": 100000}.items()}


def start_upstream(stage, direct=False):
    port = free_port()
    process = stage.start([sys.executable, HERE / "upstream.py", port, *(["direct"] if direct else [])], "upstream")
    process.wait_for(port, "/v1/models")
    return port


def start_gateway(stage, programs, name, upstream, providers):
    gateway = Gateway(stage, programs, name=name, resilience__wait_for_cooldown__enabled="false",
                      providers__from_environment="false", **PATIENCE).login()
    for provider in providers:
        if provider in NODES:
            kind, api, path = NODES[provider]
            node = {"name": provider, "prefix": f"p-{provider}", "type": kind, "baseUrl": f"http://127.0.0.1:{upstream}{path}", **({"apiType": api} if api else {})}
            target = gateway.call("POST", "/api/provider-nodes", node)["node"]["id"]
            gateway.call("POST", "/api/providers", {"provider": target, "name": provider, "apiKey": "sk-upstream"})
        else:
            data = {"baseUrl": f"http://127.0.0.1:{upstream}{CATALOGUED[provider]}"}
            gateway.call("POST", "/api/providers", {"provider": provider, "name": provider, "apiKey": "sk-upstream", "providerSpecificData": data})
    return gateway


def prefixed(provider):
    """Where the models of a provider's connection are found."""
    return ("p-" if provider in NODES else "") + f"{provider}/{FAMILY.get(provider, '')}"
