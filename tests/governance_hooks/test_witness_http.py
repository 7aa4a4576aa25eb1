"""A witness over real HTTP on loopback, spoken to by a client written here from the specification and from hostile habits."""

import contextlib
import hashlib
import http.client
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from governance_hooks.checkpoint import NoteKey, verify_checkpoint
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.merkle import verify_consistency
from governance_hooks.proof import read_proof
from governance_hooks.witness import client, server
from governance_hooks.witness.collect import collect
from governance_hooks.witness.evidence import Evidence
from governance_hooks.witness.protocol import MAX_REQUEST, Answer, Request
from governance_hooks.witness.server import WitnessServer
from governance_hooks.witness.state import Witness
from tests.governance_hooks.test_witness import Tree
from tests.village import Village

ONE, TWO, THREE = (f"sister{i}.example/witness" for i in (1, 2, 3))


HANG_S = 300
"""So long nothing takes on a machine that is only slow."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides wait for each other; tests of their patience give it an end of its own."""
    monkeypatch.setattr(client, "ANSWER_S", HANG_S)
    monkeypatch.setattr(server, "CONNECTION_S", HANG_S)
    monkeypatch.setattr(server._Handler, "timeout", HANG_S)


@contextmanager
def serving(witness: Witness, lines: list[str] | None = None) -> Iterator[int]:
    """Serve a witness on a free port of this machine."""
    with WitnessServer(("127.0.0.1", 0), witness, None if lines is None else lines.append) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield httpd.server_port
        finally:
            httpd.shutdown()
            thread.join()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(NoteKey.generate("log.example/x", tmp_path / "log.key"), *"abcdefghij")


@pytest.fixture
def witness(tmp_path: Path, tree: Tree) -> Witness:
    made = Witness.create(tmp_path / "witness", "w.example")
    made.trust(tree.key.verifier)
    return made


def post(port: int, body: bytes, path: str = "/add-checkpoint") -> tuple[int, str, bytes]:
    """The smallest client: no code of ours."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
    connection.request("POST", path, body)
    response = connection.getresponse()
    found = response.status, response.headers["Content-Type"], response.read()
    connection.close()
    return found


def raw(port: int, data: bytes) -> bytes:
    """Send bytes as they are and read until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_the_protocol_over_http(witness: Witness, tree: Tree) -> None:
    fork = Tree(tree.key, *"abXdefghij")
    with serving(witness) as port:
        status, _, body = post(port, tree.request(0, 5))
        assert status == 200
        witness.key.cosigner.verify(verify_checkpoint(tree.note(5), tree.key.verifier), body.decode().rstrip("\n"))
        assert post(port, tree.request(2, 7)) == (409, "text/x.tlog.size", b"5\n")
        assert post(port, fork.request(5, 5))[0] == 422
        assert post(port, fork.request(5, 7))[0] == 422
        assert post(port, tree.request(5, 7).replace(b"log.example", b"gol.example"))[0] == 404
        assert post(port, tree.request(5, 7).replace(b"\n7\n", b"\n8\n"))[0] == 403
        assert post(port, Request(9, (), tree.note(7)).dumps())[0] == 400
        assert post(port, b"old 0")[0] == 400
        assert post(port, tree.request(5, 7))[0] == 200
    assert {Evidence.read(folder).judge().kind for folder in (witness.root / "evidence").iterdir()} == {"fork", "none"}


def test_one_connection_carries_several_requests(witness: Witness, tree: Tree) -> None:
    with serving(witness) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
        for old, size in ((0, 2), (2, 4), (4, 9)):
            connection.request("POST", "/add-checkpoint", tree.request(old, size))
            response = connection.getresponse()
            assert (response.status, response.read().startswith("— w.example ".encode())) == (200, True)
        name = hashlib.sha256(b"log.example/x").hexdigest()
        connection.request("GET", f"/{name}/checkpoint")
        note = connection.getresponse().read().decode()
        assert verify_checkpoint(note, tree.key.verifier).size == 9
        connection.close()


