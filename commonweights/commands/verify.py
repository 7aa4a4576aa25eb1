"""`coop verify`: check a release bundle, offline, without a cooperative's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import click

from commonweights.cli import Session
from commonweights.progress import Progress, progress
from commonweights.table import show_report

if TYPE_CHECKING:
    from governance_hooks.report import Report
    from model_card.evidence import Evidence
    from model_card.verification import Verification

__all__ = ["verify"]

MAX_AGE_DAYS = 7


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--pin", help="Digest of the founding statement of the cooperative you trust (sha256:...).")
@click.option("--now", is_flag=True, help="Also look whether it is halted at this moment and the proof is fresh: exit codes 3 and 4.")
@click.option("--max-age-days", type=click.IntRange(1), help="With --now: how old the log's checkpoint may be [default: 7].")
@click.option(
    "--site",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With --now: a copy of the cooperative's download site, which says what is current.",
)
@click.option(
    "--require", "required", multiple=True, metavar="LINK", help="This link (number or name) must have something to check; may be given several times."
)
@click.option(
    "--explain", "explained", is_flag=False, flag_value="all", metavar="[LINK]", help="Say what each link proves, or this one, and what nothing proves."
)
@click.option(
    "--rederive", is_flag=True, help="Also make merged and GGUF weights again from base and adapter, and compare every byte. Needs --base and [train]."
)
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="With --rederive: folder of the base weights.")
@click.option("--member", metavar="ID", help="Your member id, or that of your consent, text, ballot, or a receipt file: what of yours is in this release.")
@click.pass_obj
def verify(
    session: Session,
    bundle: Path | None,
    pin: str | None,
    now: bool,
    max_age_days: int | None,
    site: Path | None,
    required: tuple[str, ...],
    explained: str | None,
    rederive: bool,
    base: Path | None,
    member: str | None,
) -> None:
    """Check the release in BUNDLE offline: one line per link, from the files to the votes and the consents.

    \b
    Exit code 0: every link holds. 1: a link is broken, do not use it. 2: something is missing, could not check.
    3: every link holds, and it is superseded, withdrawn or halted. 4: every link holds, and the proof is too old (with --now).

    \b
    coop verify releases/first-voices --pin sha256:...
    coop verify releases/first-voices --explain
    """
    from governance_hooks.errors import BadInput
    from governance_hooks.memory import state_folder
    from governance_hooks.statement import now as this_moment
    from model_card.verify import examine, link_number

    if bundle is None and explained is not None and Path(explained).is_dir():  # --explain DIR
        bundle, explained = Path(explained), "all"
    explanation = _explained(None if explained == "all" else link_number(explained)) if explained is not None else None
    if explanation is not None and not session.json:
        click.echo(_words(explanation))
    if bundle is None:
        if explanation is not None and session.json:
            click.echo(json.dumps(explanation, sort_keys=True))
        if explained is None:
            raise click.UsageError("Missing argument 'BUNDLE'.")
        return
    if not now and max_age_days is not None:
        raise click.UsageError("--max-age-days is for --now; without it nothing looks at a clock")
    if base is not None and not rederive:
        raise click.UsageError("--base is for --rederive; without it nothing is made again")
    if pin is not None and not re.fullmatch("sha256:[0-9a-f]{64}", pin):
        raise BadInput("--pin is not a digest, so it says nothing about this release", value=pin, allowed="sha256: and 64 of 0-9, a-f, as link 2 shows it")
    if rederive and (find_spec("train") is None or find_spec("torch") is None):
        raise BadInput("making weights again needs torch", allowed="an installation with the extra [train]", next="pip install 'commonweights[train]'")
    if rederive and base is None:
        raise BadInput(
            "--rederive makes weights again from the base", allowed="coop verify DIR --rederive --base FOLDER", next="coop base fetches or checks base weights"
        )
    require = {link_number(link) for link in required}
    with progress(quiet=session.json) as show:
        report, found = examine(
            bundle,
            pin=pin,
            now=this_moment() if now else None,
            max_age_s=(max_age_days or MAX_AGE_DAYS) * 86_400,
            require=require,
            site=site,
            remember=state_folder() / "sites" if site is not None else None,
            told=_hashed(bundle, show),
        )
        again = _rederived(found, base, show) if rederive and base is not None and report.valid else None
    seen = compare_with_memory(bundle) if report.valid else ""
    view = _view(found, member) if member is not None and report.valid else None
    if session.json:
        told = report.as_dict() | {"log": seen or None, "made_again": again.as_dict() if again is not None else None, "explained": explanation}
        click.echo(json.dumps(told if view is None else view | {"verification": told}, sort_keys=True))
    else:
        click.echo(_text(report, seen, again, view, pinned=pin is not None))
        left_out = [name for name, asked in (("--rederive", rederive), ("--member", member is not None)) if asked and not report.valid]
        for line in (*_no_release(bundle, report), *(f"{name}: nothing is shown of a release that does not hold." for name in left_out)):
            click.echo(line)
    raise click.exceptions.Exit(report.exit_code if again is None or not _bad(again) else _bad(again))


def _no_release(bundle: Path, report: Verification) -> list[str]:
    """Return what is wrong with a folder that is no release, and which folder in it may be meant."""
    if report.valid or (bundle / "release.json").exists():
        return []
    near = sorted(str(path.parent) for path in bundle.glob("*/release.json"))[:3]
    return [f"There is no release.json in {bundle}" + (f"; did you mean {' or '.join(near)}?" if near else ": name the folder of a downloaded release.")]


def _bad(again: Report) -> int:
    """Return the exit code of what was made again, 0 if every byte is the same."""
    statuses = {step.status.value for step in again.steps}
    return 1 if "FAIL" in statuses else 2 if "UNKNOWN" in statuses else 0


def _rederived(found: Evidence, base: Path, show: Progress) -> Report:
    from commonweights.rederiving import rederive

    return rederive(found, base, show=show)


def _view(found: Evidence, said: str) -> dict[str, Any]:
    from model_card.member import ask, ask_with_receipt, member_view

    receipt = Path(said)
    asked = ask_with_receipt(found, receipt.read_bytes()) if receipt.is_file() else ask(found, said)
    return member_view(found, asked)


def _text(report: Verification, seen: str, again: Report | None, view: dict[str, Any] | None, *, pinned: bool) -> str:
    colour = "green" if report.passed else "yellow" if report.valid else "red"
    lines = [show_report(report), "", click.style(report.words, fg=colour, bold=True)]
    if report.valid:
        if not pinned:
            lines[-1] += " Compare the fingerprint of link 2 with one you got elsewhere, or give it with --pin."
        lines[-1] += f" Log: {seen}."
    if again is not None:
        bad = _bad(again)
        said = {0: "MADE AGAIN: every byte is the same.", 1: "NOT THE SAME: something differs from what was made again.", 2: "COULD NOT BE MADE AGAIN."}[bad]
        lines += ["", show_report(again), "", click.style(said, fg="red" if bad else "green", bold=True)]
    if view is not None:
        from model_card.member import member_words

        lines += ["", *member_words(view)]
    return "\n".join(lines)


def _hashed(bundle: Path, show: Progress) -> Callable[[int], None] | None:
    """Return what tells of the bytes hashed, for folders large enough that somebody waits."""
    total = sum(path.lstat().st_size for path in bundle.rglob("*") if path.suffix in (".safetensors", ".gguf"))
    if total < 1 << 28:
        return None
    lock, done = Lock(), 0

    def told(count: int) -> None:
        nonlocal done
        with lock:
            before, done = done, min(done + count, total)
            if done > before:
                show("hashing, bytes", done, total)

    return told


def _explained(number: int | None) -> dict[str, Any]:
    from model_card.explain import NOT_PROVEN, PROVES
    from model_card.verify import LINKS

    chosen = [number] if number is not None else list(range(1, len(LINKS) + 1))
    told = [{"number": one, "name": LINKS[one - 1][0], "proves": PROVES[one - 1][0], "leaves_open": PROVES[one - 1][1]} for one in chosen]
    return {"links": told, "not_proven": NOT_PROVEN.split("\n- ")[1:]}


def _words(explanation: dict[str, Any]) -> str:
    from model_card.explain import EXIT, NOT_PROVEN

    told = [f"{link['number']:>3}  {link['name']}\n     proves: {link['proves']}\n     leaves open: {link['leaves_open']}" for link in explanation["links"]]
    return "\n".join(told) + (f"\n\n{NOT_PROVEN}\n\n{EXIT}\n" if len(told) > 1 else "\n")


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
