from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data_pipeline.manifest import read_build
from data_pipeline.tokens.make import make_tokens
from governance_hooks.canaries import canaries, commitment
from governance_hooks.canonical import digest, dumps, loads
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput
from governance_hooks.plan import Canaries, Code, EvaluationPolicy, Mix, read_plan
from governance_hooks.training import Training
from tests.passing import Passing
from tests.train.conftest import write_build
from train.config import RunConfig
from train.plan import describe, resolve, size_of
from train.run import train

COOP = digest("the cooperative of the tests")
CODE = Code(digest=digest("code"), packages={})
USE = Use(
    purpose="dpv:NonCommercialResearch",
    processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
    recipients=["coop:PublicViaReleasedWeights"],
    licence="Apache-2.0",
)


def config(**changes: object) -> RunConfig:
    return RunConfig.model_validate({"name": "tiny", "use": USE, "base": "x", "build": "y"} | changes)


def test_a_plan_is_canonical_and_names_every_input_by_digest(base: Path, build: Path) -> None:
    data = resolve(config(), coop=COOP, base=base, build=build, code=CODE)
    assert data == resolve(config(), coop=COOP, base=base, build=build, code=CODE)
    plan = read_plan(data)
    assert loads(data, floats=True)["training"] == Training().model_dump()
    assert plan.build.records == sum(counts["train"] + counts["heldout"] for counts in plan.build.languages.values())
    assert plan.base.name == "village/tiny"


def test_a_new_plan_says_interval_t_and_an_old_one_keeps_its_bytes_and_its_bootstrap(base: Path, build: Path) -> None:
    made = loads(resolve(config(), coop=COOP, base=base, build=build, code=CODE), floats=True)
    assert made["evaluation"]["interval"] == "t"
    assert read_plan(dumps(made)).evaluation.interval == "t"
    old = made | {"evaluation": {name: value for name, value in made["evaluation"].items() if name != "interval"}}
    read = read_plan(dumps(old))
    assert read.evaluation.interval == "bootstrap"
    assert dumps(read.model_dump(mode="json")) == dumps(old)
    # Members of cooperatives of then voted on this digest, and their reports hold this policy.
    assert digest(EvaluationPolicy().model_dump(mode="json")) == "sha256:256e226841e5e9b25f9f247dd88715634443b8d73a339919b45c86ad72df7bab"


def test_one_changed_byte_of_the_base_changes_the_plan(base: Path, build: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(base, tmp_path / "other"))
    (other / "chat_template.jinja").write_bytes((other / "chat_template.jinja").read_bytes() + b"{# another #}")
    assert resolve(config(), coop=COOP, base=base, build=build, code=CODE) != resolve(config(), coop=COOP, base=other, build=build, code=CODE)


def test_a_build_of_another_cooperative_or_for_another_use_is_refused(base: Path, build: Path) -> None:
    with pytest.raises(BadInput, match="another cooperative"):
        resolve(config(), coop=digest("others"), base=base, build=build, code=CODE)
    commercial = USE.model_copy(update={"purpose": "dpv:CommercialResearch"})
    with pytest.raises(BadInput, match="another use"):
        resolve(config(use=commercial), coop=COOP, base=base, build=build, code=CODE)


def test_a_plan_names_its_tokens_by_digest_and_counts(base: Path, build: Path) -> None:
    made = make_tokens(read_build(build), base, sequence_tokens=512)
    plan = read_plan(resolve(config(), coop=COOP, base=base, build=build, code=CODE))
    assert (plan.tokens.digest, plan.tokens.languages) == (made.digest, made.train_counts)
    document = plan.model_dump()
    document["tokens"]["languages"]["spa"]["rows"] += 1
    with pytest.raises(BadInput, match="not the training rows of build"):
        read_plan(dumps(document))


def test_a_plan_says_how_many_canaries_there_are_and_commits_to_their_seed(base: Path, build: Path, tmp_path: Path) -> None:
    seed = tmp_path / "private/tiny.seed"
    data = resolve(config(canaries=30), coop=COOP, base=base, build=build, code=CODE, canary_seed=seed)
    plan = read_plan(data)
    assert plan.canaries == Canaries(count=30, commitment=commitment(seed.read_bytes()))
    assert plan.tokens.languages["zxx"].rows == sum(one.included for one in canaries(seed.read_bytes(), 30))
    assert data == resolve(config(canaries=30), coop=COOP, base=base, build=build, code=CODE, canary_seed=seed)
    text = describe(data, size=size_of(plan, base=base, build=build))  # the tokens are there, so nobody needs the seed
    assert "30 lines of random syllables that no member wrote" in text
    assert plan.canaries is not None
    assert plan.canaries.commitment in text
    assert "zxx" not in text
    seed.unlink()
    resolve(config(canaries=30), coop=COOP, base=base, build=build, code=CODE, canary_seed=seed)
    assert read_plan(resolve(config(), coop=COOP, base=base, build=build, code=CODE)).canaries is None


