"""`coop leak`: how much a run's weights give away about what they were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commonweights.cli import Session
from commonweights.exposing import aggregate_words, make_reports
from commonweights.leaking import logged_leak_test, make_leak_tests
from commonweights.progress import progress
from commonweights.run_inputs import find_base
from commonweights.workspace import open_workspace
from governance_hooks.errors import BadInput
from governance_hooks.plan import read_plan

if TYPE_CHECKING:
    from commonweights.leaking import LeakTest

__all__ = ["leak", "show_leak_test"]


def show_leak_test(found: LeakTest) -> str:
    """Return in plain words what leak tests say."""
    from model_card.leak_test import differential_words, leak_words

    lines = leak_words(found["leak"])
    if "differential" in found:
        lines += ["", *differential_words(found["differential"])]
    return "\n".join(lines)


@click.command()
@click.argument("run", required=False)
@click.option(
    "--again",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Instead of RUN: a release folder somebody gave you; measure its canaries anew.",
)
@click.option("--previous", metavar="RUN", help="Compare with this run of an earlier release too: does it show what left? [default: as the plan asks]")
@click.option("--members", "of_members", is_flag=True, help="Measure members' own texts instead: a private report for each, figures over five or more for all.")
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default: the cache].")
@click.option("--threads", type=click.IntRange(1), help="CPU threads [default: torch's choice].")
@click.pass_obj
def leak(session: Session, run: str | None, again: Path | None, previous: str | None, of_members: bool, base: Path | None, threads: int | None) -> None:
    """Test how much the weights of RUN give away, on canaries: lines nobody wrote, half of them trained on.

    `coop eval` runs it too where the plan asks for it. What the log knows already is recomputed, not measured again. It reveals the canaries' seed, so it waits for
    the end of the run. Exit 1: it did not pass the policy members voted.

    \b
    coop leak first
    coop leak --again releases/first
    """
    if (run is None) == (again is None):
        raise click.UsageError("give RUN, or --again FOLDER")
    if run is None:
        assert again is not None
        _again(session, again, base, threads)
        return
    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        known = space.coop.register.run(run)
        if known.status != "completed":
            raise BadInput("the run is not completed, and the test would reveal its canaries", value=known.status, allowed="completed", next="coop status")
        if of_members:
            from eval.leak.exposure import aggregate

            public = aggregate(make_reports(space, run, None, base=base, threads=threads, show=show)[1])
            where = space.root / "private" / "exposure" / run
            session.show(public, "\n".join([*aggregate_words(public), f"One report a member, private: {where}"]))
            return
        found = logged_leak_test(space, run)
        logged = found is not None
        if found is None:
            found = make_leak_tests(space, run, base=base, previous=previous, threads=threads, show=show)
        elif previous is not None:
            raise BadInput("the leak test of this run is in the log already", value=previous, next=f"coop leak {run}")
    session.show(found | {"logged": logged}, show_leak_test(found))
    if any(one["passed"] is False for one in found.values()):
        raise click.exceptions.Exit(1)


def _again(session: Session, folder: Path, base: Path | None, threads: int | None) -> None:
    from eval.leak.again import measure_again

    plan = read_plan((folder / "plan.json").read_bytes()) if (folder / "plan.json").is_file() else None
    if plan is None:
        raise BadInput(f"{folder} holds no plan.json", next="name a release folder")
    with progress(quiet=session.json) as show:
        found = measure_again(folder, base=find_base(plan, base), threads=threads, progress=show)
    outcome = "The losses are as stated" if found["agrees"] else f"NOT as stated: {', '.join(found['differing'][:5])}"
    session.show(found, f"{found['canaries']} canaries measured again, at most {found['largest_nats']:g} nats apart. {outcome}.")
    if not found["agrees"]:
        raise click.exceptions.Exit(1)
