"""Preference tuning: the loss is the paper's, does not depend on how pairs are spread, moves the model as it should, and resumes bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from data_pipeline.build import build as make_build
from data_pipeline.manifest import read_build
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from data_pipeline.tokens.make import make_tokens
from data_pipeline.tokens.pairs import Pairs
from data_pipeline.tokens.sample import Pair, Sample
from governance_hooks.canonical import digest, loads
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import Limits, Plan, read_plan
from governance_hooks.training import Lora, Training
from tests.passing import Passing
from tests.train import test_strategies
from tests.train.conftest import CODE, COOP, TINY, USE
from tests.train.interrupted import exact, interrupt_at, lines
from tests.train.test_golden import check_golden
from train.config import RunConfig
from train.data import StepBatch
from train.layout import Forwarded, batch_units
from train.model import AdaptedModel, load_model
from train.objective import Dpo, Sft, likelihoods
from train.plan import describe, resolve, size_of
from train.reference import pair_likelihoods
from train.run import train
from train.world import World

PAIRS = 32
together = test_strategies.together
"""The fixture that runs several processes; here over the edits."""
NO_DROPOUT = {"lora": Lora(rank=4, alpha=8)}


@pytest.fixture(scope="session")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real build of short answers and their edits, with rows that are in no pair."""
    root = tmp_path_factory.mktemp("edits")
    old, new = [], []
    for language, word, wrong, right in (("spa", "pregunta", "quizás algo", "respuesta"), ("eus", "galdera", "beharbada", "erantzuna")):
        for number in range(PAIRS):
            prompt = f"{word} {number}"
            old.append(
                Draft(inputs=prompt, targets=f"{wrong} {number * 7 % 13}", language=language, licence="CC-BY-4.0", record_id=f"{language}-{number:03d}-a")
            )
            new.append(
                Draft(inputs=prompt, targets=f"{right} {number * 7 % 13}", language=language, licence="CC-BY-4.0", record_id=f"{language}-{number:03d}-b", parents=(f"{language}-{number:03d}-a",))
            )  # fmt: skip
        old.append(Draft(inputs=f"{word}?", targets=f"{right} sola", language=language, licence="CC-BY-4.0", record_id=f"{language}-alone"))
    with ContributionStore(root / "contributions.sqlite") as store:
        for member, part in (("m-one", old), ("m-two", new)):
            store.seal(store.add_batch(member, part).batch, digest(member))
        make_build(
            store, root / "build", coop=COOP, log_size=1, log_root=digest("log"), at="2026-11-22T13:00:00Z", use=USE, heldout_permille=250,
            consent_for=lambda member, language, batch: digest(["consent", member]),
        )  # fmt: skip
    return root / "build"


@pytest.fixture
def build(edited: Path) -> Path:
    """What processes of their own train on."""
    return edited


@pytest.fixture
def dpo_plan(base: Path, edited: Path) -> Callable[..., bytes]:
    """Return a function that makes a plan of objective dpo over the edits."""

    def make(*, canaries: int = 0, devices: int = 1, **training: Any) -> bytes:
        settings = TINY | NO_DROPOUT | {"objective": "dpo", "max_steps": 8, "checkpoint_every_steps": 100} | training
        config = RunConfig(
            name="tiny",
            use=USE,
            base=str(base),
            build=str(edited),
            training=Training(**settings),
            limits=Limits(max_starts=9, max_devices=devices),
            canaries=canaries,
        )
        return resolve(config, coop=COOP, base=base, build=edited, code=CODE)

    return make


