"""Loopback servers that note what is sent to them and answer nothing useful."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Sink:
    """An address, and every request that reached it: its first line and its headers, as text."""

    def __init__(self):
        self.requests = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                sink.requests.append(f"{self.requestline}\n{self.headers}")
                self.send_response(403)
                self.send_header("content-length", "0")
                self.end_headers()

            do_POST = do_CONNECT = do_GET

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def sink():
    """Makes sinks."""
    sinks = []

    def make():
        sinks.append(Sink())
        return sinks[-1]

    yield make
    for made in sinks:
        made.close()
