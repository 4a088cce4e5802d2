"""A store as large as a big team's, and how long the management API takes over it. Used by `bench`."""

import collections
import http.client
import json
import os
import pathlib
import secrets
import selectors
import shutil
import socket
import sqlite3
import statistics
import subprocess
import threading
import time

from kit import PASSWORD

# Of each provider so many share the connections; none of them is ever called.
PROVIDERS = ["openai", "groq", "deepseek", "mistral", "xai", "together", "fireworks", "cerebras", "nvidia", "cohere"]
NAMED = "so many rows"
MASTER_KEY = "5c" * 32

# What is written straight into the tables. {hex} makes 64 characters of a number.
SERIES = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
KEYS = SERIES + """
INSERT INTO api_keys (id, name, secret_hash, prefix, last4, scopes, allowed_models, allowed_connections, is_active,
  expires_at, max_requests_per_minute, max_requests_per_day, max_sessions, no_log, extra, created_at, last_used_at, revoked_at)
SELECT 'key-' || {hex}, 'team ' || (i % 500) || ' member ' || i, {hex}, prefix, last4, scopes, allowed_models,
  allowed_connections, is_active, expires_at, max_requests_per_minute, max_requests_per_day, max_sessions, no_log, extra,
  created_at + i, created_at + i, revoked_at FROM n, api_keys WHERE name = '{named}'"""
USAGE = SERIES + """
INSERT INTO usage_records (request_id, at, key_id, connection_id, provider, model, requested_model, combo, status, outcome,
  streamed, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, estimated, ttft_ms, total_ms, attempts)
SELECT 'past-' || {hex}, {now} - i * CAST(2000 AS BIGINT), 'key-' || (i % 1000), 'connection-' || (i % 100), 'openai',
  'gpt-5.5', 'openai/gpt-5.5', NULL, CASE WHEN i % 50 = 0 THEN 502 ELSE 200 END, 'success', i % 2 = 0, 1000 + i % 500,
  100 + i % 300, 0, 0, i % 3 = 0, 300 + i % 200, 2000 + i % 3000, '[]' FROM n"""
AUDIT = SERIES + """
INSERT INTO audit (id, at, actor, action, target, detail, prev_hash, hash, status, resource_type, request_id)
SELECT newest.id + i, {now} - ({count} - i) * CAST(10000 AS BIGINT), 'key:' || (i % 50), 'combo.updated',
  'target-' || (i % 1000), '{{"status":"success","metadata":{{"name":"a combo"}}}}', {hex}, {hex},
  CASE WHEN i % 20 = 0 THEN 'failed' ELSE 'success' END, 'combo', 'request-' || i
FROM n, (SELECT COALESCE(MAX(id), 0) AS id FROM audit) newest"""


class Sqlite:
    """The embedded engine."""

    name, hexed = "SQLite", "printf('%064x', i)"

    def __init__(self):
        self.settings = {}

    def run(self, gateway, statements):
        with sqlite3.connect(gateway.home / "data" / "omniroute.sqlite") as database:
            for statement in statements:
                database.execute(statement)
            database.commit()
        database.close()

    def close(self):
        pass


class Postgres:
    """A database of its own on the server that OMNIROUTE_TEST_POSTGRES names; it is dropped at the end."""

    name, hexed = "PostgreSQL", "lpad(to_hex(i), 64, '0')"

    def __init__(self, server):
        self.server, self.database = server, f"bench_{secrets.token_hex(4)}"
        self.psql(server, f"CREATE DATABASE {self.database}")
        self.url = server.rsplit("/", 1)[0] + "/" + self.database
        self.settings = {"storage__database_url": self.url, "storage__master_key": MASTER_KEY}

    def psql(self, url, *statements):
        words = ["psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", url]
        subprocess.run(words + [word for one in statements for word in ("-c", one)], check=True, stdout=subprocess.DEVNULL)

    def run(self, gateway, statements):
        self.psql(self.url, *statements, "VACUUM ANALYZE")

    def close(self):
        self.psql(self.server, f"DROP DATABASE {self.database} WITH (FORCE)")


def engines():
    yield Sqlite()
    if os.environ.get("OMNIROUTE_TEST_POSTGRES") and shutil.which("psql"):
        yield Postgres(os.environ["OMNIROUTE_TEST_POSTGRES"])


class Sizes:
    def __init__(self, smoke):
        self.connections, self.keys, self.usage, self.audit = (
            (60, 500, 2_000, 500) if smoke else (10_000, 100_000, 1_000_000, 200_000))


