"""Asks witnesses over HTTP for their cosignatures; no redirects, short answers, a limit on the time of all."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

from governance_hooks.errors import BadInput
from governance_hooks.note import MAX_NOTE
from governance_hooks.witness.protocol import SIZE_TYPE, Answer

__all__ = ["ask", "ask_all", "check_url"]

ANSWER_S = 20.0
"""Time a witness has for its answer, seconds."""

_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


def check_url(url: str) -> str:
    """Return the submission prefix of a witness without a slash at its end; raise BadInput if it is none we can ask."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or "") and (parts.port or 1) and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good or parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
        raise BadInput("not the address of a witness", value=url[:80], allowed="https://host[:port]/prefix, or http:// on this machine")
    return url.rstrip("/")


def ask(url: str, body: bytes) -> Answer:
    """Send one request to the witness at `url` and return its answer; status 0 and the reason if there is none."""
    parts = urlsplit(check_url(url))
    secure = parts.scheme == "https"
    connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(parts.hostname or "", parts.port, timeout=ANSWER_S / 2)
    limit = threading.Timer(ANSWER_S, _cut, [connection])
    limit.daemon = True
    limit.start()
    try:
        connection.request("POST", parts.path + "/add-checkpoint", body, {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"})
        response = connection.getresponse()
        data = response.read(MAX_NOTE + 1)
        if len(data) > MAX_NOTE:
            return Answer(0, "its answer is too long\n")
        if response.status == 409 and response.headers.get_content_type() != SIZE_TYPE:
            return Answer(0, "it answers 409 without a size\n")
        return Answer(response.status, data.decode(), response.headers.get_content_type())
    except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        return Answer(0, f"no answer: {type(error).__name__} {error}\n")
    finally:
        limit.cancel()
        connection.close()


def ask_all(urls: Mapping[str, str], bodies: Mapping[str, bytes]) -> dict[str, Answer]:
    """Send each body to the witness of that name, all at once; return the answers by name."""
    with ThreadPoolExecutor(max(1, len(bodies))) as pool:
        asked = {name: pool.submit(ask, urls[name], body) for name, body in bodies.items()}
        return {name: future.result() for name, future in asked.items()}


def _cut(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError, AttributeError):  # closed, or not yet open: then its own timeout holds
        connection.sock.shutdown(socket.SHUT_RDWR)
