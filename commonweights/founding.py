"""Founding a cooperative: keys of the operator and the log, bylaws, and the first statement everybody signs."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from commonweights.amending import in_full
from governance_hooks.bylaws import KINDS, Bylaws, default_rules
from governance_hooks.checkpoint import NoteKey
from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.errors import BadInput
from governance_hooks.sshsig import PrivateKey, PublicKey, generate_key, load_private_key
from governance_hooks.statement import OPERATOR, SELF, body, entry, sign

__all__ = ["default_bylaws", "found", "founding_body", "new_member_id", "operator_keys"]


def new_member_id() -> str:
    """Return a fresh random pseudonym."""
    return "m-" + secrets.token_hex(8)


def operator_keys(root: Path, name: str) -> tuple[NoteKey, PrivateKey]:
    """Return the log's and the operator's keys, made at the first call and kept for a founding that was cut off."""
    paths = Paths(root)
    log_key = NoteKey.load(paths.log_key) if paths.log_key.is_file() else NoteKey.generate(f"{name}/log", paths.log_key)
    operator = load_private_key(paths.operator_key) if paths.operator_key.is_file() else generate_key(paths.operator_key, comment=f"operator of {name}")
    return log_key, operator


def default_bylaws(members: list[str], *, period_s: int) -> Bylaws:
    """Return bylaws to start with: all founders are registrars and the oversight body; two registrars admit."""
    required = min(2, len(members))
    kinds = {kind: rules.model_copy(update={"minimum_for": min(rules.minimum_for, required)}) for kind in KINDS for rules in [default_rules(kind)]}
    kinds["run"] = kinds["release"] = kinds["run"].model_copy(update={"minimum_period_s": period_s})
    return Bylaws(
        registrars=members,
        registrars_required=required,
        oversight=members,
        oversight_required=1,
        recovery_required=min(2, max(1, len(members) - 1)),
        kinds=kinds,
    )


def founding_body(name: str, log_key: NoteKey, operator: PrivateKey, founders: dict[str, PublicKey], bylaws: Bylaws) -> dict[str, Any]:
    """Return the founding statement's body, to be signed by the operator and by every founder."""
    listed = [{"member": member, "key": key.line} for member, key in founders.items()]
    payload = {"name": name, "log": log_key.verifier.text, "operator": operator.public.line, "founders": listed, "bylaws": in_full(bylaws)}
    return body("coop.founding/v1", payload, coop=SELF, author=OPERATOR)


def found(root: Path, made: dict[str, Any], log_key: NoteKey, operator: PrivateKey, signatures: list[str], *, log: URL | None = None) -> str:
    """Write the founding entry into the log at a URL, else in the folder, and pin the cooperative; return its digest."""
    if Paths(root).identity.is_file():
        raise BadInput(f"{root} is a cooperative already", next=f"coop -C {root} status")
    return Cooperative.found(root, entry(made, [sign(made, operator), *signatures]), log_key, log=log)
