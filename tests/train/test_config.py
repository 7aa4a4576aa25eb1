from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

import train
from governance_hooks.errors import BadInput
from governance_hooks.plan import EvaluationPolicy
from governance_hooks.training import Dpo, Training
from train.config import RunConfig, read_config, resolve_precision
from train.other_names import OTHER_NAMES

ROOT = Path(train.__file__).parent
USE = """use:
  purpose: dpv:NonCommercialResearch
  processing: [ai:ModelFineTuning, coop:ModelEvaluation]
  recipients: [coop:PublicViaReleasedWeights]
  licence: Apache-2.0
"""
HEAD = "name: tiny\nbase: smollm2-135m-instruct\nbuild: first\n" + USE


def read(tmp_path: Path, text: str) -> Training:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return read_config(path).training


@pytest.mark.parametrize("written", ["2e-4", "2.0e-4", "0.0002", "2E-4", ".2e-3", "+2e-4"])
def test_a_learning_rate_may_be_written_as_people_write_it(tmp_path: Path, written: str) -> None:
    assert read(tmp_path, HEAD + f"training:\n  learning_rate: {written}\n").learning_rate == 2e-4


def test_text_that_only_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"run\.yaml:10: training\.learning_rate"):
        read(tmp_path, HEAD + 'training:\n  learning_rate: "2e-4"\n')


def test_an_unknown_key_is_refused_with_line_and_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"(?s)run\.yaml:11: unknown field training\.learning_rat\b.*did you mean 'learning_rate'"):
        read(tmp_path, HEAD + "training:\n  seed: 1\n  learning_rat: 2e-4\n")
    with pytest.raises(BadInput, match=r"(?s)run\.yaml:9: unknown field trainig.*did you mean 'training'"):
        read(tmp_path, HEAD + "trainig:\n  seed: 1\n")
    with pytest.raises(BadInput, match=r"(?s)run\.yaml:11: unknown field training\.lora\.alfa.*did you mean 'alpha'"):
        read(tmp_path, HEAD + "training:\n  lora:\n    alfa: 3\n")


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"(?s)run\.yaml:11: the key training\.seed stands twice.*line 10"):
        read(tmp_path, HEAD + "training:\n  seed: 1\n  seed: 2\n")


@pytest.mark.parametrize("text", ["", "- a\n", "name: [", "name: tiny\n", "name: !!python/object/apply:os.system [ls]\n", "a: &a [*a]\n", "\tname: x\n"])
def test_what_is_no_config_is_a_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput):
        read(tmp_path, text)


