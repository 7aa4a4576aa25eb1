"""The leak test of a run in a cooperative's folder: find what it needs, measure, or read again what was logged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonweights.progress import Progress
from commonweights.run_inputs import find_base, find_build
from commonweights.workspace import Workspace
from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.leak import judge_leak, read_leak
from governance_hooks.leak_differential import judge_differential
from governance_hooks.plan import Plan, read_plan

__all__ = ["LeakTest", "leak_payload", "logged_leak_test", "make_leak_tests", "previous_run", "require_secret"]

LeakTest = dict[str, dict[str, Any]]
"""`leak`, and `differential` where there is one: the parsed records."""
_FILES = {"leak": "privacy/leak.json", "canaries": "privacy/canaries.jsonl", "differential": "privacy/differential.json"}


def make_leak_tests(
    space: Workspace, run: str, *, base: Path | None, previous: str | None = None, threads: int | None = None, show: Progress | None = None
) -> LeakTest:
    """Measure a completed run, and where the plan asks for it or `previous` names a run, what a comparison with that one shows; write the records.

    Raises:
        BadInput: no canaries, no seed, or the run before is not in this folder.
    """
    from eval.leak.differential import Side, make_differential
    from eval.leak.record import make_leak_test

    plan = read_plan((space.run(run) / "plan.json").read_bytes())
    earlier = previous or previous_run(space, plan)
    now = Side(space.run(run), find_base(plan, base), find_build(space, plan))
    made = {"leak": make_leak_test(now.run_dir, base=now.base, build=now.build, seed=space.canary_seed(plan.name), progress=show, threads=threads)}
    if earlier is not None:
        path = space.run(earlier) / "plan.json"
        if not path.is_file():
            raise BadInput("there is no such run to compare with", value=earlier, next="coop runs")
        before = read_plan(path.read_bytes())
        side = Side(space.run(earlier), find_base(before, base if before.base.digest == plan.base.digest else None), find_build(space, before))
        made["differential"] = make_differential(now, side, seed=space.canary_seed(before.name), progress=show, threads=threads)
    return made


def previous_run(space: Workspace, plan: Plan) -> str | None:
    """Return the run of the release a plan asks to be compared with, or None if it asks for none; BadInput if the log knows no such run."""
    policy = plan.evaluation.leak
    if policy is None or policy.differential is None:
        return None
    wanted = policy.differential.previous
    for run in space.coop.register.runs.values():
        if run.plan == wanted and run.status == "completed":
            return run.id
    raise BadInput("the log knows no completed run of the plan that this one is to be compared with", value=wanted, next="restore that run's folder")


def leak_payload(folder: Path, plan: Plan, made: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what the operator signs of a leak test: digests of the files in a run's folder, and whether all of it passed; None where none was voted."""
    if plan.evaluation.leak is None:
        return None
    compared = made.get("differential") if plan.evaluation.leak.differential is not None else None
    return {
        "record": sha256((folder / _FILES["leak"]).read_bytes()),
        "differential": sha256((folder / _FILES["differential"]).read_bytes()) if compared is not None else None,
        "passed": bool(made["leak"]["passed"]) and (compared is None or bool(compared["passed"])),
    }


def logged_leak_test(space: Workspace, run: str) -> LeakTest | None:
    """Return the leak test the log knows of a run, every number of it recomputed; None if the log knows none.

    Raises:
        Refused: a file is not the one in the log.
        BadInput: a number does not follow.
    """
    known, folder = space.coop.register.run(run), space.run(run)
    if known.leak is None:
        return None
    plan_bytes = (folder / "plan.json").read_bytes()
    plan = read_plan(plan_bytes)
    data: dict[str, bytes] = {}
    for name, digest in (("leak", known.leak), ("canaries", None), ("differential", known.leak_differential)):
        if name == "differential" and digest is None:
            continue
        path = folder / _FILES[name]
        if not path.is_file():
            raise BadInput(f"{path} is missing", next="restore it from a copy: the log names it")
        data[name] = path.read_bytes()
        if digest is not None and sha256(data[name]) != digest:
            raise Refused(f"{path} is not the file the log names", value=sha256(data[name]), allowed=digest, next="find out who changed it")
    leak = loads(data["leak"], floats=True)
    found = {"leak": leak | judge_leak(plan, data["leak"], data["canaries"])}
    if "differential" in data:
        judged = judge_differential(plan, data["differential"], plan_digest=sha256(plan_bytes), weights=leak["weights"])
        found["differential"] = loads(data["differential"], floats=True) | judged
    return found


def require_secret(space: Workspace, seed: Path) -> None:
    """Refuse a seed that a leak test in this folder has revealed: whoever trains on its canaries again knows which are in."""
    if not seed.is_file():
        return
    known = seed.read_bytes().hex()
    for path in sorted((space.root / "runs").glob("*/privacy/leak.json")):
        if read_leak(path.read_bytes(), source=str(path)).seed == known:
            run = path.parent.parent.name
            raise BadInput(
                f"the canaries of {seed.stem} are known since the leak test of run {run}", next="give the config another name: its canaries are new then"
            )