@pytest.fixture
def go(base: Path, edited: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs (or resumes) a plan over the edits."""

    def start(folder: Path, plan: bytes, **changes: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {"base": base, "build": edited, "guard": Passing(), "run_id": folder.name, "coop": COOP, "proposal": None, "threads": 1}
        return train(folder, plan, **(arguments | changes))

    return start


def made_pairs() -> list[Pair]:
    chance = torch.Generator().manual_seed(3)

    def sample(name: str, length: int, start: int) -> Sample:
        ids = torch.randint(3, 280, (length,), generator=chance).numpy().astype(np.uint16)
        return Sample(name, "spa", "train", ids, start, length)

    return [Pair(sample(f"c{n}", 8 + 3 * n, 3 + n), sample(f"r{n}", 20 - n, 4)) for n in range(6)]


def moved(base: Path, training: Training) -> AdaptedModel:
    """A model that is no longer the one it started from."""
    model = load_model(base, training)
    torch.manual_seed(5)
    for name, parameter in model.trainable().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def layout(groups: list[list[list[int]]], pairs: list[Pair]) -> list[Forwarded]:
    return [batch_units([[(number, pairs[number]) for number in sequence] for sequence in group], 2) for group in groups]


TRAINING = Training(objective="dpo", precision="32-true", lora=Lora(rank=4, alpha=8))
REFERENCE = torch.tensor([[-40.0 - n, -60.0 + 2 * n] for n in range(6)], dtype=torch.float64)
ALONE = [[[number]] for number in range(6)]


def test_the_loss_is_the_one_of_the_paper_by_the_full_logits_of_each_answer_alone(base: Path) -> None:
    model, pairs, beta = moved(base, TRAINING), made_pairs(), 0.3

    def log_likelihood(sample: Sample) -> torch.Tensor:
        ids = torch.from_numpy(sample.ids.astype(np.int64))[None]
        logits = model.peft(input_ids=ids, use_cache=False).logits[0, :-1].double().log_softmax(-1)
        each = logits.gather(1, ids[0, 1:, None])[:, 0]
        return each[sample.start - 1 : sample.stop - 1].sum()

    expected, accuracy = [], []
    for number, pair in enumerate(pairs):
        # TRL 1.16, DPOTrainer, loss_type "sigmoid", reverse KL: -logsigmoid(beta * ((chosen - reference chosen) - (rejected - reference rejected))).
        chosen, rejected = (log_likelihood(sample) for sample in pair.samples)
        reference_chosen, reference_rejected = REFERENCE[number]
        delta_score = (chosen - reference_chosen) - (rejected - reference_rejected)
        expected.append(-functional.logsigmoid(beta * delta_score))
        accuracy.append(float(beta * (chosen - reference_chosen) > beta * (rejected - reference_rejected)))

    objective = Dpo(beta, REFERENCE)
    [forwarded] = layout([[[0, 1], [2], [3, 4, 5]]], pairs)
    nll = model(forwarded.ids_BT, forwarded.positions_BT, forwarded.targets_BT)
    assert float(objective.total(nll, forwarded).detach()) == pytest.approx(float(sum(expected)), rel=1e-5)
    told = objective.measures(nll, forwarded)
    assert told["reward_accuracy"] == sum(accuracy)
    assert 0 < sum(accuracy) < 6


@pytest.mark.parametrize("groups", [[[[0, 1, 2, 3, 4, 5]]], [[[5, 0], [3]], [[1], [4, 2]]], [[[2, 1, 0], [5]], [[4], [3]]], [[[0], [1], [2], [3], [4]], [[5]]]])
def test_loss_and_gradient_do_not_depend_on_how_pairs_are_spread(base: Path, groups: list[list[list[int]]]) -> None:
    def step(groups: list[list[list[int]]]) -> tuple[float, dict[str, torch.Tensor]]:
        model, objective, total = moved(base, TRAINING).double(), Dpo(0.3, REFERENCE), 0.0
        batch = StepBatch(1, 0, layout(groups, made_pairs()), [], {}, pairs=6)
        for forwarded in batch.passes:
            part = objective.total(model(forwarded.ids_BT, forwarded.positions_BT, forwarded.targets_BT), forwarded)
            total += float(part.detach())
            (part / objective.divisor(batch)).backward()
        return total / 6, {name: parameter.grad for name, parameter in model.trainable().items() if parameter.grad is not None}

    loss, gradients = step(groups)
    expected, expected_gradients = step(ALONE)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert gradients.keys() == expected_gradients.keys() != set()
    for name, gradient in gradients.items():
        scale = expected_gradients[name].abs().max()
        assert scale > 0
        assert float((gradient - expected_gradients[name]).abs().max() / scale) <= 1e-6


def test_a_model_that_has_not_moved_has_the_loss_log_2_and_no_margin(base: Path) -> None:
    model, pairs = load_model(base, TRAINING), made_pairs()

    class Listed(Pairs):
        def __init__(self) -> None:
            self.lengths = np.array([sum(len(sample.ids) for sample in pair.samples) for pair in pairs], np.int32)

        def __len__(self) -> int:
            return len(pairs)

        def __getitem__(self, number: Any) -> Any:
            return pairs[number]

    reference = pair_likelihoods(model, Listed(), range(1, 6), TRAINING, pad=2, world=World())
    assert reference[0].isnan().all()
    objective = Dpo(0.1, reference)
    [forwarded] = layout([[[1], [2, 3], [4, 5]]], pairs)
    nll = model(forwarded.ids_BT, forwarded.positions_BT, forwarded.targets_BT)
    assert float(objective.total(nll, forwarded)) / 5 == pytest.approx(math.log(2), abs=1e-6)
    assert objective.measures(nll, forwarded)["reward_margin"] == pytest.approx(0, abs=1e-4)
    # A pair that was never measured cannot be trained on: its loss is not a number, and the module stops on that.
    [unmeasured] = layout([[[0]]], pairs)
    assert math.isnan(float(objective.total(model(unmeasured.ids_BT, unmeasured.positions_BT, unmeasured.targets_BT), unmeasured)))


def test_a_pass_without_pairs_adds_nothing_and_one_of_other_samples_is_refused(base: Path) -> None:
    model, objective = moved(base, TRAINING), Dpo(0.3, REFERENCE)
    empty = batch_units([[]], 2)
    part = objective.total(model(empty.ids_BT, empty.positions_BT, empty.targets_BT), empty)
    assert float(part.detach()) == 0
    part.backward()
    assert objective.measures(torch.zeros(0), empty) == {"reward_margin": 0, "reward_accuracy": 0}
    single = batch_units([[(0, made_pairs()[0].chosen)]], 2)
    with pytest.raises(CoopError, match="does not consist of pairs"):
        likelihoods(model(single.ids_BT, single.positions_BT, single.targets_BT), single)
    assert Sft().measures(torch.zeros(3), single) == {}


def steps(folder: Path) -> list[dict[str, Any]]:
    return [line for line in lines(folder / "metrics.jsonl") if "loss" in line]


def preferences(folder: Path) -> list[dict[str, dict[str, float]]]:
    return [line["preferences"] for line in lines(folder / "metrics.jsonl") if "preferences" in line]


def test_the_loss_falls_the_order_becomes_right_and_held_out_pairs_agree(tmp_path: Path, dpo_plan: Callable[..., bytes], go: Any) -> None:
    record = go(tmp_path / "run", dpo_plan(max_steps=None, epochs=5, validation_rows_per_language=8))
    assert record["status"] == "completed"
    made = steps(tmp_path / "run")
    assert made[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert made[-1]["loss"] < 0.3
    assert made[-1]["reward_accuracy"] == 1
    assert made[-1]["reward_margin"] > 1
    before, after = preferences(tmp_path / "run")[0], preferences(tmp_path / "run")[-1]
    for language in ("eus", "spa"):
        assert before[language]["loss"] == pytest.approx(math.log(2), abs=1e-5)
        assert before[language]["pairs"] == after[language]["pairs"] > 1
        assert after[language]["loss"] < 0.5
        assert after[language]["reward_accuracy"] > before[language]["reward_accuracy"]
    assert all(sorted(line["validation"]) == ["eus", "spa"] for line in lines(tmp_path / "run/metrics.jsonl") if "validation" in line)


def test_losses_and_gradient_norms_of_pairs_are_those_kept_in_git(tmp_path: Path, dpo_plan: Callable[..., bytes], go: Any) -> None:
    go(tmp_path / "run", dpo_plan())
    check_golden("dpo", tmp_path / "run")


def test_both_records_of_a_pair_are_traced_as_trained_on_and_rows_in_no_pair_are_not(
    tmp_path: Path, dpo_plan: Callable[..., bytes], go: Any, edited: Path
) -> None:
    record = go(tmp_path / "run", dpo_plan(max_steps=None, epochs=1))
    ledger = {line["record"] for line in lines(edited / "ledger.jsonl") if line["split"] == "train"}
    traced = {one for line in lines(tmp_path / "run/trace.jsonl") for one in line["records"]}
    assert traced == {one for one in ledger if not one.endswith("alone")}
    assert {one[:-1] + "a" for one in traced} | {one[:-1] + "b" for one in traced} == traced
    assert record["trained_records"] == len(traced)


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_a_stopped_and_resumed_preference_run_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, dpo_plan: Callable[..., bytes], go: Any, precision: str
) -> None:
    plan = dpo_plan(precision=precision)
    assert go(tmp_path / "straight", plan)["status"] == "completed"
    assert go(tmp_path / "parts", plan, progress=interrupt_at(3))["steps"] == 4
    reference = (tmp_path / "parts/reference.safetensors").read_bytes()
    assert go(tmp_path / "parts", plan)["starts"] == 2
    assert (tmp_path / "parts/reference.safetensors").read_bytes() == reference == (tmp_path / "straight/reference.safetensors").read_bytes()
    assert exact(tmp_path / "parts") == exact(tmp_path / "straight")


@pytest.mark.parametrize("damage", ["missing", "torn", "flipped", "another plan's"])
def test_a_reference_that_is_not_whole_or_not_of_this_run_is_measured_again_on_the_model_as_it_started(
    tmp_path: Path, dpo_plan: Callable[..., bytes], go: Any, damage: str
) -> None:
    plan = dpo_plan()
    go(tmp_path / "straight", plan)
    go(tmp_path / "parts", plan, progress=interrupt_at(3))
    path = tmp_path / "parts/reference.safetensors"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(whole[:-9])
    elif damage == "flipped":
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    else:
        go(tmp_path / "other", dpo_plan(seed=1))
        path.write_bytes((tmp_path / "other/reference.safetensors").read_bytes())
    go(tmp_path / "parts", plan)
    assert path.read_bytes() == whole
    assert exact(tmp_path / "parts") == exact(tmp_path / "straight")


def test_members_read_what_is_preferred_how_often_and_what_is_not_used(dpo_plan: Callable[..., bytes], base: Path, edited: Path) -> None:
    data = dpo_plan()
    plan = read_plan(data)
    assert plan.tokens.pairs is not None
    pairs = sum(count.edits for count in plan.tokens.pairs.values())
    words = describe(data, size=size_of(read_plan(data), base=base, build=edited))
    assert f"An edit is preferred over what it replaced: {pairs} pairs." in words
    assert f"Rows that are in no pair are not trained on: {sum(count.unpaired for count in plan.tokens.pairs.values())}." in words
    assert f"Spanish (spa): {plan.tokens.pairs['spa'].edits} pairs by edits, 0 by ratings" in words
    assert "every pair once an epoch" in words
    assert plan.tokens.digest == make_tokens(read_build(edited), base, sequence_tokens=128, minimum_rating_gap=1.0).digest


def test_a_plan_whose_pairs_are_not_of_its_rows_is_refused(dpo_plan: Callable[..., bytes]) -> None:
    document = loads(dpo_plan(), floats=True)
    Plan.model_validate(document)

    def changed(path: str, value: Any) -> dict[str, Any]:
        copy: dict[str, Any] = loads(dpo_plan(), floats=True)
        place = copy
        *parents, last = path.split(".")
        for name in parents:
            place = place[name]
        place[last] = value(place[last]) if callable(value) else value
        return copy

    for path, value, why in (
        ("tokens.pairs", None, "have their section pairs"),
        ("tokens.pairs.spa.edits", lambda edits: edits + 1, "are not those of tokens.pairs"),
        ("build.languages.spa.train", lambda rows: rows + 5, "leave out fewer rows"),
        ("tokens.pairs.spa.unpaired", 10_000, "are more"),
        ("training.objective", "sft", "section dpo"),
        ("canaries", {"count": 4, "commitment": digest("seed")}, "no better or worse"),
    ):
        with pytest.raises(ValidationError, match=why):
            Plan.model_validate(changed(path, value))


def test_dropout_and_canaries_are_refused(dpo_plan: Callable[..., bytes], tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="dropout would be in the difference"):
        Training(objective="dpo", lora=Lora(dropout=0.1))
    with pytest.raises(BadInput, match="a canary has no better or worse answer"):
        dpo_plan(canaries=4, max_steps=None)


def test_tokens_of_another_rating_gap_are_another_plan(dpo_plan: Callable[..., bytes]) -> None:
    one, other = (read_plan(dpo_plan(dpo={"beta": 0.1, "minimum_rating_gap": gap})) for gap in (1.0, 2.0))
    assert one.tokens.digest != other.tokens.digest
    assert read_plan(dpo_plan(dpo={"beta": 0.5, "minimum_rating_gap": 1.0})).tokens.digest == one.tokens.digest


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_every_method_learns_the_preference_from_the_model_it_started_from(tmp_path: Path, dpo_plan: Callable[..., bytes], go: Any, method: str) -> None:
    settings = {"lora": None, "learning_rate": 1e-3} if method == "full" else {}
    record = go(tmp_path / "run", dpo_plan(method=method, **settings))
    assert record["status"] == "completed"
    made = steps(tmp_path / "run")
    assert made[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert made[-1]["loss"] < 0.6
    assert made[-1]["reward_accuracy"] > 0.8


@pytest.mark.parametrize("strategy", test_strategies.STRATEGIES)
def test_two_processes_prefer_what_one_prefers(tmp_path: Path, dpo_plan: Callable[..., bytes], go: Any, together: Any, strategy: str) -> None:
    # Three sequences a step over two processes: one of them also gets passes without a pair.
    record, said = together(tmp_path / "two", dpo_plan(strategy=strategy, sequences_per_step=3, devices=2))
    assert record is not None, said
    assert (record["status"], record["processes"]) == ("completed", 2)
    go(tmp_path / "one", dpo_plan(sequences_per_step=3))
    for two, one in zip(steps(tmp_path / "two"), steps(tmp_path / "one"), strict=True):
        for name in ("loss", "reward_margin", "reward_accuracy", "grad_norm"):
            assert two[name] == pytest.approx(one[name], rel=1e-5, abs=1e-6)
    for two_held, one_held in zip(preferences(tmp_path / "two"), preferences(tmp_path / "one"), strict=True):
        for language, told in one_held.items():
            assert two_held[language] == pytest.approx(told, rel=1e-5, abs=1e-6)
    assert (tmp_path / "two/trace.jsonl").read_bytes() == (tmp_path / "one/trace.jsonl").read_bytes()
