from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from train.preview import token_sample

from governance_hooks.canonical import digest, loads
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput
from governance_hooks.plan import Code, Training, read_plan
from train.config import RunConfig
from train.plan import describe, resolve
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


def test_one_changed_byte_of_the_base_changes_the_plan(base: Path, build: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(base, tmp_path / "other"))
    (other / "chat_template.jinja").write_bytes((other / "chat_template.jinja").read_bytes() + b" ")
    assert resolve(config(), coop=COOP, base=base, build=build, code=CODE) != resolve(config(), coop=COOP, base=other, build=build, code=CODE)


def test_a_build_of_another_cooperative_or_for_another_use_is_refused(base: Path, build: Path) -> None:
    with pytest.raises(BadInput, match="another cooperative"):
        resolve(config(), coop=digest("others"), base=base, build=build, code=CODE)
    commercial = USE.model_copy(update={"purpose": "dpv:CommercialResearch"})
    with pytest.raises(BadInput, match="another use"):
        resolve(config(use=commercial), coop=COOP, base=base, build=build, code=CODE)


def test_members_read_what_is_trained_on_what_and_what_stops_it(base: Path, build: Path, plan_of: Callable[..., bytes]) -> None:
    text = describe(plan_of())
    for word in ("village/tiny", "Basque (eus)", "Spanish (spa)", "from 2 members", "Apache-2.0", "non-commercial research", "withdraws consent", "halts"):
        assert word in text
    assert "Size:" not in text


def test_the_estimate_is_what_the_run_does(base: Path, build: Path, plan_of: Callable[..., bytes], tmp_path: Path) -> None:
    class Passing:
        unreleasable = None

        def start(self) -> None: ...
        def stop(self, *, force: bool = False) -> None: ...
        def end(self, record: object) -> None: ...

    plan = plan_of(max_steps=None, epochs=1)
    record = train(tmp_path / "run", plan, base=base, build=build, guard=Passing(), run_id="run", coop=COOP, proposal=None, threads=1)  # type: ignore[arg-type]
    tokens = sum(counts["input"] for counts in record["tokens"].values())
    learned = sum(counts["supervised"] for counts in record["tokens"].values())
    assert f"Size: {record['steps']} steps over {tokens} tokens, of which {learned} are answers to learn" in describe(plan, base=base, build=build)


def test_an_engineer_sees_which_tokens_are_learned(base: Path, build: Path) -> None:
    sample = token_sample(base, build, Training(), record=None, colour=True)
    learned = "".join(sample.plain[span.start : span.end] for span in sample.spans if "green" in str(span.style))
    assert learned.startswith(("respuesta", "erantzuna"))
    assert learned.endswith("<|im_end|>")
    plain = token_sample(base, build, Training(), colour=False).plain
    assert "learn  '<|im_end|>'" in plain
    with pytest.raises(BadInput, match="no such training row"):
        token_sample(base, build, Training(), record="nobody")
