"""Measuring what weights give away: one pass says what decoding would; a run that reads canaries more often leaks more; own records are told to their member."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig

from eval.heldout import Answer, answer_losses
from eval.leak.again import measure_again
from eval.leak.canaries import canary_answers
from eval.leak.differential import Side, make_differential
from eval.leak.exposure import Exposed, aggregate, member_report, records_of_members
from eval.leak.record import make_leak_test
from eval.leak.surprise import surprises
from eval.report import evaluate
from governance_hooks.canaries import canaries, commitment
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.leak import judge, judge_leak
from governance_hooks.leak_differential import judge_differential
from governance_hooks.leak_policy import DifferentialPolicy, LeakPolicy
from governance_hooks.plan import EvaluationPolicy, Limits, read_plan
from governance_hooks.training import Training
from tests.passing import Passing
from tests.tiny import write_base as write_trainable
from tests.train.conftest import CODE, COOP, TINY, USE
from tests.train.conftest import write_build as write_rows
from train.config import RunConfig
from train.plan import resolve
from train.run import train

SEED, OTHER = bytes(range(32)), bytes(range(1, 33))
COUNT = 60


def seed_file(folder: Path, seed: bytes = SEED) -> Path:
    path = folder / f"{seed[0]}.seed"
    path.write_bytes(seed)
    return path


def with_canaries(run: Any, *, seed: bytes = SEED, policy: LeakPolicy | None = None) -> Any:
    """Put canaries, and a policy, into the plan of a run that is there."""
    path = run.run_dir / "plan.json"
    document = json.loads(path.read_bytes())
    included = sum(one.included for one in canaries(seed, COUNT))
    document["canaries"] = {"count": COUNT, "commitment": commitment(seed)}
    document["tokens"]["languages"]["zxx"] = {"rows": included, "tokens": 100 * included, "supervised": 60 * included, "too_long": 0}
    if policy is not None:
        document["evaluation"]["leak"] = policy.model_dump(mode="json")
    path.write_bytes(dumps(document))
    run.rerecord()
    return run


@pytest.fixture
def answers(own_run: Any) -> list[Answer]:
    return canary_answers(canaries(SEED, 12), AutoTokenizer.from_pretrained(own_run.base), longest=512)


def test_a_surprise_holds_the_loss_of_the_held_out_measurement_and_does_not_depend_on_the_batch(own_run: Any, answers: list[Answer]) -> None:
    model = own_run.model()
    losses = answer_losses(model, answers)
    together, alone = surprises(model, answers, tokens=4096), surprises(model, answers, tokens=1)
    for item, found in together.items():
        assert found.loss == pytest.approx(losses[item], rel=1e-5)
        assert found.loss == pytest.approx(alone[item].loss, rel=1e-5)
        assert found.min_k == pytest.approx(alone[item].min_k, rel=1e-4)
        assert (found.matched, found.tail) == (alone[item].matched, alone[item].tail)


def test_min_k_is_the_mean_of_the_least_expected_fifth_in_standard_deviations(own_run: Any, answers: list[Answer]) -> None:
    model, answer = own_run.model(), answers[0]
    with torch.inference_mode():
        logp_TV = model(input_ids=torch.tensor([answer.tokens])).logits[0, :-1].double().log_softmax(-1)
    scores = []
    for position, token in enumerate(answer.tokens[1:]):
        if answer.supervised[position + 1]:
            p_V, l_V = logp_TV[position].exp(), logp_TV[position]
            mean = float((p_V * l_V).sum())
            scores.append((float(l_V[token]) - mean) / float((p_V * (l_V - mean) ** 2).sum().sqrt()))
    least = sorted(scores)[: len(scores) // 5]
    assert surprises(model, [answer])[answer.item].min_k == pytest.approx(sum(least) / len(least), rel=1e-4)


def test_what_one_pass_calls_repeated_is_what_greedy_decoding_gives(own_run: Any) -> None:
    """An answer that the model itself wrote is repeated whole; with a token changed, up to there."""
    model, tokenizer = own_run.model(), AutoTokenizer.from_pretrained(own_run.base)
    prompt = [1, 70, 71, 72, 73]
    config = GenerationConfig(max_new_tokens=9, do_sample=False, pad_token_id=0, eos_token_id=258)
    written = model.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, 5, dtype=torch.long), generation_config=config)[0, 5:].tolist()
    assert len(written) == 9
    learned = (False,) * 5 + (True,) * 9
    harmed = [*written]
    harmed[4] = (harmed[4] + 1) % tokenizer.vocab_size
    whole, changed = (Answer(name, "zxx", name, (*prompt, *tokens), learned) for name, tokens in (("whole", written), ("changed", harmed)))
    found = surprises(model, [whole, changed])
    assert (found["whole"].matched, found["whole"].tail) == (9, 9)
    assert found["changed"].matched == 4
    assert found["changed"].tail <= 4


def test_a_record_is_judged_to_be_what_it_says_and_holds_no_text(own_run: Any, tmp_path: Path) -> None:
    run = with_canaries(own_run, policy=LeakPolicy(minimum_canaries=COUNT, maximum_epsilon=1.0, maximum_extraction=0.2))
    record = make_leak_test(run.run_dir, base=run.base, build=run.build, seed=seed_file(tmp_path), threads=1)
    leak, items = (run.run_dir / "privacy" / name for name in ("leak.json", "canaries.jsonl"))
    assert loads(leak.read_bytes(), floats=True) == loads(dumps(record), floats=True)
    judged = judge_leak(read_plan((run.run_dir / "plan.json").read_bytes()), leak.read_bytes(), items.read_bytes())
    assert judged["verdict"] == record["verdict"] == "PASS"  # this adapter is noise, and never saw a canary
    text = items.read_text()
    assert not any(one.targets in text or one.inputs in text for one in canaries(SEED, COUNT))
    first = items.read_bytes()
    make_leak_test(run.run_dir, base=run.base, build=run.build, seed=seed_file(tmp_path), threads=1)
    assert items.read_bytes() == first


def test_who_has_the_weights_finds_losses_that_were_not_measured(own_run: Any, tmp_path: Path) -> None:
    run = with_canaries(own_run, policy=LeakPolicy(minimum_canaries=COUNT, maximum_extraction=0.2))
    make_leak_test(run.run_dir, base=run.base, build=run.build, seed=seed_file(tmp_path), threads=1)
    found = measure_again(run.run_dir, base=run.base, threads=1)
    assert (found["canaries"], found["differing"], found["agrees"]) == (COUNT, [], True)
    assert found["largest_nats"] < 0.001
    # An operator hides a leak: all numbers follow from the lines, but the lines from nothing.
    leak, items = (run.run_dir / "privacy" / name for name in ("leak.json", "canaries.jsonl"))
    lines = [json.loads(line) for line in items.read_bytes().splitlines()]
    lines[7]["tuned"] = round(lines[7]["tuned"] + 1, 6)
    items.write_bytes(b"".join(dumps(line) + b"\n" for line in lines))
    plan = read_plan((run.run_dir / "plan.json").read_bytes())
    leak.write_bytes(dumps(json.loads(leak.read_bytes()) | {"items": sha256(items.read_bytes()), **judge(plan, SEED, lines)}))
    assert measure_again(run.run_dir, base=run.base, threads=1)["differing"] == [lines[7]["canary"]]
    other = tmp_path / "other"
    shutil.copytree(run.base, other)
    (other / "extra.txt").write_text("x")
    with pytest.raises(BadInput, match="is not the base"):
        measure_again(run.run_dir, base=other, threads=1)


def test_a_wrong_or_missing_seed_and_a_plan_without_canaries_are_refused(own_run: Any, tmp_path: Path) -> None:
    def go(seed: Path) -> None:
        make_leak_test(own_run.run_dir, base=own_run.base, build=own_run.build, seed=seed, threads=1)

    with pytest.raises(BadInput, match="the plan has no canaries"):
        go(seed_file(tmp_path))
    with_canaries(own_run)
    (tmp_path / "long.seed").write_bytes(SEED + b"x")
    for seed, why in ((tmp_path / "nowhere", "is not at"), (seed_file(tmp_path, OTHER), "not the seed"), (tmp_path / "long.seed", "not the seed")):
        with pytest.raises(BadInput, match=why):
            go(seed)
    assert not (own_run.run_dir / "privacy").exists()


def test_other_weights_than_the_run_wrote_are_not_measured(own_run: Any, tmp_path: Path) -> None:
    with_canaries(own_run)
    path = own_run.run_dir / "adapter/adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(BadInput, match="is not what the run wrote"):
        make_leak_test(own_run.run_dir, base=own_run.base, build=own_run.build, seed=seed_file(tmp_path), threads=1)


def test_two_releases_are_compared_on_the_canaries_of_the_one_before(own_run: Any, tmp_path: Path) -> None:
    before = shutil.copytree(own_run.run_dir, tmp_path / "before")
    earlier = with_canaries(type(own_run)(before, own_run.base, own_run.build))
    digest = sha256((before / "plan.json").read_bytes())
    policy = LeakPolicy(minimum_canaries=COUNT, differential=DifferentialPolicy(previous=digest, maximum_auc=0.9))
    now = with_canaries(own_run, seed=OTHER, policy=policy)
    sides = [Side(run.run_dir, run.base, run.build) for run in (now, earlier)]
    record = make_differential(sides[0], sides[1], seed=seed_file(tmp_path), threads=1)
    assert record["numbers"]["auc"]["value"] == 0.5  # the same weights: nothing can tell them apart
    assert record["members"]["left"] == record["members"]["joined"] == 0
    plan = (now.run_dir / "plan.json").read_bytes()
    data = (now.run_dir / "privacy/differential.json").read_bytes()
    judged = judge_differential(read_plan(plan), data, plan_digest=sha256(plan), weights=json.loads((now.run_dir / "run.json").read_bytes())["outputs"])
    assert (judged["verdict"], judged["passed"]) == ("PASS", True)
    with pytest.raises(BadInput, match="not the seed"):
        make_differential(sides[0], sides[1], seed=seed_file(tmp_path, OTHER), threads=1)


def trained(root: Path, epochs: int) -> dict[str, Any]:
    """Train all weights of a tiny model on rows and canaries for so many epochs, and return its leak test."""
    base, build, seed, out = root / "base", root / "build", seed_file(root), root / f"epochs-{epochs}"
    asked = {
        "method": "full", "lora": None, "max_steps": None, "epochs": epochs, "sequence_tokens": 256, "sequences_per_forward": 2, "learning_rate": 3e-3,
        "validate_every_steps": 1000, "checkpoint_every_steps": 1000,
    }  # fmt: skip
    config = RunConfig(
        name="tiny", use=USE, base=str(base), build=str(build), canaries=100, training=Training(**(TINY | asked)), limits=Limits(max_starts=9),
        evaluation=EvaluationPolicy(leak=LeakPolicy(minimum_canaries=100, maximum_epsilon=1.0)),
    )  # fmt: skip
    plan = resolve(config, coop=COOP, base=base, build=build, code=CODE, canary_seed=seed)
    train(out, plan, base=base, build=build, guard=Passing(), run_id=out.name, coop=COOP, proposal=None, threads=1, canary_seed=seed)
    return make_leak_test(out, base=base, build=build, seed=seed, threads=1)


def test_the_bound_rises_with_the_epochs_and_the_control_stays_at_zero(tmp_path: Path) -> None:
    write_trainable(tmp_path / "base")
    write_rows(tmp_path)
    once, often = trained(tmp_path, 1), trained(tmp_path, 24)
    for record in (once, often):
        assert record["numbers"]["control"]["base"]["lower_bound"] == 0
        assert record["numbers"]["extraction"]["others"]["count"] == 0
    assert once["numbers"]["epsilon"]["lower_bound"] == 0
    assert often["numbers"]["epsilon"]["lower_bound"] > 1
    assert often["numbers"]["exposure"]["included"] > 2 * often["numbers"]["exposure"]["others"]
    assert (once["criteria"]["epsilon"], often["criteria"]["epsilon"], often["passed"]) == ("PASS", "FAIL", False)


@pytest.fixture
def evaluated(own_run: Any) -> Any:
    """A run with results and a trace that names every training row."""
    evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)
    ledger = [json.loads(line) for line in (own_run.build / "ledger.jsonl").read_bytes().splitlines()]
    records = sorted(row["record"] for row in ledger if row["split"] == "train")
    (own_run.run_dir / "trace.jsonl").write_bytes(dumps({"step": 1, "records": records}) + b"\n")
    return own_run, {row["record"]: row for row in ledger}


def test_a_members_report_covers_their_trained_records_and_no_others(evaluated: Any) -> None:
    run, ledger = evaluated
    everybody = records_of_members(run.run_dir, base=run.base, build=run.build, threads=1)
    member = sorted(everybody)[0]
    [(only, own)] = records_of_members(run.run_dir, base=run.base, build=run.build, members=[member], threads=1).items()
    assert (only, own) == (member, everybody[member])
    assert {one.record for one in own} == {record for record, row in ledger.items() if row["split"] == "train" and member in row["authors"]}
    assert [one.percentile for one in own] == sorted((one.percentile for one in own), reverse=True)
    assert all(0 <= one.percentile <= 100 for one in own)
    report = member_report("run-1", "plan", member, own)
    assert report["worst_decile"] == [one.record for one in own[: -(-len(own) // 10)]]


def test_only_what_the_trace_names_is_measured(evaluated: Any) -> None:
    run, ledger = evaluated
    one = next(record for record, row in ledger.items() if row["split"] == "train")
    (run.run_dir / "trace.jsonl").write_bytes(dumps({"step": 1, "records": [one]}) + b"\n")
    found = records_of_members(run.run_dir, base=run.base, build=run.build, threads=1)
    assert [exposed.record for own in found.values() for exposed in own] == [one]


def test_without_an_evaluation_or_a_trace_nothing_is_told(own_run: Any) -> None:
    with pytest.raises(BadInput, match="not evaluated yet"):
        records_of_members(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)
    evaluate(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)
    with pytest.raises(BadInput, match="which texts were trained on"):
        records_of_members(own_run.run_dir, base=own_run.base, build=own_run.build, threads=1)


def test_figures_about_fewer_than_five_members_are_withheld_from_all_totals_too() -> None:
    def own(member: int, language: str, percentile: float) -> Exposed:
        return Exposed(f"{language}-{member}", language, percentile, 0.1, "all")

    found = {f"m-{n}": [own(n, "spa", 50.0), *([own(n, "kin", 99.0)] if n < 4 else [])] for n in range(6)}
    public = aggregate(found)
    assert public["withheld"] == ["kin"]
    assert public["languages"] == {"spa": {"members": 6, "measured": 6, "mean_percentile": 50.0, "above_90": 0}}
    assert public["overall"] == {"members": 6, "measured": 6, "mean_percentile": 50.0, "above_90": 0}
    assert aggregate({"m-1": [own(1, "spa", 99.0)]}) == {"languages": {}, "withheld": ["spa"], "overall": None}
    shared = aggregate({f"m-{n}": [own(0, "spa", 70.0)] for n in range(5)})
    assert shared["languages"]["spa"] == {"members": 5, "measured": 1, "mean_percentile": 70.0, "above_90": 0}


def test_exposure_finds_a_record_the_weights_know_better_than_its_like() -> None:
    from eval.leak.exposure import _exposed, _Heldout

    # Held-out answers: tuned loss about half of the base loss, some above, some below.
    measure = _Heldout([(n / 10, n / 20 + (0.1 if n % 2 else -0.1)) for n in range(40)])
    heldout = {"spa": measure, "all": measure}
    answer = Answer("r", "spa", "m", (1, 2), (False, True))
    assert _exposed(answer, 2.0, 0.5, heldout).percentile == 100
    assert _exposed(answer, 2.0, 1.5, heldout).percentile == 0
    assert _exposed(answer, 2.0, 1.0, heldout).percentile == 50
    assert _exposed(answer, 2.0, 0.5, heldout).below == pytest.approx(0.5, abs=0.02)
    assert _exposed(Answer("r", "kin", "m", (1, 2), (False, True)), 2.0, 0.5, heldout).compared == "all"
    flat = _Heldout([(1.0, n / 10) for n in range(20)])
    assert _exposed(answer, 1.0, 0.0, {"spa": flat, "all": flat}).percentile == 97.5
