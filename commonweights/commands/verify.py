"""`coop verify`: check a release bundle, offline, without a cooperative's folder."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.table import finish

__all__ = ["verify"]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--pin", help="Digest of the founding statement of the cooperative you trust (sha256:...).")
@click.option("--now", is_flag=True, help="Also look whether the release is halted at this moment; needs a fresh proof.jsonl.gz.")
@click.option("--max-age-days", type=click.IntRange(1), default=7, show_default=True, help="With --now: refuse a proof whose checkpoint is older.")
@click.option("--explain", is_flag=True, help="Also print what a green result does not prove.")
@click.pass_obj
def verify(session: Session, bundle: Path, pin: str | None, now: bool, max_age_days: int, explain: bool) -> None:
    """Check the release in BUNDLE offline: one line per link, from the files to the votes and the consents.

    Exit code 0: every link holds. 1: a link is broken, do not use it. 2: something is missing, could not check.
    """
    from governance_hooks.statement import now as this_moment
    from model_card.verify import NOT_PROVEN
    from model_card.verify import verify as run_verify

    report = run_verify(bundle, pin=pin, now=this_moment() if now else None, max_age_s=max_age_days * 86_400)
    seen = compare_with_memory(bundle) if report.passed else ""
    if explain and not session.json:
        click.echo(NOT_PROVEN + "\n")
    good = (
        "VERIFIED: every link holds."
        + ("" if pin else " Compare the fingerprint of link 2 with one you got elsewhere, or give it with --pin.")
        + f" Log: {seen}."
    )
    finish(session, report, good=good, bad="NOT VERIFIED." if report.exit_code == 1 else "COULD NOT CHECK.")


def compare_with_memory(bundle: Path) -> str:
    """Compare the log of a bundle that holds with what this machine remembers, and remember it; return what was found.

    Raises:
        Refused: it is a fork of the log this machine saw before.
    """
    from governance_hooks.memory import Memory
    from governance_hooks.proof import read_proof

    proof = read_proof((bundle / "proof.jsonl.gz").read_bytes())
    register = proof.fold(1)
    proof.verify_log(register.coop)
    memory = Memory(register.coop)
    return memory.check_proof(proof, register.log_key, memory.load(), older=True)