def fill(bench, gateway, engine, sizes):
    """Connections come by the API, because their keys are sealed; the rest is copies of what the gateway wrote."""
    taken = []
    for part in range(0, sizes.connections, 1000):
        keys = [{"apiKey": f"sk-{part + i:032x}", "name": f"account {part + i}",
                 "provider": PROVIDERS[(part + i) % len(PROVIDERS)]} for i in range(min(1000, sizes.connections - part))]
        begin = time.monotonic()
        gateway.call("POST", "/api/providers/bulk", {"provider": "openai", "connections": keys})
        taken.append((time.monotonic() - begin) * 1e3)
    bench.row(f"import of up to 1,000 connections ({engine.name})", statistics.median(taken), "ms",
              note=f"the last one {taken[-1]:.0f} ms")
    gateway.add_key(NAMED)
    gateway.process.stop(20)
    words = {"hex": engine.hexed, "named": NAMED, "now": int(time.time() * 1e3)}
    tables = [(KEYS, sizes.keys), (USAGE, sizes.usage), (AUDIT, sizes.audit)]
    engine.run(gateway, [statement.format(count=count, **words) for statement, count in tables])


class Client:
    """One kept connection of an operator."""

    def __init__(self, gateway):
        self.http = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        self.headers = {**gateway.headers, "Content-Type": "application/json"}

    def ask(self, method, path, body=None, headers=None):
        begin = time.monotonic()
        self.http.request(method, path, None if body is None else json.dumps(body), headers or self.headers)
        answer = self.http.getresponse()
        content = answer.read()
        taken = (time.monotonic() - begin) * 1e3
        if answer.status not in (200, 201):
            raise SystemExit(f"{method} {path}: {answer.status} {content[:300]}")
        return taken, content

    def times(self, method, path, count, body=None, headers=None):
        """So often; `body` may be a function of the turn."""
        found = [self.ask(method, path, body(turn) if callable(body) else body, headers) for turn in range(count)]
        return sorted(taken for taken, _ in found), found[-1][1]


def reads(client):
    """Every read without a parameter in its address, and the pages and filters that are asked for by hand."""
    document = json.loads(client.ask("GET", "/api/openapi.json")[1])
    listed = sorted(path for path, operations in document["paths"].items() if "get" in operations and "{" not in path)
    # Walks the whole log on purpose; a file; waits for events.
    left_out = ("/api/compliance/audit-log/verify", "/api/db-backups/export", "/api/auth/oidc", "/login")
    paths = [path for path in listed if not path.startswith(left_out)]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    providers = json.loads(client.ask("GET", "/api/providers?limit=1")[1])["connections"]
    log = "/api/compliance/audit-log"
    return paths + [
        f"/api/providers/{providers[0]['id']}", "/api/providers?limit=50", "/api/providers?provider=groq",
        "/api/providers?search=account%20999", f"/api/resilience?connectionId={providers[0]['id']}",
        "/api/resilience?provider=groq", "/api/rate-limits?limit=50", "/api/keys?limit=50",
        "/api/keys?limit=50&offset=400", "/api/keys?search=member%20499", "/api/keys?search=nobody",
        f"{log}?limit=500", f"{log}?status=failed", f"{log}?actor=key:7", f"{log}?action=combo.updated&actor=key:7",
        f"{log}?target=target-500&status=failed", f"{log}?from=2020-01-01T00:00:00Z&to={now}", f"{log}?requestId=request-77",
        f"{log}?offset=400", "/api/models?all=true",
    ]


def show_reads(bench, gateway, engine, turns):
    client, slowest = Client(gateway), {}
    for path in dict.fromkeys(reads(client)):
        try:
            client.times("GET", path, 2)
            before = processor_time(gateway.pid)
            taken, content = client.times("GET", path, turns)
        except SystemExit as refused:
            print(f"  left out: {refused}", flush=True)
            continue
        slowest[path] = taken[-1]
        spent = (processor_time(gateway.pid) - before) * 1e3 / turns
        bench.row(f"GET {path}", taken[-1], "ms", 50,
                  f"{engine.name}: median {statistics.median(taken):.1f} ms, processor {spent:.1f} ms, {len(content):,} bytes")
    bench.row(f"the slowest read ({engine.name})", max(slowest.values()), "ms", 50, max(slowest, key=slowest.get))


def show_writes(bench, gateway, engine, turns):
    client = Client(gateway)
    one = json.loads(client.ask("GET", "/api/providers?limit=1")[1])["connections"][0]["id"]
    key = json.loads(client.ask("GET", "/api/keys?limit=1")[1])["keys"][0]["id"]
    made, before = [], processor_time(gateway.pid)

    def create(path, body, place):
        times = []
        for turn in range(turns):
            taken, content = client.ask("POST", path, body(turn))
            times.append(taken)
            made.append(f"{path}/{place(json.loads(content))}")
        return sorted(times)

    found = {
        "PUT /api/providers/{id}": client.times("PUT", f"/api/providers/{one}", turns, lambda turn: {"name": f"renamed {turn}"})[0],
        "POST /api/providers": create("/api/providers", lambda turn: {"provider": "groq", "name": f"new {turn}", "apiKey": f"sk-new-{turn}"},
                                      lambda answer: answer["connection"]["id"]),
        "POST /api/keys": create("/api/keys", lambda turn: {"name": f"new {turn}"}, lambda answer: answer["id"]),
        "PUT /api/keys/{id}": client.times("PUT", f"/api/keys/{key}", turns, lambda turn: {"name": f"renamed {turn}"})[0],
        "POST /api/combos": create("/api/combos", lambda turn: {"name": f"new {turn}", "models": ["openai/gpt-5.5"]}, lambda answer: answer["id"]),
    }
    spent = (processor_time(gateway.pid) - before) * 1e3 / turns / len(found)
    found["DELETE of each of these"] = sorted(client.ask("DELETE", path)[0] for path in made)
    for what, taken in found.items():
        bench.row(what, taken[-1], "ms", 50, f"{engine.name}: median {statistics.median(taken):.1f} ms")
    bench.row("processor time of a write", spent, "ms", note=engine.name)


