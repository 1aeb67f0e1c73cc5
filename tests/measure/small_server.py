"""A server that stores keys and has one fault: python small_server.py PORT STORE FAULT."""

import itertools
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, STORE, FAULT = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
counter = itertools.count(1)
kept = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(200, STORE.read_bytes() if STORE.exists() else b"")

    def do_POST(self):
        key = self.rfile.read(int(self.headers["Content-Length"]))
        count = next(counter)
        refused = key.startswith(b"bad")
        if FAULT == "dies" and count == 30:
            sys.stderr.write("out of ink\n")
            os._exit(7)
        if FAULT == "keeps-memory":
            kept.append(b"x" * 10_000)
        if FAULT == "keeps-files":
            kept.append(STORE.open("ab"))
        store = not refused or FAULT == "stores-refused"
        times = 2 if FAULT == "twice" and count % 10 == 0 else 1
        if store and not (FAULT == "loses" and count % 10 == 0):
            with STORE.open("ab") as file:
                file.write((key + b"\n") * times)
        self.answer(400 if refused else 200, b"done")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if FAULT == "never-ready":
    sys.stderr.write("no table called patients\n")
    sys.exit(3)
if FAULT == "deaf":
    time.sleep(30)
if FAULT == "ignores-sigterm":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
