"""`coop consent export | receipt | check`: consent as a record for machines, and as a paper the member keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.options import key_option
from commonweights.table import finish
from commonweights.workspace import Workspace, find_folder, load_key, member_of, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads
from governance_hooks.cooperative import Paths
from governance_hooks.errors import BadInput
from governance_hooks.proof import Proof, read_proof
from governance_hooks.state.consents import Grant
from governance_hooks.statement import now

__all__ = ["check", "export", "receipt"]

_OUT = click.Path(path_type=Path, dir_okay=False)


@contextmanager
def _grants(session: Session, key: Path | None) -> Iterator[tuple[Workspace, str, list[Grant]]]:
    """Open the cooperative, and give the member the key belongs to with all consents they ever gave."""
    own = load_key(key)
    with open_workspace(session.folder, read_only=True) as space:
        member = member_of(space.coop, own)
        grants = space.coop.register.grants.get(member, [])
        if not grants:
            raise BadInput("you gave no consent yet", value=member, next="coop consent give")
        yield space, member, grants


@click.command()
@click.option("--out", type=_OUT, help="Write it here [default: print it].")
@key_option
@click.pass_obj
def export(session: Session, out: Path | None, key: Path | None) -> None:
    """Write your consents as a consent receipt in JSON-LD (ISO/IEC TS 27560, W3C DPV 2.3), for machines and auditors."""
    from governance_hooks.consent_record import receipt as as_json_ld

    with _grants(session, key) as (space, member, grants):
        made = as_json_ld(space.coop.register, grants, space.coop.proof().entries, at=now())
    if out is None:
        click.echo(dumps(made).decode())
        return
    write_bytes(out, dumps(made))
    session.show({"export": str(out), "member": member, "consents": len(grants)}, f"{out}: {len(grants)} consent(s) of {member}")


@click.command()
@click.argument("out", type=_OUT)
@key_option
@click.pass_obj
def receipt(session: Session, out: Path, key: Path | None) -> None:
    """Write OUT: your consents, your signatures, and the proof that they are in the log. Keep it; anybody can check it offline."""
    from governance_hooks.consent_receipt import make_receipt

    with _grants(session, key) as (space, member, grants):
        data = make_receipt(space.coop.proof(), space.coop.register, grants, at=now())
    write_bytes(out, data)
    session.show(
        {"receipt": str(out), "member": member, "consents": len(grants)},
        f"{out}: {len(grants)} consent(s) of {member}\ncheck it with: coop consent check {out}",
    )


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--pin", help="Digest of the founding statement you expect.")
@click.option(
    "--proof",
    "proof_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A newer log (coop proof), to see whether the consents still stand.",
)
@click.pass_obj
def check(session: Session, file: Path, pin: str | None, proof_file: Path | None) -> None:
    """Check a consent receipt offline: signatures, the log's checkpoint, and that the words are what was signed.

    With --proof, or in the cooperative's folder, it also says whether the consents still stand.
    """
    from governance_hooks.consent_receipt import MAX_RECEIPT, check_receipt

    if file.stat().st_size > MAX_RECEIPT:
        raise BadInput("this file is too long for a receipt", value=file.stat().st_size, allowed=f"{MAX_RECEIPT} bytes")
    data = file.read_bytes()
    newer = read_proof(proof_file.read_bytes()) if proof_file is not None else _log_here(session, data)
    report = check_receipt(data, pin=pin, proof=newer)
    told = "" if newer is not None else " Whether it still stands needs a newer log: --proof FILE, or the cooperative's folder."
    if report.passed and not session.json:
        for one in loads(data)["words"]:
            click.echo(f"Consent {one['consent'][:19]}\n" + "\n".join(f"  {line}" for line in one["lines"]) + "\n")
    finish(session, report, good="This receipt holds." + told, bad="This receipt does not hold.")


def _log_here(session: Session, data: bytes) -> Proof | None:
    """Return the log of the folder named with -C, or of the one around if it is the receipt's cooperative; None if there is none."""
    if session.folder is None:
        try:
            here = find_folder(None)
        except BadInput:
            return None
        if Paths(here).pin() not in data.decode(errors="replace"):
            return None
    with open_workspace(session.folder, read_only=True) as space:
        return space.coop.proof()