def processor_time(pid):
    """Seconds; what the gateway does beside the reads is in it."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3


def management_at_size(bench):
    """Reads and writes of the management API over a large store, on both engines, and calls beside it."""
    sizes, turns = Sizes(bench.smoke), 3 if bench.smoke else 20
    for engine in engines():
        try:
            over(bench, engine, sizes, turns)
        finally:
            engine.close()


def over(bench, engine, sizes, turns):
    way = bench.gateway(f"large-{engine.name}", **engine.settings)
    gateway = way.gateway
    fill(bench, gateway, engine, sizes)
    gateway.start()
    gateway.login()
    way.pids = [gateway.pid]
    what = f"{sizes.connections:,} connections, {sizes.keys:,} keys, {sizes.usage:,} calls, {sizes.audit:,} log rows"
    bench.row(f"start over {what}", gateway.started_in * 1e3, "ms", note=engine.name)
    bench.row("resident memory", resident(gateway.pid), "MB", note=engine.name)
    show_reads(bench, gateway, engine, turns)
    show_writes(bench, gateway, engine, turns)
    found = bench.compare("--connections", 64, ways=[bench.omni, way])
    spent = {name: report["processes"]["total"]["cpuSecondsPer1000"] for name, report in found.items()}
    bench.row("CPU per call against an empty store", spent[way.name] / spent[bench.omni.name], "times", 1.05,
              f"{engine.name}: p99 {found[way.name]['latencyMs']['p99']:.2f} ms, empty {found[bench.omni.name]['latencyMs']['p99']:.2f} ms")
    gateway.process.stop(20)


BURST = 200


def burst(port, right):
    """So many logins at the same moment, each from an address of its own; the answers' statuses, and the seconds they took."""
    waiting = selectors.DefaultSelector()
    body = json.dumps({"password": right}).encode()
    for turn in range(BURST):
        head = (f"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
                f"X-Forwarded-For: 203.0.{turn // 200 + 113}.{turn % 200 + 1}\r\nContent-Type: application/json\r\n"
                f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n")
        one = socket.create_connection(("127.0.0.1", port))
        one.sendall(head.encode() + body)
        waiting.register(one, selectors.EVENT_READ)
    statuses, begin = collections.Counter(), time.monotonic()
    while waiting.get_map():
        for key, _ in waiting.select(30):
            statuses[int(key.fileobj.recv(65536)[9:12] or b"0")] += 1
            waiting.unregister(key.fileobj)
            key.fileobj.close()
    return statuses, time.monotonic() - begin


def logins_beside_calls(bench):
    """Ten seconds of a steady load, alone and with two hundred logins at once in the middle of it; in turn. That many new
    connections are work of their own for a moment, which is less than a hundredth of the time; what would move the p99 is
    hundreds of hashes behind them."""
    way = bench.gateway("logins", server__trusted_proxies="127.0.0.1")
    capacity = bench.load(way, "--connections", 64, "--seconds", bench.seconds, allowed=True)["rps"]
    seconds = 1 if bench.smoke else 10
    words = ("--rate", max(1, round(capacity * 0.3)), "--seconds", seconds)
    bench.load(way, *words)
    found, said, longest = {False: [], True: []}, collections.Counter(), 0

    def flood():
        nonlocal longest
        time.sleep(seconds / 3)
        statuses, taken = burst(way.port, PASSWORD)
        said.update(statuses)
        longest = max(longest, taken)

    for turn in range(1 if bench.smoke else max(bench.rounds, 5)):
        for beside in ((False, True) if turn % 2 else (True, False)):
            logins = threading.Thread(target=flood)
            if beside:
                logins.start()
            found[beside].append(bench.load(way, *words)["latencyMs"])
            if beside:
                logins.join()
    p99 = {beside: statistics.median(report["p99"] for report in reports) for beside, reports in found.items()}
    p50 = {beside: statistics.median(report["p50"] for report in reports) for beside, reports in found.items()}
    bench.row(f"p99 with {BURST} logins at once, against without", p99[True] / p99[False], "times", 1.1,
              f"{p99[False]:.2f} ms without, {p99[True]:.2f} ms with; medians {p50[False]:.2f} and {p50[True]:.2f} ms")
    bench.row("the last of them has its answer after", longest * 1e3, "ms",
              note=", ".join(f"{status}: {count}" for status, count in sorted(said.items())))
    way.gateway.process.stop(20)
