"""A witness over HTTP (C2SP tlog-witness): `POST /add-checkpoint`, and `GET /<sha256 of origin>/checkpoint` for monitors.

Only the standard library, and hardened for strangers: few connections at once, each cut off after a while whatever it does, sizes
limited before anything is read, two paths and no files served. Behind the internet it stands behind a web server that speaks TLS.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from governance_hooks.errors import CoopError
from governance_hooks.witness.protocol import MAX_REQUEST, Answer
from governance_hooks.witness.state import Witness

__all__ = ["WitnessServer"]

CONNECTIONS = 32
"""Connections served at once; more are closed at once."""
CONNECTION_S = 30.0
"""A connection is cut off after this time, seconds: a slow client keeps a thread no longer."""
IDLE_S = 10.0
"""Longest silence of a client, seconds."""

_CHECKPOINT = re.compile(r"/([0-9a-f]{64})/checkpoint")


class WitnessServer(ThreadingHTTPServer):
    """Serves one witness; `serve_forever()` until `shutdown()`.

    Args:
        address: (host, port); port 0 takes a free one, see `server_port`.
        witness: who answers.
        report: called with one line a request: for the operator's terminal or log.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], witness: Witness, report: Callable[[str], None] | None = None) -> None:
        self.witness, self.report = witness, report
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, if there is one left."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its thread, and cut it off when its time is over."""
        limit = threading.Timer(CONNECTION_S, _cut, [request])
        limit.daemon = True
        limit.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            limit.cancel()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that break; whoever broke them knows."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "coop-witness", ""
    timeout = IDLE_S
    error_message_format, error_content_type = "%(code)d %(message)s\n", "text/plain; charset=utf-8"
    server: WitnessServer

    def do_POST(self) -> None:
        lengths = self.headers.get_all("Content-Length", [])
        if self.headers.get("Transfer-Encoding") is not None or len(lengths) != 1 or not re.fullmatch(r"[0-9]{1,9}", lengths[0]):
            self._send(Answer(411, "a request states its length, once\n"), close=True)
        elif int(lengths[0]) > MAX_REQUEST:
            self._send(Answer(413, f"a request has at most {MAX_REQUEST} bytes\n"), close=True)
        elif self.path != "/add-checkpoint":
            self._send(Answer(404, "POST /add-checkpoint\n"), close=True)
        else:
            data = self.rfile.read(int(lengths[0]))
            if len(data) < int(lengths[0]):  # the client is gone: what came is no request
                self.close_connection = True
                return
            self._send(self._answer(lambda: self.server.witness.add_checkpoint(data)))

    def do_GET(self) -> None:
        match = _CHECKPOINT.fullmatch(self.path)
        note = Answer(404, "no checkpoint of such a log\n")
        if match:
            note = self._answer(lambda: note if (served := self.server.witness.served(match[1])) is None else Answer(200, served))
        self._send(note, close=not match)

    def _answer(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except CoopError as error:
            self._report(str(error))
            return Answer(500, "this witness cannot sign now\n")

    def _send(self, answer: Answer, *, close: bool = False) -> None:
        data = answer.body.encode()
        self.close_connection = self.close_connection or close
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        self._report(f"{self.client_address[0]} {format % args}")

    def _report(self, line: str) -> None:
        if self.server.report is not None:
            self.server.report("".join(c if c.isprintable() or c == "\n" else "?" for c in line))


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it may be closed already
        connection.shutdown(socket.SHUT_RDWR)