def test_a_value_out_of_range_names_its_field_and_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"run\.yaml:10: training\.epochs"):
        read(tmp_path, HEAD + "training:\n  epochs: 0\n")
    with pytest.raises(BadInput, match=r"run\.yaml:10: training\.epochs"):
        read(tmp_path, HEAD + "training:\n  epochs: 1.5\n")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("training:\n  precision: bf16\n", r"run\.yaml:10: training\.precision: .*\n.*'bf16'\n.*did you mean 'bf16-true'"),
        ("training:\n  method: lorra\n", r"did you mean 'lora'"),
        (
            "training:\n  lora:\n    target_modules: all_linear\n",
            r"run\.yaml:11: training\.lora\.target_modules: .*valid list\n.*\n.*did you mean 'all-linear'",
        ),
        ("mix:\n  strategy: unimaks\n  max_epochs: 2\n", r"did you mean 'unimax'"),
    ],
)
def test_a_value_that_is_none_of_the_known_ones_gets_the_nearest(tmp_path: Path, section: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read(tmp_path, HEAD + section)
    assert re.search(said, str(refused.value))


def test_a_rule_between_two_fields_is_told_in_our_words_alone(tmp_path: Path) -> None:
    for section, said in {
        "training:\n  offload: true\n": "run.yaml:9: training: training.offload is DeepSpeed's: strategy zero2 or zero3",
        "training:\n  attention: flash\n  precision: 32-true\n": "run.yaml: training.attention flash computes in half precision only: set training.precision: bf16-true",
    }.items():
        with pytest.raises(BadInput) as refused:
            read(tmp_path, HEAD + section)
        assert str(refused.value) == f"{tmp_path}/{said}"
    assert read(tmp_path, HEAD + "training:\n  attention: flash\n  precision: bf16-true\n").attention == "flash"


def test_a_config_of_another_trainer_is_told_all_our_names_at_once(tmp_path: Path) -> None:
    theirs = "base_model: owner/model\nadapter: lora\nmicro_batch_size: 2\nsample_packing: true\nunheard_of: 1\n"
    with pytest.raises(BadInput) as refused:
        read(tmp_path, theirs)
    told = str(refused.value)
    assert "run.yaml:1: unknown field base_model, and 3 more that other trainers use" in told
    for line in ("base_model is base", "adapter is training.method", "micro_batch_size is training.sequences_per_forward", "sample_packing is no setting here"):
        assert line in told
    with pytest.raises(BadInput, match=r"(?s)run\.yaml:10: unknown field training\.lr\n.*training\.lr is training\.learning_rate"):
        read(tmp_path, HEAD + "training:\n  lr: 2e-4\n")


def test_what_other_names_stand_for_are_settings() -> None:
    for ours in OTHER_NAMES.values():
        path, owner = ours.partition(":")[0], RunConfig
        if path == "no setting here":
            continue
        for part in path.split("."):
            field = owner.model_fields[part]
            owner = next((one for one in (field.annotation, *get_args(field.annotation)) if isinstance(one, type) and issubclass(one, BaseModel)), RunConfig)


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16", "bf16-true"),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_bf16", "bf16-true"),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16", "32-true"),
        ("vendor_id : AuthenticAMD\nflags : avx2", "32-true"),
    ],
)
def test_automatic_precision_is_the_faster_one_and_the_plan_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str, expected: str) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr("train.config.CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("train.config.NVIDIA", tmp_path / "none")
    assert resolve_precision() == expected
    assert read(tmp_path, HEAD).precision == expected
    assert read(tmp_path, HEAD + "training:\n  precision: auto\n").precision == expected
    assert read(tmp_path, HEAD + "training:\n  precision: 32-true\n").precision == "32-true"


def test_the_examples_are_configs() -> None:
    config = read_config(ROOT.parent / "commonweights/examples/smollm2-lora.yaml")
    assert config.base == "smollm2-135m-instruct"
    assert config.training.sequence_tokens == 256
    large = read_config(ROOT.parent / "commonweights/examples/llama-8b-lora.yaml")
    assert (large.training.strategy, large.limits.max_devices) == ("fsdp2", 8)
    assert large.training.sequences_per_step % large.limits.max_devices == 0


def test_a_new_config_states_intervals_by_students_t_unless_it_says_otherwise(tmp_path: Path) -> None:
    said = {
        "": "t",
        "evaluation: {}\n": "t",
        "evaluation: {margin: 0.1}\n": "t",
        "evaluation: {interval: t}\n": "t",
        "evaluation: {interval: bootstrap}\n": "bootstrap",
    }
    for text, interval in said.items():
        (tmp_path / "run.yaml").write_text(HEAD + text)
        assert read_config(tmp_path / "run.yaml").evaluation.interval == interval, text
    known = RunConfig.model_validate(yaml.safe_load(HEAD))
    assert known.evaluation.interval == "t"
    for policy, interval in ((EvaluationPolicy(margin=0.1), "t"), (EvaluationPolicy(interval="bootstrap"), "bootstrap")):
        assert RunConfig.model_validate(yaml.safe_load(HEAD) | {"evaluation": policy}).evaluation.interval == interval
    assert all(read_config(ROOT.parent / "commonweights/examples" / name).evaluation.interval == "t" for name in ("smollm2-lora.yaml", "llama-8b-lora.yaml"))


def test_reading_a_config_or_a_base_loads_no_torch() -> None:
    code = "import sys, train.config, train.plan, train.base_weights, train.estimate.dry_run, commonweights.forecast, slurm.sbatch; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_dora_is_not_planned_with_zero3(tmp_path: Path) -> None:
    for strategy in ("fsdp2", "zero2"):
        assert read(tmp_path, HEAD + f"training:\n  method: dora\n  strategy: {strategy}\n").strategy == strategy
    with pytest.raises(BadInput, match="dora does not run with strategy zero3"):
        read(tmp_path, HEAD + "training:\n  method: dora\n  strategy: zero3\n")


def test_gradient_checkpointing_is_not_planned_with_zero3(tmp_path: Path) -> None:
    for strategy in ("fsdp2", "zero2"):
        assert read(tmp_path, HEAD + f"training:\n  gradient_checkpointing: true\n  strategy: {strategy}\n").strategy == strategy
    with pytest.raises(BadInput, match="gradient_checkpointing does not run with strategy zero3"):
        read(tmp_path, HEAD + "training:\n  gradient_checkpointing: true\n  strategy: zero3\n")


def test_asking_for_preferences_fills_in_their_section(tmp_path: Path) -> None:
    asked = read(tmp_path, HEAD + "training:\n  objective: dpo\n")
    assert (asked.minimum_rating_gap, asked.dpo) == (1.0, Dpo(beta=0.1, minimum_rating_gap=1.0))
    assert read(tmp_path, HEAD).minimum_rating_gap is None
    with pytest.raises(BadInput, match="dropout would be in the difference"):
        read(tmp_path, HEAD + "training:\n  objective: dpo\n  lora:\n    dropout: 0.1\n")
