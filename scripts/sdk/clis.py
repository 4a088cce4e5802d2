"""The coding agents: where each is installed, what it needs to be told, and how it says its last words."""

import json
import os
import platform

from kit import CACHE

MACHINE = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower(), "none")
MODULES = {name: CACHE / "cli" / name / "node_modules" for name in ("claude", "codex", "opencode", "gemini")}
PROGRAMS = {
    "claude": [MODULES["claude"] / f"@anthropic-ai/claude-code-linux-{MACHINE}/claude"],
    "codex": ["node", MODULES["codex"] / "@openai/codex/bin/codex.js"],
    "opencode": [MODULES["opencode"] / f"opencode-linux-{MACHINE}/bin/opencode"],
    "gemini": ["node", MODULES["gemini"] / "@google/gemini-cli/bundle/gemini.js"],
}
# The format that each one speaks; opencode speaks what its provider's package speaks.
FORMATS = {"claude": "anthropic", "codex": "responses", "opencode": "chat", "opencode-anthropic": "anthropic", "gemini": "gemini"}


def installed(cli):
    return PROGRAMS[cli.split("-")[0]][-1].exists()


def environment(home, **more):
    """Nothing of the person's own: no settings, no keys, no proxy, no way to speak to anybody but the gateway."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "TMPDIR": str(home / "tmp"), "LANG": "C.UTF-8", "TERM": "dumb",
            "CI": "1", "NO_COLOR": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost", **more}


def session(cli, home, url, key, model, prompt):
    """(words of the command, its environment) for one session; writes what files it needs into its home."""
    (home / "tmp").mkdir(exist_ok=True)
    words, env = {"claude": claude, "codex": codex, "gemini": gemini}.get(cli, opencode)(cli, home, url, key, model)
    return [*map(str, PROGRAMS[cli.split("-")[0]]), *words, prompt], environment(home, **env)


def claude(_, home, url, key, model):
    small = {f"ANTHROPIC_{name}": model for name in ("SMALL_FAST_MODEL", "DEFAULT_HAIKU_MODEL")}
    env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": key, **small, "CLAUDE_CONFIG_DIR": str(home / ".claude"),
           "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1"}
    return ["--model", model, "--allowedTools", "Read", "-p"], env


def codex(_, home, url, key, model):
    folder = home / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f'model = "{model}"\nmodel_provider = "gateway"\ncheck_for_update_on_startup = false\n[analytics]\nenabled = false\n'
        f'[model_providers.gateway]\nname = "gateway"\nbase_url = "{url}/v1"\nenv_key = "GATEWAY_KEY"\nwire_api = "responses"\n'
        f'request_max_retries = 0\nstream_max_retries = 0\n')
    # The words of the script are the only ones that it runs, and they read a file.
    return ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"], {"CODEX_HOME": str(folder), "GATEWAY_KEY": key}


def opencode(cli, home, url, key, model):
    package = "@ai-sdk/anthropic" if cli.endswith("anthropic") else "@ai-sdk/openai-compatible"
    facts = {"name": model, "tool_call": True, "limit": {"context": 200000, "output": 32000}}
    provider = {"npm": package, "name": "gateway", "options": {"baseURL": f"{url}/v1", "apiKey": key}, "models": {model: facts}}
    config = {"$schema": "https://opencode.ai/config.json", "provider": {"gw": provider}, "model": f"gw/{model}", "small_model": f"gw/{model}",
              "autoupdate": False, "share": "disabled", "permission": {"*": "allow"}, "enabled_providers": ["gw"]}
    path = home / "opencode.json"
    path.write_text(json.dumps(config))
    off = {f"OPENCODE_DISABLE_{name}": "1" for name in ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")}
    return ["run", "-m", f"gw/{model}"], {"OPENCODE_CONFIG": str(path), **off}


def gemini(_, home, url, key, model):
    folder = home / ".gemini"
    folder.mkdir()
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False}, "telemetry": {"enabled": False},
                "general": {"disableAutoUpdate": True, "disableUpdateNag": True}}
    (folder / "settings.json").write_text(json.dumps(settings))
    env = {"GEMINI_API_KEY": key, "GOOGLE_GEMINI_BASE_URL": url, "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    return ["-m", model, "-p"], env
