"""What a run reads: the tokens and rows its plan names, as often as it says, and no others."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from data_pipeline.manifest import read_build
from data_pipeline.tokens.mixture import mixture
from governance_hooks.canaries import canaries
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.merkle import leaf_hash, root
from governance_hooks.plan import Mix, read_plan
from tests.train.interrupted import exact, interrupt_at, lines
from train.data import check_tokens
from train.layout import batch_rows
from train.prepare import plan_tokens

Plan = Callable[..., bytes]


UNIMAX = Mix(strategy="unimax", max_epochs=2)


def test_a_mixed_run_reads_what_its_table_says_and_resumes_bit_for_bit(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    plan = plan_of(mix=UNIMAX, max_steps=None, epochs=2, checkpoint_every_steps=100)
    straight = go(tmp_path / "straight", plan)
    for row in mixture(read_plan(plan).tokens.languages, UNIMAX, epochs=2):
        assert abs(straight["tokens"][row.language]["input"] - row.budget) < 128
    go(tmp_path / "parts", plan, progress=interrupt_at(3))
    assert go(tmp_path / "parts", plan)["starts"] == 2
    assert exact(tmp_path / "parts") == exact(tmp_path / "straight")


@pytest.mark.parametrize("mix", [Mix(), UNIMAX])
def test_a_run_with_canaries_reads_each_as_often_as_it_should_resumes_bit_for_bit_and_traces_members_only(
    tmp_path: Path, plan_of: Plan, go: Any, build: Path, monkeypatch: pytest.MonkeyPatch, mix: Mix
) -> None:
    plan = plan_of(mix=mix, canaries=12, max_steps=None, epochs=2, sequence_tokens=256, checkpoint_every_steps=100)
    voted, read = read_plan(plan), Counter[str]()
    laid = batch_rows
    monkeypatch.setattr(
        "train.layout.batch_rows", lambda sequences, pad, **rest: read.update(one.record for row in sequences for one in row) or laid(sequences, pad, **rest)
    )
    straight = go(tmp_path / "straight", plan)
    included = sorted(one.canary for one in canaries(bytes(32), 12) if one.included)
    times = 2 if mix == Mix() else 1
    assert {name: count for name, count in read.items() if name.startswith("canary-")} == dict.fromkeys(included, times)
    assert straight["tokens"]["zxx"]["input"] == times * voted.tokens.languages["zxx"].tokens

    trained = {entry for line in lines(tmp_path / "straight/trace.jsonl") for entry in line["records"]}
    assert trained <= {line["record"] for line in lines(build / "ledger.jsonl") if line["split"] == "train"}
    assert straight["trained_records"] == len(trained)
    assert straight["trained_root"] == "sha256:" + root([leaf_hash(entry.encode()) for entry in sorted(trained)]).hex()
    validated = [line for line in lines(tmp_path / "straight/metrics.jsonl") if "validation" in line]
    assert all(sorted(line["validation"]) == ["eus", "spa"] for line in validated)

    go(tmp_path / "parts", plan, progress=interrupt_at(3))
    assert go(tmp_path / "parts", plan)["starts"] == 2
    assert exact(tmp_path / "parts") == exact(tmp_path / "straight")


def test_a_run_needs_the_seed_only_where_its_tokens_are_missing(tmp_path: Path, plan_of: Plan, base: Path, build: Path, canary_seed: Path) -> None:
    plan, cpu = read_plan(plan_of(canaries=12, max_steps=None, sequence_tokens=256)), torch.device("cpu")
    assert plan_tokens(plan, base, read_build(build), cpu, None).digest == plan.tokens.digest
    copy = read_build(Path(shutil.copytree(build, tmp_path / "build")))
    assert plan.canaries is not None
    with pytest.raises(BadInput, match=plan.canaries.commitment):
        plan_tokens(plan, base, copy, cpu, None)
    (tmp_path / "other.seed").write_bytes(bytes(range(32)))
    with pytest.raises(BadInput, match="not the seed of the plan's canaries"):
        plan_tokens(plan, base, copy, cpu, None, tmp_path / "other.seed")
    made = plan_tokens(plan, base, copy, cpu, None, canary_seed)
    assert made.digest == plan.tokens.digest
    with pytest.raises(BadInput, match="another set of canaries than the plan's"):
        check_tokens(made, plan.model_copy(update={"canaries": plan.canaries.model_copy(update={"count": 13})}))


def test_tokens_of_another_plan_are_refused(tmp_path: Path, plan_of: Plan, go: Any) -> None:
    document = loads(plan_of(), floats=True)
    for number, change in enumerate(
        ({"tokens": document["tokens"] | {"digest": sha256(b"others")}}, {"training": document["training"] | {"sequence_tokens": 64}})
    ):
        with pytest.raises(BadInput, match="not those of the plan"):
            go(tmp_path / f"run-{number}", dumps(document | change))
    counts = document["tokens"]["languages"]["spa"]
    forged = document["tokens"] | {"languages": document["tokens"]["languages"] | {"spa": counts | {"tokens": counts["tokens"] + 1}}}
    with pytest.raises(BadInput, match="of another number than the plan's"):
        go(tmp_path / "other", dumps(document | {"tokens": forged}))
    assert not list(tmp_path.glob("*/adapter"))


def test_damaged_tokens_stop_the_run_and_missing_ones_are_made(tmp_path: Path, plan_of: Plan, go: Any, build: Path) -> None:
    copy = Path(shutil.copytree(build, tmp_path / "build"))
    plan = plan_of(max_steps=1)
    labels: list[str] = []
    go(tmp_path / "made", plan, build=copy, progress=lambda label, done, total: labels.append(label))
    assert "tokenising" in labels
    [arrow] = (tmp_path / "build.tokens").glob("*/tokens.arrow")
    data = bytearray(arrow.read_bytes())
    data[len(data) // 2] ^= 1
    arrow.write_bytes(data)
    with pytest.raises(CoopError, match=r"not the file tokens\.json names"):
        go(tmp_path / "damaged", plan, build=copy)


def test_tokens_are_never_made_while_a_gpu_waits(plan_of: Plan, base: Path, build: Path, tmp_path: Path) -> None:
    copy = read_build(Path(shutil.copytree(build, tmp_path / "build")))
    plan = read_plan(plan_of())
    with pytest.raises(CoopError, match=r"(?s)no tokens at.*coop tokens make tiny"):
        plan_tokens(plan, base, copy, torch.device("cuda"), None)
    plan_tokens(plan, base, copy, torch.device("cpu"), None)
    assert plan_tokens(plan, base, copy, torch.device("cuda"), None).digest == plan.tokens.digest


def test_held_out_rows_are_never_trained_on(tmp_path: Path, plan_of: Plan, go: Any, build: Path) -> None:
    go(tmp_path / "run", plan_of(max_steps=None))
    ledger = lines(build / "ledger.jsonl")
    trained = {entry for line in lines(tmp_path / "run/trace.jsonl") for entry in line["records"]}
    assert trained == {line["record"] for line in ledger if line["split"] == "train"}
    assert any(line["split"] == "heldout" for line in ledger)
