"""Drafted statements: a body in one file, signatures beside it, until enough have signed.

The body file holds exactly the canonical bytes that are signed, so `ssh-keygen -Y sign -n coop-statement@v1 FILE` works
on it as it stands. Each signature is a file `FILE.<n>.sig`; ssh-keygen's own `FILE.sig` counts too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.sshsig import Signer, verify
from governance_hooks.statement import Statement, body, entry

__all__ = ["add_signature", "finish", "read_body", "say", "signatures", "write_draft"]


def write_draft(path: Path, value: dict[str, Any]) -> None:
    """Write a body to be signed; refuse to overwrite a file."""
    if path.exists():
        raise BadInput(f"{path} exists already", next="choose another name for the draft")
    write_bytes(path, dumps(value))


def read_body(path: Path) -> dict[str, Any]:
    """Read a drafted body."""
    try:
        value: dict[str, Any] = loads(path.read_bytes(), source=str(path))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    return value


def signatures(path: Path) -> list[str]:
    """Return the valid signatures beside a draft; raise Refused for one that does not verify."""
    found = []
    for file in sorted(path.parent.glob(path.name + "*.sig")):
        text = file.read_text(encoding="utf-8")
        verify(text, path.read_bytes())
        found.append(text)
    return found


def add_signature(path: Path, key: Signer) -> Path:
    """Sign a draft and put the signature beside it; return its file."""
    read_body(path)
    target = path.with_name(f"{path.name}.{key.public.raw.hex()[:8]}.sig")
    write_bytes(target, key.sign(path.read_bytes()).encode())
    return target


def say(coop: Cooperative, kind: str, payload: Any, *, key: Signer, author: str, draft: Path | None) -> Statement | None:
    """Append a statement signed with `key`, or write its body to `draft` and return None."""
    if draft is not None:
        write_draft(draft, body(kind, payload, coop=coop.register.coop, author=author))
        return None
    return coop.state(kind, payload, key=key, author=author)


def finish(coop: Cooperative, path: Path) -> Statement:
    """Append a draft with the signatures beside it."""
    return coop.append(entry(read_body(path), signatures(path)))
