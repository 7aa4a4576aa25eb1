from __future__ import annotations

from typing import Any

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan, read_plan
from governance_hooks.training import Training
from model_card.conformity import check_adapter_config

CONFIG: dict[str, Any] = {"base_model_name_or_path": "example/base", "peft_type": "LORA", "r": 16, "lora_alpha": 32, "lora_dropout": 0}


@pytest.fixture
def plan(finished: Any) -> Plan:
    return read_plan((finished.run_dir / "plan.json").read_bytes())


def of_method(plan: Plan, method: str) -> Plan:
    return plan.model_copy(update={"training": Training(method=method, precision="bf16-true")})


@pytest.mark.parametrize(("method", "settings"), [("lora", {}), ("lora", {"use_dora": False}), ("qlora", {}), ("dora", {"use_dora": True})])
def test_the_adapter_of_the_voted_method_passes(plan: Plan, method: str, settings: dict[str, Any]) -> None:
    check_adapter_config(of_method(plan, method), dumps(CONFIG | settings))


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("lora", {"use_dora": True}, "use_dora is not as voted"),
        ("qlora", {"use_dora": True}, "use_dora is not as voted"),
        ("dora", {"use_dora": False}, "use_dora is not as voted"),
        ("dora", {}, "does not say"),
        ("full", {}, "voted for no adapter"),
    ],
)
def test_an_adapter_of_another_method_than_voted_is_refused(plan: Plan, method: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_adapter_config(of_method(plan, method), dumps(CONFIG | settings))