@pytest.mark.parametrize(
    "path",
    ["/", "/add-checkpoint/", "/add-checkpoint?x", "/../witness.key", "/%2e%2e/witness.key", "//etc/passwd", "/add-checkpoint/../witness.key", "witness.key"],
)
def test_no_other_path_answers(path: str, witness: Witness, tree: Tree) -> None:
    secret = (witness.root / "witness.key").read_text().split()[-1].encode()
    with serving(witness) as port:
        for method in ("GET", "POST"):
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
            answer = raw(port, head)
            assert answer.split(b" ")[1] == b"404"
            assert secret not in answer
        assert raw(port, b"GET /" + b"0" * 63 + b"/checkpoint HTTP/1.1\r\n\r\n").split(b" ")[1] == b"404"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /add-checkpoint HTTP/1.1\r\n\r\n", b"411"),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"411"),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"411"),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"411"),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"411"),
        (b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST + 1), b"413"),
        (b"PUT /add-checkpoint HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"501"),
        (b"POST /add-checkpoint HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"POST /add-checkpoint HTTP/1.1\r\n" + b"X: x\r\n" * 200 + b"\r\n", b"431"),
        (b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    ],
)
def test_oversized_and_malformed_requests_are_refused_before_they_are_read(head: bytes, status: bytes, witness: Witness, tree: Tree) -> None:
    with serving(witness) as port:
        answer = raw(port, head)
        assert status in answer.split(b"\n")[0] or answer.startswith(status), answer[:200]
        assert post(port, tree.request(0, 2))[0] == 200  # it still answers others


def test_a_request_cut_off_signs_nothing(witness: Witness, tree: Tree) -> None:
    body = tree.request(0, 2)
    with serving(witness) as port:
        assert raw(port, b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:-1]) == b""
        assert witness.logs()[0].checkpoint is None


