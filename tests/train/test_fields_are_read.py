"""An option that is declared and never read does nothing and warns nobody (allenai/open-instruct issue 1823): every field of a config has a reader."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import train
from governance_hooks.plan import Mix
from governance_hooks.training import Dpo, Lora, Training
from tests.passing import Passing
from tests.train import test_dpo
from tests.train.conftest import COOP
from train.config import RunConfig
from train.run import train as run
from train.strategies.zero import Zero
from train.world import World

edited, dpo_plan = test_dpo.edited, test_dpo.dpo_plan
"""A build of edits, and plans that prefer them."""
ROOT = Path(train.__file__).parents[1]
Reads = dict[type[BaseModel], set[str]]


def executes(module: str, function: str) -> bool:
    """Tell whether a caller carries a plan out; those left out describe or check it."""
    if module == "governance_hooks.training":
        return function in ("output", "minimum_rating_gap")
    if module in ("train.config", "train.plan", "train.explain", "train.compatibility") or module.startswith("train.estimate"):
        return False
    return module.startswith(("train.", "data_pipeline.tokens.")) and not module.endswith("_words")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Which fields of each section are read while a plan is carried out, by whom it is their own."""
    found: Reads = {}
    for section in (Training, Lora, Dpo, Mix):
        names = found[section] = set[str]()

        def read(self: Any, name: str, names: set[str] = names) -> Any:
            caller = sys._getframe(1)
            if executes(caller.f_globals.get("__name__", ""), caller.f_code.co_name):
                names.add(name)
            return object.__getattribute__(self, name)

        monkeypatch.setattr(section, "__getattribute__", read, raising=False)
    return found


def test_every_field_about_the_training_is_read_by_a_run(
    tmp_path: Path, plan_of: Callable[..., bytes], dpo_plan: Callable[..., bytes], base: Path, build: Path, edited: Path, reads: Reads
) -> None:
    mix = Mix(strategy="temperature", max_epochs=2, temperature_tenths=20, budget_tokens=300)
    for number, (plan, rows) in enumerate(((plan_of(mix=mix, epochs=1, max_steps=1), build), (dpo_plan(max_steps=1), edited))):
        made = run(tmp_path / f"run-{number}", plan, base=base, build=rows, guard=Passing(), run_id="run", coop=COOP, proposal=None, threads=1)
        assert made["status"] == "completed"
    Zero(Training(strategy="zero2", offload=True), World())._config()
    for section, names in reads.items():
        unread = set(section.model_fields) - names - ({"strategy"} if section is Mix else set())  # a mix's strategy follows from the fields it has
        assert not unread, section.__name__


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model and all models in its fields."""
    yield model
    for field in model.model_fields.values():
        found = [field.annotation]
        while found:
            one = found.pop()
            if isinstance(one, type) and issubclass(one, BaseModel):
                yield from sections(one)
            found += get_args(one)


def test_every_field_of_a_config_has_a_reader_that_does_not_only_describe_it() -> None:
    # By name alone, so weaker than the run above; but it reaches what a run of training does not: limits, evaluation, leak test, shares.
    describing = {
        "train": {"config.py", "plan.py", "explain.py", "task_words.py", "task_config.py"},
        "governance_hooks": {"plan.py", "training.py", "tasks.py", "leak_policy.py", "attribution.py", "consent.py"},
    }
    read_names = {
        node.attr
        for room in ("train", "eval", "data_pipeline", "governance_hooks", "commonweights", "model_card", "slurm")
        for path in (ROOT / room).rglob("*.py")
        if path.name not in describing.get(room, ()) and path.parent.name != "estimate"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    unread = {(one.__name__, name) for one in sections(RunConfig) for name in one.model_fields if name not in read_names}
    assert not unread
