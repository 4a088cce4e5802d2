"""Processes of this project and its management API, for the scripts beside this file. Standard library only."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("OMNIROUTE_CACHE") or pathlib.Path.home() / ".cache" / "omniroute")
PASSWORD = "a long password for scripts"


def build(release):
    """Build the programs; the answer is the folder they are in. OMNIROUTE_BIN names a folder of finished ones."""
    if os.environ.get("OMNIROUTE_BIN"):
        return pathlib.Path(os.environ["OMNIROUTE_BIN"])
    command = ["cargo", "build", "--quiet", "--workspace", "--bins"]
    subprocess.run(command + (["--release"] if release else []), cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return (target if target.is_absolute() else ROOT / target) / ("release" if release else "debug")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, method, path, body=None, headers=None, timeout=30):
    """One request on a connection of its own: status, headers, body (JSON where it is)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    try:
        return answer.status, answer.headers, json.loads(text)
    except ValueError:
        return answer.status, answer.headers, text.decode(errors="replace")


class Process:
    """A child of ours; it is ended by its process id and by nothing else."""

    def __init__(self, words, log, env=None, cwd=None):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(
                [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd)

    @property
    def pid(self):
        return self.child.pid

    def wait_for(self, port, path=None, seconds=20):
        """Wait until it accepts connections, or answers 200 to a path."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            try:
                if path is None:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    return self
                if ask(port, "GET", path, timeout=2)[0] == 200:
                    return self
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.005)
        raise SystemExit(f"{self.child.args[0]} did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self, seconds=10):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()


class Stage:
    """What a script starts, and a folder for it; all of it is gone at the end, however that comes."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="omniroute-"))
        self.processes = []

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, words, name, env=None, cwd=None):
        process = Process(words, self.folder / f"{name}.log", env, cwd)
        self.processes.append(process)
        return process


class Mock:
    """The scripted upstream as a process."""

    def __init__(self, stage, programs, port=None, workers=1, record=0):
        self.stage, self.programs, self.port = stage, programs, port or free_port()
        self.options = ["--workers", workers, "--record", record]
        self.start()

    def start(self):
        words = [self.programs / "mock-upstream", "--port", self.port, *self.options]
        self.process = self.stage.start(words, f"mock-{self.port}").wait_for(self.port, "/__mock/stats")

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self):
        return ask(self.port, "GET", "/__mock/stats")[2]

    def behave(self, **order):
        status, _, answer = ask(self.port, "POST", "/__mock/behaviour", order)
        assert status == 200, answer


class Gateway:
    """The gateway as a process with a new data directory, and an operator who is signed in."""

    def __init__(self, stage, programs, name="gateway", ready="/readyz", **settings):
        self.stage, self.programs, self.name = stage, programs, name
        self.port = free_port()
        self.home = stage.folder / name
        self.home.mkdir()
        self.env = {
            "PATH": os.environ.get("PATH", ""), "HOME": str(self.home), "HOST": "127.0.0.1", "PORT": str(self.port),
            "DATA_DIR": str(self.home / "data"), "INITIAL_PASSWORD": PASSWORD, "LOG_LEVEL": "warn",
            "OMNIROUTE__UPSTREAM__ALLOW_PRIVATE_HOSTS": "127.0.0.1:*",
            "OMNIROUTE__DEMO__ENABLED": "never",
            # No load balancer has to notice first.
            "OMNIROUTE__SERVER__DRAIN_DELAY_MS": "0",
            # An unoptimised build beside other programs is late without being overloaded.
            "OMNIROUTE__OVERLOAD__MAX_LAG_MS": "0",
            # The accounts of a script are not to be paced like those of a person.
            "OMNIROUTE__RESILIENCE__REQUEST_QUEUE__REQUESTS_PER_MINUTE": "1000000",
            "OMNIROUTE__RESILIENCE__REQUEST_QUEUE__MIN_TIME_BETWEEN_REQUESTS_MS": "0",
            "OMNIROUTE__RESILIENCE__REQUEST_QUEUE__CONCURRENT_REQUESTS": "10000",
            **{f"OMNIROUTE__{key.upper()}": str(value) for key, value in settings.items()},
        }
        self.headers = {}
        self.start(ready)

    def start(self, ready="/readyz"):
        begin = time.monotonic()
        words = [self.programs / "omniroute", "serve"]
        self.process = self.stage.start(words, self.name, self.env, self.home).wait_for(self.port, ready)
        self.started_in = time.monotonic() - begin

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def login(self):
        status, headers, body = ask(self.port, "POST", "/api/auth/login", {"password": PASSWORD}, self.origin())
        assert status == 200, body
        cookies = [value.split(";")[0] for value in headers.get_all("Set-Cookie")]
        self.headers = {"Cookie": "; ".join(cookies), **self.origin()}
        return self

    def origin(self):
        return {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}

    def call(self, method, path, body=None):
        status, _, answer = ask(self.port, method, path, body, self.headers)
        assert status in (200, 201), f"{method} {path}: {status} {answer}"
        return answer

    def add_upstream(self, prefix, base_url, *keys):
        """A node of one's own with an account per key; its models are `prefix/...`."""
        node = {"name": prefix, "prefix": prefix, "apiType": "chat", "type": "openai-compatible", "baseUrl": base_url}
        provider = self.call("POST", "/api/provider-nodes", node)["node"]["id"]
        for key in keys:
            self.call("POST", "/api/providers", {"provider": provider, "name": f"{prefix} {key}", "apiKey": key})

    def add_combo(self, name, strategy, *models):
        self.call("POST", "/api/combos", {"name": name, "strategy": strategy, "models": list(models)})

    def add_key(self, name):
        return self.call("POST", "/api/keys", {"name": name})["key"]
