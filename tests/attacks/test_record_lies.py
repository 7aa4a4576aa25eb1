"""A run record, an adapter or a manifest that says other things than the log and the voted plan."""

import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.gate import run_gate
from governance_hooks.statement import shift
from tests.attacks.forge import only_broken, request_for
from tests.attacks.story import Story
from tests.village import Approved

LIES = {
    "days of wall time": (lambda r: {"wall_s": 10**9}, "the run took longer than members voted"),
    "negative wall time": (lambda r: {"wall_s": -1}, "the run took longer than members voted"),
    "wall time that is no number": (lambda r: {"wall_s": "12"}, "the run took longer than members voted"),
    "an end before the start": (lambda r: {"ended": shift(r["started"], -60)}, "run.json dates the run outside of what the log says"),
    "an end next year": (lambda r: {"ended": shift(r["started"], 365 * 86_400)}, "run.json dates the run outside of what the log says"),
    "a start years ago": (lambda r: {"started": "2020-01-01T00:00:00Z"}, "run.json dates the run outside of what the log says"),
    "starts nobody logged": (lambda r: {"starts": 999}, "run.json counts other starts than the log"),
    "no start at all": (lambda r: {"starts": 0}, "run.json counts other starts than the log"),
    "more steps than there are": (lambda r: {"steps": 10**6}, "run.json counts more steps than there are"),
    "no libraries": (lambda r: {"packages": {}}, "run.json names no libraries"),
    "wall time that is true": (lambda r: {"wall_s": True}, "the run took longer than members voted"),
    "a start that is not told of": (lambda r: {"segments": [r["segments"][0] | {"start": 2}]}, "run.json lists other segments than starts"),
    "less energy than was used": (lambda r: {"energy": r["energy"] | {"kwh": 1e-9}}, "run.json states another energy than its segments add up to"),
    "no energy although it was measured": (lambda r: {"energy": None}, "run.json states another energy than its segments add up to"),
    "other library versions": (lambda r: {"packages": {"torch": "0.1"}}, "the run used other library versions than members voted"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_run_record_that_breaks_the_plan_does_not_verify(tmp_path: Path, lie: str) -> None:
    change, words = LIES[lie]

    class Lying(Story):
        def record(self, document: dict[str, Any]) -> dict[str, Any]:
            return document | change(document)

    only_broken(Lying(tmp_path).play(), "run vote", words)


SETTINGS = {
    "base_model_name_or_path": "evil/backdoored",
    "peft_type": "LOHA",
    "r": 512,
    "lora_alpha": 100_000,
    "lora_dropout": 0.5,
    "use_dora": True,
    "use_rslora": True,
    "modules_to_save": ["lm_head"],
    "bias": "all",
    "rank_pattern": {".*": 512},
    "alpha_pattern": {".*": 100_000},
    "auto_mapping": {"parent_library": "os"},
    "init_lora_weights": "pissa",
    "trainable_token_indices": [1],
    "revision": "another",
    "a_setting_of_a_later_version": True,
    "target_modules": ["lm_head"],
    "peft_version": "0.0.1",
}


def adapter_story(folder: Path, name: str) -> Story:
    class Other(Story):
        def adapter_config(self, config: dict[str, Any]) -> dict[str, Any]:
            return config | {name: SETTINGS[name]}

    return Other(folder)


@pytest.mark.parametrize("name", SETTINGS)
def test_an_adapter_with_another_setting_than_voted_is_not_assembled(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=f"adapter_config.json: {name} is not as voted"):
        adapter_story(tmp_path, name).play()


@pytest.mark.parametrize("name", ["base_model_name_or_path", "r"])
def test_an_adapter_with_another_setting_assembled_by_other_tools_does_not_verify(tmp_path: Path, name: str) -> None:
    story = adapter_story(tmp_path, name)
    story.tampered_tools = True
    only_broken(story.play(), "weights are the run's output", f"adapter_config.json: {name} is not as voted", str(SETTINGS[name]))


def test_counts_by_split_are_counted_again(tmp_path: Path) -> None:
    class Miscounted(Story):
        def manifest(self, document: dict[str, Any]) -> dict[str, Any]:
            return document | {"splits": {"train": 10**9, "heldout": 0}}

    only_broken(Miscounted(tmp_path).play(), "data is the voted dataset", "the counts by split do not follow from the ledger")


def test_counts_by_split_are_counted_again_before_training(approved: Approved) -> None:
    manifest = approved.manifest | {"splits": {"train": 10**9, "heldout": 0}}
    (approved.build / "manifest.json").write_bytes(dumps(manifest))
    said = {"manifest": sha256(dumps(manifest)), "root": manifest["root"], "records": manifest["records"]}
    approved.village.say("coop.build/v1", said, "operator")
    document = approved.plan.model_dump()
    approved.plan_bytes = dumps(document | {"build": document["build"] | {"manifest": sha256(dumps(manifest))}})
    approved.village.approve("run", sha256(approved.plan_bytes), uses=2)
    report = run_gate(request_for(approved))
    assert [step.why for step in report.blocking if step.name == "base, dataset and code match"] == ["the counts by split do not follow from the ledger"]


@pytest.mark.parametrize("size", [0, 1])
def test_a_build_cannot_come_from_a_log_in_which_nobody_had_consented(tmp_path: Path, size: int) -> None:
    class TooEarly(Story):
        def manifest(self, document: dict[str, Any]) -> dict[str, Any]:
            from governance_hooks import merkle

            entries = self.village.coop.proof().entries[:size]
            return document | {"log": {"size": size, "root": "sha256:" + merkle.root([merkle.leaf_hash(entry) for entry in entries]).hex()}}

    only_broken(TooEarly(tmp_path).play(), "data is the voted dataset", "names consents that were not in the log it says it was made from")


def test_a_build_cannot_come_from_a_longer_log_than_there_is(tmp_path: Path) -> None:
    class TooLate(Story):
        def manifest(self, document: dict[str, Any]) -> dict[str, Any]:
            return document | {"log": document["log"] | {"size": 10**6}}

    story = TooLate(tmp_path)
    only_broken(story.play(), "data is the voted dataset", "the dataset was built from another log than this one")
    assert json.loads((story.release.folder / "data/manifest.json").read_bytes())["log"]["size"] == 10**6
