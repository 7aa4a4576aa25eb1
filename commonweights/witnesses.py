"""The witnesses of a cooperative, from its own side: where they answer, asking them, and proofs that carry what they signed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads
from governance_hooks.checkpoint import verify_checkpoint
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.proof import Proof
from governance_hooks.statement import now
from governance_hooks.witness.collect import Outcome, collect
from governance_hooks.witness.policy import Witnessed

__all__ = ["cosign", "read_urls", "standing", "witnessed_proof", "write_urls"]

REFRESH_S = 3600
"""A proof is made from cosignatures at most so old, if the witnesses answer, seconds."""


def read_urls(space: Workspace) -> dict[str, str]:
    """Return the addresses of witnesses by name; they are this machine's business and not in the log."""
    if not space.witnesses.is_file():
        return {}
    from governance_hooks.witness.client import check_url

    value = loads(space.witnesses.read_bytes(), source=str(space.witnesses))
    if not isinstance(value, dict) or not all(isinstance(url, str) for url in value.values()):
        raise BadInput(f"{space.witnesses} does not hold addresses by name", next="remove it, then coop log witnesses add NAME URL")
    return {name: check_url(url) for name, url in value.items()}


def write_urls(space: Workspace, urls: dict[str, str]) -> None:
    """Keep the addresses of witnesses."""
    write_bytes(space.witnesses, dumps(urls))


def cosign(space: Workspace, names: Iterable[str] | None = None) -> dict[str, Outcome]:
    """Ask witnesses of the bylaws to cosign the newest checkpoint, over HTTP; all that have an address, if no names are given."""
    from governance_hooks.witness.client import ask_all

    urls = read_urls(space)
    wanted = [w.name for w in space.coop.register.bylaws.policy.witnesses if w.name in urls] if names is None else list(names)
    unknown = [name for name in wanted if name not in urls]
    if unknown:
        raise BadInput("no address is known of this witness", value=unknown[0], next=f"coop log witnesses add {unknown[0]} URL")
    return collect(space.coop, wanted, lambda bodies: ask_all(urls, bodies))


def standing(space: Workspace) -> Witnessed:
    """Return what witnesses say of the newest checkpoint; raise Refused if a kept cosignature does not verify."""
    note, register = space.coop.checkpoint(), space.coop.register
    return register.bylaws.policy.check(verify_checkpoint(note, register.log_key))


def witnessed_proof(space: Workspace) -> Proof:
    """Return the portable proof of now; if the bylaws require witnesses and their cosignatures are missing or old, ask them first."""
    if not space.coop.read_only and space.coop.register.bylaws.policy.required and not _fresh(space):
        cosign(space)  # whoever checks the proof says what is still missing
    return space.coop.proof()


def _fresh(space: Workspace) -> bool:
    try:
        return int(datetime.fromisoformat(now()).timestamp()) - standing(space).time <= REFRESH_S
    except CoopError:
        return False
