"""A listener between an agent and the gateway, who writes down what both say and changes nothing."""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# These belong to one connection and not to the message; the listener has its own.
HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade", "expect")


class Tap:
    """`rows` are the exchanges: method, path, status, what was asked and what was answered."""

    def __init__(self, port):
        self.rows = []

        class Handler(Relay):
            target, rows = port, self.rows

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Relay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    target, rows = None, None

    def log_message(self, *_):
        pass

    def relay(self):
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        row = {"at": time.time(), "method": self.command, "path": self.path, "status": None, "asked": asked, "answered": b"",
               "headers": dict(self.headers.items())}
        self.rows.append(row)
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        try:
            connection.request(self.command, self.path, asked, {name: value for name, value in self.headers.items() if name.lower() not in HOP})
            self.pass_on(connection.getresponse(), row)
        except OSError as error:
            # The agent hung up, or the gateway did: either is for the one who reads the rows.
            row["broken"] = str(error)
            self.close_connection = True
        finally:
            connection.close()

    def pass_on(self, answer, row):
        row["status"] = answer.status
        bare = self.command == "HEAD" or answer.status in (204, 304)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        if not bare:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        # What has come goes on at once, or a stream would be none.
        while not bare and (piece := answer.read1(65536)):
            row["answered"] += piece
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if not bare:
            self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = relay