def test_a_run_that_may_end_before_its_canaries_are_read_is_not_planned(base: Path, build: Path, tmp_path: Path) -> None:
    short = config(canaries=30, training=Training(max_steps=5))
    with pytest.raises(BadInput, match="before a canary is read"):
        resolve(short, coop=COOP, base=base, build=build, code=CODE, canary_seed=tmp_path / "seed")
    with pytest.raises(BadInput, match="need a file for their secret seed"):
        resolve(config(canaries=30), coop=COOP, base=base, build=build, code=CODE)
    with pytest.raises(ValidationError):
        config(canaries=-1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"canaries": None}, "not canaries of this plan"),
        ({"canaries": {"count": 1}}, "not canaries of this plan"),
        ({"canaries": {"count": 0}}, "greater than or equal to 1"),
        ({"canaries": {"seed": "00"}}, "unknown field canaries.seed"),
        ({"training": {"max_steps": 5}}, "before a canary is read"),
        ({"tokens": {"languages": {"zxx": {"rows": 31}}}}, "not canaries of this plan"),
        ({"tokens": {"languages": {"zxx": {"too_long": 1}}}}, "not canaries of this plan"),
        ({"build": {"languages": {"zxx": {"train": 1, "heldout": 0, "members": 1}}}}, "not the training rows of build"),
    ],
)
def test_the_gate_refuses_a_plan_whose_canaries_are_not_those_it_states(base: Path, build: Path, tmp_path: Path, change: dict[str, Any], why: str) -> None:
    def merged(old: Any, new: Any) -> Any:
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return new
        return old | {key: merged(old.get(key), value) for key, value in new.items()}

    document = loads(resolve(config(canaries=30), coop=COOP, base=base, build=build, code=CODE, canary_seed=tmp_path / "seed"), floats=True)
    read_plan(dumps(document))
    with pytest.raises(BadInput, match=why):
        read_plan(dumps(merged(document, change)))


def test_a_budget_beside_epochs_is_refused(base: Path, build: Path) -> None:
    mix = Mix(strategy="unimax", max_epochs=2, budget_tokens=100)
    resolve(config(mix=mix), coop=COOP, base=base, build=build, code=CODE)
    with pytest.raises(ValidationError, match=r"takes the place of training\.epochs"):
        resolve(config(mix=mix, training=Training(epochs=2)), coop=COOP, base=base, build=build, code=CODE)


def test_a_plan_with_more_rows_left_out_than_it_votes_cannot_be_made(base: Path, tmp_path: Path) -> None:
    long = write_build(tmp_path, rows=4, long_rows=4)
    with pytest.raises(BadInput, match="training rows in 'spa' are longer"):
        resolve(config(training=Training(sequence_tokens=64)), coop=COOP, base=base, build=long, code=CODE)
    resolve(config(training=Training(sequence_tokens=64, max_dropped_fraction=0.9)), coop=COOP, base=base, build=long, code=CODE)


def test_members_see_the_mix_as_a_table(base: Path, build: Path) -> None:
    plan = resolve(config(mix=Mix(strategy="temperature", max_epochs=3, temperature_tenths=33)), coop=COOP, base=base, build=build, code=CODE)
    text = describe(plan)
    for word in ("a temperature of 3.3, no language over 3 times", "in mix", "epochs"):
        assert word in text
    assert "every row once an epoch" in describe(resolve(config(), coop=COOP, base=base, build=build, code=CODE))


def test_members_read_what_is_trained_on_what_and_what_stops_it(base: Path, build: Path, plan_of: Callable[..., bytes]) -> None:
    text = describe(plan_of())
    for word in ("village/tiny", "Basque (eus)", "Spanish (spa)", "from 2 members", "Apache-2.0", "non-commercial research", "withdraws consent", "halt it"):
        assert word in text
    assert "Size:" not in text


def test_the_estimate_is_what_the_run_does(base: Path, build: Path, plan_of: Callable[..., bytes], tmp_path: Path) -> None:
    plan = plan_of(max_steps=None, epochs=1)
    record = train(tmp_path / "run", plan, base=base, build=build, guard=Passing(), run_id="run", coop=COOP, proposal=None, threads=1)  # type: ignore[arg-type]
    tokens = sum(counts["input"] for counts in record["tokens"].values())
    learned = sum(counts["supervised"] for counts in record["tokens"].values())
    assert f"Size: {record['steps']} steps over {tokens} tokens, of which {learned} are answers to learn" in describe(
        plan, size=size_of(read_plan(plan), base=base, build=build)
    )
