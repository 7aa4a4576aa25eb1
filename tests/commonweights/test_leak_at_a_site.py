"""The writer takes the leak test an eval job left only if it follows, is of this run's weights, and was written by the job's user."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from commonweights.job_results import _leak_test
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import CoopError
from governance_hooks.leak_policy import DifferentialPolicy, LeakPolicy
from tests.leaky import OUTPUTS, items_of, lines_of, plan_of, record_of

POLICY = LeakPolicy(maximum_epsilon=1.0)
RECORD = dumps({"outputs": OUTPUTS})


def left(folder: Path, *, leak: float = 0.0, policy: LeakPolicy = POLICY, **changes: Any) -> Path:
    """Write what a job leaves in a run's folder."""
    plan, lines = plan_of(policy=policy), lines_of(leak=leak)
    run = folder / "run-1"
    (run / "privacy").mkdir(parents=True)
    (run / "plan.json").write_bytes(dumps(plan.model_dump(mode="json")))
    (run / "privacy/canaries.jsonl").write_bytes(items_of(lines))
    (run / "privacy/leak.json").write_bytes(dumps(json.loads(record_of(plan, lines)) | changes))
    return run


def taken(run: Path, *, policy: LeakPolicy = POLICY, record: bytes = RECORD, user: int | None = None) -> dict[str, object]:
    return _leak_test(run, plan_of(policy=policy), record, os.getuid() if user is None else user)


@pytest.mark.parametrize(("leak", "passed"), [(0.0, True), (4.0, False)])
def test_what_follows_is_signed_with_its_outcome(tmp_path: Path, leak: float, passed: bool) -> None:
    run = left(tmp_path, leak=leak)
    assert taken(run) == {"record": sha256((run / "privacy/leak.json").read_bytes()), "differential": None, "passed": passed}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"passed": False}, "does not follow"),
        ({"run": "run-2"}, "another run"),
        ({"plan": digest("x")}, "another plan"),
        ({"weights": [OUTPUTS[0] | {"size": 1}]}, "set of weights"),
    ],
)
def test_what_does_not_follow_or_is_of_something_else_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(CoopError, match=why):
        taken(left(tmp_path, **changes))


def test_a_test_that_is_missing_or_another_users_is_refused(tmp_path: Path) -> None:
    run = left(tmp_path)
    with pytest.raises(CoopError, match="another user"):
        taken(run, user=os.getuid() + 1)
    (run / "privacy/canaries.jsonl").unlink()
    with pytest.raises(CoopError):
        taken(run)


def test_a_comparison_with_the_release_before_is_not_made_at_a_site(tmp_path: Path) -> None:
    policy = POLICY.model_copy(update={"differential": DifferentialPolicy(previous=digest("before"))})
    with pytest.raises(CoopError, match="made where both are"):
        taken(left(tmp_path, policy=policy), policy=policy)
