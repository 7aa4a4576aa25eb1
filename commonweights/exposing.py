"""Reports to single members on what the weights show of their own records: under `private/`, one file each, for its member alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonweights.progress import Progress
from commonweights.run_inputs import find_base, find_build
from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps
from governance_hooks.plan import read_plan

if TYPE_CHECKING:
    from eval.leak.exposure import Exposed

__all__ = ["aggregate_words", "exposure_words", "make_reports"]


def make_reports(
    space: Workspace, run: str, members: Iterable[str] | None, *, base: Path | None, threads: int | None = None, show: Progress | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, list[Exposed]]]:
    """Measure the records of some members, or of all, write each one's report where only the folder's owner can read it, and return them by member.

    Raises:
        BadInput: the run is not completed and evaluated, or an input differs from what it was made of.
    """
    from eval.leak.exposure import member_report, records_of_members

    known, folder = space.coop.register.run(run), space.run(run)
    plan = read_plan((folder / "plan.json").read_bytes())
    wanted = None if members is None else list(members)
    found = records_of_members(folder, base=find_base(plan, base), build=find_build(space, plan), members=wanted, progress=show, threads=threads)
    place = space.root / "private" / "exposure" / run
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    place.chmod(0o700)
    reports = {}
    for member in wanted if wanted is not None else sorted(found):
        reports[member] = member_report(run, known.plan, member, found.get(member, []))
        write_bytes(place / f"{member}.json", dumps(reports[member]), mode=0o600)
    return reports, found


def exposure_words(report: dict[str, Any]) -> list[str]:
    """Return a member's report in plain words."""
    if not report["measured"]:
        return [f"Run {report['run']} was trained on no text of yours that could be measured."]
    lines = [
        f"What run {report['run']} shows of your {report['measured']} texts (for you alone; this is in no release):",
        f"  On average the weights know them better than {report['mean_percentile']:g}% of answers they never saw; 50% would be no trace.",
        f"  {report['above_90']} of them stand above 90%; by chance it would be about {report['measured'] / 10:.1f}.",
        "  Most exposed tenth:",
    ]
    worst = set(report["worst_decile"])
    lines += [f"    {one['record']} ({one['language']})  {one['percentile']:g}%" for one in report["records"] if one["record"] in worst]
    return [*lines, "  Somebody who has such a text could tell that it was in. What a withdrawal would do: coop consent preview"]


def aggregate_words(public: dict[str, Any]) -> list[str]:
    """Return the figures that may be shown to all, in plain words."""
    groups = public["languages"] | ({"all of these": public["overall"]} if public["overall"] else {})
    lines = [
        f"  {name:<14}{one['members']:>4} members {one['measured']:>6} texts   mean percentile {one['mean_percentile']:g}, {one['above_90']} above 90%"
        for name, one in groups.items()
    ]
    if public["withheld"]:
        lines.append(f"  withheld, for fewer than 5 members: {', '.join(public['withheld'])}")
    return ["Exposure of members' texts (no trace: mean 50, a tenth above 90%):", *lines]