def test_who_keeps_all_connections_busy_is_cut_off(witness: Witness, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow clients take every slot; when their time is over the next request is answered. Waits for events, not for a time."""
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    monkeypatch.setattr(server, "CONNECTION_S", 0.3)
    with serving(witness) as port:
        slow = [socket.create_connection(("127.0.0.1", port), timeout=HANG_S) for _ in range(2)]
        for connection in slow:
            connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\n")
        for connection in slow:
            assert connection.recv(1) == b""  # closed by the witness
            connection.close()
        while True:
            try:
                assert post(port, tree.request(0, 2))[0] == 200
                break
            except (http.client.HTTPException, ConnectionError):  # its thread has not let go of the slot yet
                continue


def test_a_witness_that_cannot_sign_says_so_to_its_operator_only(witness: Witness, tree: Tree) -> None:
    lines: list[str] = []
    with serving(witness, lines) as port:
        assert post(port, tree.request(0, 5))[0] == 200
        (path,) = (witness.root / "logs").glob("*/checkpoint")
        path.write_text("damaged")
        status, _, body = post(port, tree.request(5, 6))
        assert (status, body) == (500, b"this witness cannot sign now\n")
    assert any("does not hold" in line and str(witness.root) in line for line in lines)


def test_what_is_reported_moves_no_cursor(witness: Witness) -> None:
    lines: list[str] = []
    with serving(witness, lines) as port:
        raw(port, b"GET /\x1b[2J\x07 HTTP/1.1\r\n\r\n")
    assert lines
    assert all(line.isprintable() for line in lines)


# The log's side.


def test_two_of_three_witnesses_suffice_when_one_is_down(witnessed: Village) -> None:
    witnesses = list(witnessed.witnesses.values())
    with serving(witnesses[0]) as first, serving(witnesses[2]) as third, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers here
        ports = {ONE: first, TWO: closed.getsockname()[1], THREE: third}
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        outcomes = collect(witnessed.coop, urls, lambda bodies: client.ask_all(urls, bodies))
        assert "no answer" in outcomes[TWO].problem
        assert [name for name, outcome in outcomes.items() if outcome.time is not None] == [ONE, THREE]
        assert read_proof(witnessed.coop.proof().dumps()).replay(witnessed.coop.pin).witnessed.missing == [TWO]
        for member in witnessed.members:
            witnessed.consent(member)
        again = collect(witnessed.coop, [ONE, THREE], lambda bodies: client.ask_all(urls, bodies))
        assert all(outcome.time is not None for outcome in again.values())


def test_after_409_the_log_starts_from_the_size_of_the_witness(witnessed: Village) -> None:
    """The log lost what it knew of its witnesses; each says its size, and the proof is made for that."""
    witnessed.cosign()
    sizes: list[int] = []

    def ask(bodies: dict[str, bytes]) -> dict[str, Answer]:
        sizes.extend(Request.loads(body).old for body in bodies.values())
        return {name: witnessed.witnesses[name].add_checkpoint(body) for name, body in bodies.items()}

    with sqlite3.connect(witnessed.root / "log.sqlite") as database:
        database.execute("DELETE FROM cosignature")
    for member in witnessed.members:
        witnessed.consent(member)
    outcomes = collect(witnessed.coop, [ONE, TWO], ask)  # type: ignore[arg-type]
    assert sizes == [0, 0, 1, 1]
    assert all(outcome.time is not None for outcome in outcomes.values())


def test_what_the_log_sends_is_a_consistency_proof(witnessed: Village) -> None:
    witnessed.cosign()
    before = verify_checkpoint(witnessed.coop.log.checkpoint(), witnessed.coop.register.log_key)
    for member in witnessed.members:
        witnessed.consent(member)
    seen: list[Request] = []
    collect(witnessed.coop, [ONE], lambda bodies: seen.append(Request.loads(bodies[ONE])) or {ONE: Answer(500, "")})  # type: ignore[func-returns-value]
    after = verify_checkpoint(seen[0].note, witnessed.coop.register.log_key)
    assert (seen[0].old, before.size, after.size) == (1, 1, 6)
    assert verify_consistency(1, 6, seen[0].path, before.root, after.root)


def test_a_log_that_was_rolled_back_is_told_so_by_its_witness(witnessed: Village) -> None:
    witnessed.consent(witnessed.members[0])
    witnessed.cosign()
    with sqlite3.connect(witnessed.root / "log.sqlite") as database:
        database.execute("DROP TRIGGER entry_DELETE")
        for table, column in (("entry", "position"), ("cosignature", "size - 1")):
            database.execute(f"DELETE FROM {table} WHERE {column} >= 1")
    with Cooperative.open(witnessed.root) as coop:
        outcomes = collect(coop, [ONE], lambda bodies: {ONE: witnessed.witnesses[ONE].add_checkpoint(bodies[ONE])})
    assert "it has cosigned 2 entries of this log, which has 1: the log was rolled back" in outcomes[ONE].problem
    assert list((witnessed.witnesses[ONE].root / "evidence").iterdir())


def test_answers_that_do_not_verify_are_not_kept(witnessed: Village, tmp_path: Path) -> None:
    good = witnessed.cosign(ONE)
    assert good[ONE].time is not None
    line = witnessed.coop.log.cosignatures(1)[ONE]
    checkpoint = verify_checkpoint(witnessed.coop.log.checkpoint(), witnessed.coop.register.log_key)
    early, late = (witnessed.witnesses[TWO].key.cosign(checkpoint, checkpoint.time + shift) for shift in (-3600, 3600))
    stranger = replace(Witness.create(tmp_path / "s", "s.example").key, name=TWO).cosign(checkpoint, checkpoint.time)
    for answer, words in (
        (Answer(200, line), "no cosignature of its key"),
        (Answer(200, ""), "no cosignature of its key"),
        (Answer(200, "nonsense\n"), "does not verify"),
        (Answer(200, stranger), "does not verify"),
        (Answer(200, early), "clock and ours differ"),
        (Answer(200, late), "clock and ours differ"),
        (Answer(409, "x\n", "text/x.tlog.size"), "no size"),
        (Answer(409, "999999\n", "text/x.tlog.size"), "rolled back"),
        (Answer(409, "0\n", "text/x.tlog.size"), "again and again"),
        (Answer(403, "no\x1b[2J\n"), "403 no [2J"),
        (Answer(0, "no answer\n"), "no answer"),
    ):
        outcome = collect(witnessed.coop, [TWO], lambda bodies, answer=answer: {TWO: answer})[TWO]  # type: ignore[misc]
        assert (outcome.time, words in outcome.problem) == (None, True), outcome
    assert set(witnessed.coop.log.cosignatures(1)) == {ONE}
    with pytest.raises(BadInput, match="name no such witness"):
        collect(witnessed.coop, ["stranger.example"], lambda bodies: {})


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """A server that answers every request with these bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002  # the name of the base class

    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}/prefix/"
        finally:
            httpd.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000, 0, "too long"),
        (b"HTTP/1.1 409 Conflict\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n5\n", 0, "without a size"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n", 302, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff", 0, "no answer"),
        (b"nonsense\r\n\r\n", 0, "no answer"),
        (b"", 0, "no answer"),
    ],
)
def test_a_hostile_witness_gets_nowhere(reply: bytes, status: int, words: str) -> None:
    with answering(reply) as url:
        answer = client.ask(url, b"body")
    assert (answer.status, words in answer.body) == (status, True)


@pytest.mark.parametrize("endless", [False, True])
def test_a_witness_that_never_finishes_is_cut_off(endless: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent, or sending a byte of header now and then for ever: without the limit this test would not end."""
    monkeypatch.setattr(client, "ANSWER_S", 0.4)

    def trickle(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not over.wait(0.02):
                connection.sendall(b"X: x\r\n" if endless else b"")

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=trickle, args=[listening])
        thread.start()
        answer = client.ask(f"http://127.0.0.1:{listening.getsockname()[1]}", b"body")
        over.set()
        thread.join()
    assert not answer.lines


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x",
        "http://",
        "file:///etc/passwd",
        "http://x:99999",
        "http://user@x",
        "http://x/?q",
        "http://x/#f",
        "http://x/ y",
        "http://x/\r\n",
        "http://é",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="not the address of a witness"):
        client.check_url(url)
    assert client.check_url("https://w.example:8443/a/") == "https://w.example:8443/a"
