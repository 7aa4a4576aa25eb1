"""What a base cannot do is said before anybody votes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.errors import BadInput
from governance_hooks.training import Lora, Training
from train.compatibility import require_compatible


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"sequence_tokens": 513}, r"more than the base can attend over\n  got:     513\n  allowed: at most 512"),
        ({"lora": Lora(target_modules=["query_key_value"])}, r"(?s)names no linear layer of this base.*'query_key_value'.*q_proj"),
        ({"lora": Lora(target_modules=["q_proj", "v_prj"])}, "'v_prj'"),  # peft is silent as long as one of them is found
        ({"lora": Lora(target_modules=["lm_head"])}, "'lm_head'"),
    ],
)
def test_a_plan_the_first_start_would_refuse_is_not_made(plan_of: Callable[..., bytes], training: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        plan_of(**training)


def test_the_longest_sequences_and_listed_layers_are_planned(plan_of: Callable[..., bytes]) -> None:
    assert plan_of(sequence_tokens=512, lora=Lora(target_modules=["q_proj", "mlp.down_proj"]))


def test_weights_that_are_quantized_already_are_not_planned_and_an_unknown_kind_is_left_to_the_start(base: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(base, tmp_path / "other"))
    config = json.loads((other / "config.json").read_bytes())
    (other / "config.json").write_text(json.dumps(config | {"quantization_config": {"bits": 4}}))
    with pytest.raises(BadInput, match="quantized already"):
        require_compatible(other, Training())
    (other / "config.json").write_text(json.dumps(config | {"num_local_experts": 8}))
    require_compatible(other, Training(lora=Lora(target_modules=["router"])))
    for broken in ("[]", "{", "nothing"):
        (other / "config.json").write_text(broken)
        with pytest.raises(BadInput, match=r"config\.json"):
            require_compatible(other, Training())
