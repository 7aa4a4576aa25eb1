"""The log's side: asks the witnesses of the bylaws to cosign the newest checkpoint, and keeps what verifies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from governance_hooks.checkpoint import Checkpoint, read_body, verify_checkpoint
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput, Refused
from governance_hooks.fields import CLOCK_SKEW_S
from governance_hooks.note import read_line, split_note
from governance_hooks.witness.cosigner import Cosigner
from governance_hooks.witness.protocol import Answer, Request

__all__ = ["Ask", "Outcome", "accept_note", "collect", "request_for", "witness_of"]

Ask = Callable[[Mapping[str, bytes]], Mapping[str, Answer]]
"""Sends each body to the witness of that name and returns the answers."""

_ROUNDS = 3
"""So often a witness may answer that it has another size than we thought: others may be at it too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of asking one witness: the Unix second of its cosignature, or why there is none."""

    time: int | None
    problem: str = ""


def witness_of(coop: Cooperative, name: str) -> Cosigner:
    """Return a witness of the bylaws in force by name; raise BadInput if they name none such."""
    named = {witness.name: witness for witness in coop.register.bylaws.policy.witnesses}
    if name not in named:
        raise BadInput("the bylaws name no such witness", value=name, allowed=", ".join(sorted(named)) or "they name none", next="coop log witnesses")
    return named[name]


def request_for(coop: Cooperative, note: str, old: int) -> bytes:
    """Return the request to cosign a checkpoint of this log, for a witness that has cosigned `old` entries.

    Raises:
        Refused: the witness has seen more entries than there are: this log was rolled back.
    """
    size = read_body(note).size
    if old > size:
        raise Refused(
            f"it has cosigned {old} entries of this log, which has {size}: the log was rolled back",
            next="find the lost entries; a log that goes on without them is a fork, and no witness cosigns it",
        )
    return Request(old, tuple(coop.log.consistency(old, size)) if old else (), note).dumps()


def _accept(coop: Cooperative, name: str, checkpoint: Checkpoint, lines: Iterable[str]) -> Outcome:
    """Verify the line of a witness over one of our checkpoints, and keep it."""
    for line in lines:
        try:
            if read_line(line)[0] != name:
                continue
            time = witness_of(coop, name).verify(checkpoint, line)
        except Refused as refused:
            return Outcome(None, f"its answer does not verify: {refused.what}")
        now = int(datetime.fromisoformat(coop.clock()).timestamp())
        if not checkpoint.time - CLOCK_SKEW_S <= time <= now + CLOCK_SKEW_S:
            return Outcome(None, f"its clock and ours differ by more than {CLOCK_SKEW_S} s")
        coop.log.keep_cosignature(checkpoint.size, name, line + "\n")
        return Outcome(time)
    return Outcome(None, "its answer holds no cosignature of its key in the bylaws")


def accept_note(coop: Cooperative, note: str) -> dict[str, Outcome]:
    """Keep the cosignatures on a note that came back as a file; return what came of each witness on it.

    Raises:
        Refused: it is no checkpoint of this log as it stands.
        BadInput: it bears no line of a witness of the bylaws.
    """
    claim = read_body(note)
    ours = dict(coop.log.checkpoints(claim.size)).get(claim.size)
    if ours is None or read_body(ours).body != claim.body:
        raise Refused("the answer is not about a checkpoint of this log", value=f"{claim.origin} {claim.size}", next="coop log cosign --request FILE")
    checkpoint, lines = verify_checkpoint(ours, coop.register.log_key), split_note(note)[1]
    known = {witness.name for witness in coop.register.bylaws.policy.witnesses}
    named = sorted(known & {read_line(line)[0] for line in lines})
    if not named:
        raise BadInput("the answer bears no line of a witness the bylaws name", allowed=", ".join(sorted(known)) or "they name none")
    return {name: _accept(coop, name, checkpoint, lines) for name in named}


def collect(coop: Cooperative, names: Iterable[str], ask: Ask) -> dict[str, Outcome]:
    """Ask witnesses to cosign the newest checkpoint and keep their cosignatures; return what came of each.

    Raises:
        BadInput: the bylaws name no such witness.
    """
    note = coop.log.checkpoint()
    newest = verify_checkpoint(note, coop.register.log_key)
    sizes = {name: coop.log.cosigned_size(witness_of(coop, name).name) for name in names}
    outcomes: dict[str, Outcome] = {}
    for _ in range(_ROUNDS):
        bodies: dict[str, bytes] = {}
        for name, old in sizes.items():
            try:
                bodies[name] = request_for(coop, note, old)
            except Refused as refused:
                outcomes[name] = Outcome(None, refused.what)
        sizes = {}
        for name, answer in (ask(bodies) if bodies else {}).items():
            try:
                size = answer.size
            except Refused:
                outcomes[name] = Outcome(None, "it answers 409 with something that is no size")
                continue
            if size is not None:
                sizes[name] = size
                outcomes[name] = Outcome(None, f"it has cosigned {size} entries, and answers so again and again")
            elif answer.status == 200:
                outcomes[name] = _accept(coop, name, newest, answer.lines)
            else:
                outcomes[name] = Outcome(None, f"{answer.status or ''} {_line(answer.body)}".strip())
    return outcomes


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:160]).strip()
