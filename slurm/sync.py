"""What the controller does between jobs: takes the newest proof, says which orders are in force, accounts for what ended, and clears the outbox."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from governance_hooks.atomic import write_bytes
from governance_hooks.errors import CoopError, Refused
from governance_hooks.gate import apply_pending
from governance_hooks.proof import Proof, read_proof
from governance_hooks.site.order import Order
from slurm.controller import reason
from slurm.outbox import read_entries, read_small
from slurm.permission import Standing
from slurm.segments import settle
from slurm.site_folder import MAX_PROOF, SiteFolder

__all__ = ["Pass", "Verdict", "sync"]

KEEP_S: Final = 3600
"""An entry stays in the outbox so long after it was written, seconds: a process on a node may have read an older proof."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an order is in force, and why not."""

    order: str
    """Hexadecimal digits."""
    why: str | None
    """None: it is in force."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass found."""

    entries: int
    """Length of the log the site stands on."""
    taken: bool
    """Whether a newer proof came in."""
    verdicts: tuple[Verdict, ...]
    ended: tuple[str, ...]
    """Starts that were accounted for, as JOB.RESTART."""
    pruned: int
    """Entries of the outbox that the log holds."""
    trouble: tuple[str, ...]
    """What could not be read or was refused on the way; the rest was done."""


def sync(folder: SiteFolder, *, at: str) -> Pass:
    """Do one pass.

    Args:
        at: RFC 3339 UTC.

    Raises:
        CoopError: there is no proof that holds, or a file cannot be written.
    """
    trouble: list[CoopError] = []
    taken = False
    for path in folder.delivered_proofs():
        try:
            taken |= _take_proof(folder, path)
        except CoopError as error:  # the last good proof goes on until it is too old
            trouble.append(error)
        finally:
            _clear(path)
    outbox = folder.outbox()
    ended = settle(folder.path, outbox, refused=trouble)
    for one in ended:
        folder.note("end", at=at, job=one.clearance.job, restart=one.clearance.restart, outcome=one.outcome, order=one.clearance.order)
    with outbox.locked():
        trouble += _set_aside(folder)
        standing = Standing(folder, at)
        pruned = _prune(folder.path / "outbox", standing.proof)
    verdicts = tuple(_judge(standing, name) for name in folder.waiting())
    _remove_others(folder, {one.order for one in verdicts})
    words = tuple(reason(error) for error in trouble)
    return Pass(len(standing.proof.entries), taken, verdicts, tuple(one.name for one in ended), pruned, words)


def _take_proof(folder: SiteFolder, path: Path) -> bool:
    """Take a proof from the inbox if it holds and adds to what this site has seen; tell whether it does."""
    data = read_small(path, MAX_PROOF)
    if (folder.path / "proof.coop").exists() and data == folder.proof():
        return False
    known = folder.memory.load()
    proof = read_proof(data)
    replay = proof.replay(folder.site.coop)
    folder.memory.extend(proof, replay.register.log_key, known)
    write_bytes(folder.path / "proof.coop", data)
    return True


def _clear(path: Path) -> None:
    """Remove a proof that was looked at, whoever put it there: a file of somebody else's would keep the writer's out."""
    with suppress(OSError):
        path.unlink()


def _set_aside(folder: SiteFolder) -> list[CoopError]:
    """Rename entries the log will never take to `.refused`, and return why: another site may have used up the approval before our word arrived."""
    proof = read_proof(folder.proof())
    register = proof.replay(folder.site.coop).register
    refused: list[CoopError] = []
    for one in list(read_entries(folder.path / "outbox")):
        try:
            apply_pending(register, proof.entries, [one.data])
        except CoopError as error:
            one.path.rename(one.path.with_suffix(".refused"))
            refused.append(Refused(f"the log does not take {one.path.name}: {error.what}"))
    return refused


def _prune(outbox: Path, proof: Proof) -> int:
    """Remove entries that the log holds, but for young ones, and the last, whose number the next one follows."""
    held, removed = set(proof.entries), 0
    for one in list(read_entries(outbox))[:-1]:
        if one.data in held and time.time() - one.path.stat().st_mtime > KEEP_S:
            one.path.unlink()
            removed += 1
    return removed


def _judge(standing: Standing, name: str) -> Verdict:
    """Write HEX.ok for an order in force, HEX.no for another."""
    orders = standing.folder.path / "orders"
    try:
        job = standing.folder.used_by(name)
        if job is not None:
            raise Refused("this order has started its job", value=job, next="coop submit again, for another one")
        permission = standing.permission(name, standing.folder.delivered(name))
    except CoopError as error:
        (orders / f"{name}.ok").unlink(missing_ok=True)
        verdict = Verdict(name, reason(error))
        _replace(orders / f"{name}.no", f"{verdict.why}\n")
        return verdict
    _replace(orders / f"{name}.ok", _lines(permission.order))
    (orders / f"{name}.no").unlink(missing_ok=True)
    return Verdict(name, None)


def _lines(order: Order) -> str:
    """Return what job_submit.lua reads; each value is of a form that holds no line break."""
    expires = int(datetime.fromisoformat(order.expires).timestamp())
    values = {
        "array": order.array or "",
        "devices": order.devices,
        "expires": expires,
        "kind": order.kind,
        "minutes": order.minutes,
        "nodes": order.nodes,
        "run": order.run,
        "user": order.user,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _replace(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        write_bytes(path, text.encode())


def _remove_others(folder: SiteFolder, judged: set[str]) -> None:
    """Remove what is said of orders that are no longer in the inbox."""
    for path in (folder.path / "orders").iterdir():
        if path.suffix in (".ok", ".no") and path.stem not in judged:
            path.unlink()
