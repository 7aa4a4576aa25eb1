"""Coalitions trained in one process: the whole one is the run itself, order decides nothing, the base stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data_pipeline.guilds import assign
from data_pipeline.manifest import read_build
from governance_hooks.attribution import AttributionPolicy
from governance_hooks.errors import BadInput
from governance_hooks.plan import CANARY_LANGUAGE, Limits, Plan, read_plan
from governance_hooks.stake.guilds import Assignment
from governance_hooks.training import Training
from tests.train.conftest import CODE, COOP, TINY, USE
from train.coalitions import Coalitions
from train.config import RunConfig
from train.plan import describe, resolve


@pytest.fixture
def shared_plan(base: Path, build: Path) -> Callable[..., bytes]:
    """Return the maker of a plan that shares its credit."""

    def make(**changes: Any) -> bytes:
        policy = AttributionPolicy(**({"minimum_members": 1} | changes.pop("attribution", {})))
        training = Training(**(TINY | changes))
        config = RunConfig(name="tiny", use=USE, base=str(base), build=str(build), training=training, limits=Limits(max_starts=9), attribution=policy)
        return resolve(config, coop=COOP, base=base, build=build, code=CODE)

    return make


@pytest.fixture
def ready(base: Path, build: Path) -> Callable[[bytes], Coalitions]:
    def make(data: bytes) -> Coalitions:
        plan: Plan = read_plan(data)
        assert plan.attribution is not None
        made = assign(read_build(build), guilds=plan.attribution.guilds, minimum_members=1)
        return Coalitions(plan, made, base=base, build=read_build(build))

    return make


def test_coalitions_are_trained_on_no_canary_of_a_plan_that_has_some(base: Path, build: Path, tmp_path: Path) -> None:
    config = RunConfig(
        name="tiny",
        use=USE,
        base=str(base),
        build=str(build),
        training=Training(**({name: value for name, value in TINY.items() if name != "max_steps"} | {"sequence_tokens": 256})),
        limits=Limits(max_starts=9),
        attribution=AttributionPolicy(minimum_members=1),
        canaries=40,
    )
    seed = tmp_path / "seed"
    plan = read_plan(resolve(config, coop=COOP, base=base, build=build, code=CODE, canary_seed=seed))
    assert plan.tokens.languages[CANARY_LANGUAGE].rows > 0
    made = assign(read_build(build), guilds="language", minimum_members=1)
    trainer = Coalitions(plan, made, base=base, build=read_build(build), seed=seed)
    for coalition in (["eus"], ["eus", "spa"]):
        assert trainer.train(coalition, 0).steps > 0
    assert CANARY_LANGUAGE not in {answer.language for answer in trainer.held.answers}


def test_the_coalition_of_all_guilds_is_the_run_itself(shared_plan: Any, ready: Any, go: Any, tmp_path: Path) -> None:
    data = shared_plan()
    attribution = read_plan(data).attribution
    assert attribution is not None
    assert (sorted(attribution.players), attribution.collapsed) == (["eus", "spa"], 0)
    assert go(tmp_path / "run", data)["status"] == "completed"
    trainer = ready(data)
    trainer.train(["eus"], 0)  # whatever was trained before leaves nothing behind
    trainer.train(["eus", "spa"], 0)
    written = load_file(tmp_path / "run/adapter/adapter_model.safetensors")
    held = {name.replace(".default.", "."): parameter for name, parameter in trainer.model.trainable().items()}
    matched = 0
    for name, tensor in written.items():
        [found] = [parameter for key, parameter in held.items() if key.endswith(name.removeprefix("base_model."))]
        assert torch.equal(found.detach(), tensor), name
        matched += 1
    assert matched == len(held) > 0


def test_a_coalition_is_worth_the_same_whenever_it_is_trained_and_the_base_is_not_touched(shared_plan: Any, ready: Any) -> None:
    trainer = ready(shared_plan())
    frozen = {name: p.detach().clone() for name, p in trainer.model.lm.named_parameters() if not p.requires_grad}
    base, one, both = trainer.train([], 0), trainer.train(["spa"], 0), trainer.train(["spa", "eus"], 0)
    assert both.coalition == ["eus", "spa"]
    assert (trainer.train(["spa"], 0).nll, trainer.train([], 0).nll) == (one.nll, base.nll)
    assert all(torch.equal(frozen[name], p) for name, p in trainer.model.lm.named_parameters() if name in frozen)
    assert base.nll != one.nll != both.nll
    assert (base.steps, one.steps, both.steps) == (0, 8, 8)
    assert all(hits <= answer.tokens for hits, answer in zip(both.hits, trainer.held.answers, strict=True))


def test_another_seed_is_another_start_and_order(shared_plan: Any, ready: Any) -> None:
    trainer = ready(shared_plan(attribution={"seeds": [0, 5]}))
    first = trainer.train(["spa"], 0)
    other = trainer.train(["spa"], 5)
    assert first.nll != other.nll
    assert trainer.train(["spa"], 5).nll == other.nll
    assert trainer.train([], 5).nll == trainer.train([], 0).nll  # an adapter that was not trained changes nothing


def test_a_coalition_learns_its_own_language_best(shared_plan: Any, ready: Any) -> None:
    trainer = ready(shared_plan(epochs=20, max_steps=40))
    lines = {name: trainer.train(name.split("+") if name else [], 0) for name in ("", "eus", "spa")}

    def gain(name: str, language: str) -> int:
        places = [place for place, answer in enumerate(trainer.held.answers) if answer.language == language]
        return sum(lines[""].nll[place] - lines[name].nll[place] for place in places)

    languages = {answer.language for answer in trainer.held.answers}
    assert languages  # a tiny build may hold out one language alone
    for language in languages:
        other = next(name for name in ("eus", "spa") if name != language)
        assert gain(language, language) > gain(other, language)


def test_the_plan_says_in_words_what_members_approve(shared_plan: Any) -> None:
    words = describe(shared_plan())
    assert "the credit is shared among 2 guilds by what each of the 4 ways" in words
    assert "every language counting the same" in words


def test_one_guild_has_nothing_to_share_with(shared_plan: Any) -> None:
    with pytest.raises(BadInput, match=r"has 1 guild\(s\) to share among"):
        shared_plan(attribution={"minimum_members": 3})


def test_a_guild_without_a_row_is_refused(shared_plan: Any, base: Path, build: Path) -> None:
    plan = read_plan(shared_plan())
    made = assign(read_build(build), guilds="language", minimum_members=1)
    only = Assignment({record: guild for record, guild in made.guilds.items() if guild == "spa"}, {})
    with pytest.raises(BadInput, match="no row of this guild fits"):
        Coalitions(plan, only, base=base, build=read_build(build))
