"""Threat 19: the weights that go out are not those that were trained, measured and voted on.

The attacker is the operator, or a mirror, who can write every file of the bundle and hash. Blocked: one digest chain, output of the run = what was
measured = what the release names = what members voted on, over paths, sizes and bytes; whoever downloads walks it back with `coop verify`.
That the weights come from the training is the operator's signature at the end of the run: only training again shows more.
"""

import json
import shutil
import struct
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.inventory import file_entry
from model_card.verify import verify
from tests.attacks.forge import broken, only_broken
from tests.attacks.story import RUN, Story
from tests.model_card.conftest import tiny_safetensors
from tests.village import Village

WEIGHTS = "adapter/adapter_model.safetensors"


def other_weights() -> bytes:
    """Return weights of the same shape and size with one number changed."""
    raw = bytearray(tiny_safetensors())
    raw[-4:] = struct.pack("<f", 13.0)
    return bytes(raw)


def reseal(bundle: Path, **changes: Any) -> None:
    """Make release.json fit the files again."""
    document = json.loads((bundle / "release.json").read_bytes())
    for entry in document["files"]:
        entry |= file_entry(bundle, bundle / entry["path"])
    (bundle / "release.json").write_bytes(dumps(document | changes))


def test_an_honest_release_verifies(tmp_path: Path) -> None:
    report = Story(tmp_path).play()
    assert report.passed, report.text()


def test_swapped_weights_do_not_fit_the_release(bundle: Path) -> None:
    (bundle / WEIGHTS).write_bytes(other_weights())
    report = verify(bundle)
    broken(report, "files match release.json", WEIGHTS)
    broken(report, "weights are the run's output", "the weights are not the output run.json names")


def test_a_release_that_fits_the_swapped_weights_is_not_the_one_voted_on(bundle: Path) -> None:
    (bundle / WEIGHTS).write_bytes(other_weights())
    reseal(bundle)
    report = verify(bundle)
    broken(report, "release vote", "members never voted on exactly this")
    broken(report, "weights are the run's output", "the weights are not the output run.json names")


def test_a_run_record_that_fits_the_swapped_weights_is_not_the_one_signed_at_the_end_of_the_run(bundle: Path) -> None:
    (bundle / WEIGHTS).write_bytes(other_weights())
    record = json.loads((bundle / "run.json").read_bytes())
    for output in record["outputs"]:
        if output["path"].endswith(".safetensors"):
            output["sha256"] = sha256(other_weights())
    (bundle / "run.json").write_bytes(dumps(record))
    reseal(bundle, record=sha256((bundle / "run.json").read_bytes()))
    broken(verify(bundle), "weights are the run's output", "run.json is not the record the operator signed at the end of the run")


class SwappedAfterTheRun(Story):
    """The operator swaps the weights when the end of the run is signed, and has members vote on what comes of it."""

    def before_release(self, village: Village) -> None:
        (self.root / "runs" / RUN / "adapter/adapter_model.safetensors").write_bytes(other_weights())


def test_weights_swapped_after_the_run_are_not_assembled(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"the weights are not those run\.json names"):
        SwappedAfterTheRun(tmp_path).play()


def test_not_even_the_members_vote_makes_other_weights_the_output_of_the_run(tmp_path: Path) -> None:
    with patch("model_card.release._require"):  # the operator's own tools
        report = SwappedAfterTheRun(tmp_path).play()
    only_broken(report, "weights are the run's output", "the weights are not the output run.json names")


def test_weights_that_were_not_the_ones_measured_are_not_released(tmp_path: Path) -> None:
    class Measured(Story):
        """Measures other weights than the run's, which do better."""

        tampered_tools = True

        def _evaluate(self, village: Village, run: Path, plan: Any, rows: Any, record: dict[str, Any]) -> None:
            better = [entry | {"sha256": digest("better weights")} for entry in record["outputs"]]
            super()._evaluate(village, run, plan, rows, record | {"outputs": better})

    broken(Measured(tmp_path).play(), "evaluation under the voted policy", "the evaluation is of other weights than the run's")


@pytest.mark.parametrize("exchange", [("adapter/adapter_config.json", "plan.json"), ("data/manifest.json", "run.json")])
def test_two_files_that_change_places_are_two_other_files(bundle: Path, exchange: tuple[str, str]) -> None:
    one, other = (bundle / name for name in exchange)
    shutil.move(one, bundle / "aside")
    shutil.move(other, one)
    shutil.move(bundle / "aside", other)
    broken(verify(bundle), "files match release.json", *exchange)
    reseal(bundle)
    broken(verify(bundle), "release vote", "members never voted on exactly this")


@pytest.mark.parametrize("name", ["adapter/adapter_model.bin", "adapter/model-00002.safetensors", ".git/config", "adapter/../extra", "tokenizer_config.json"])
def test_a_file_that_was_not_voted_on_does_not_ride_along(bundle: Path, name: str) -> None:
    path = bundle / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"loaded by whoever opens this folder")
    broken(verify(bundle), "files match release.json", Path(name).name)


def test_a_link_to_other_weights_is_no_file_of_the_release(bundle: Path, tmp_path: Path) -> None:
    shutil.move(bundle / WEIGHTS, tmp_path / "elsewhere")
    (bundle / WEIGHTS).symlink_to(tmp_path / "elsewhere")  # the right bytes for now
    report = verify(bundle)
    assert report.exit_code != 0, report.text()


def test_the_card_of_other_weights_does_not_fit_these(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    (bundle / "README.md").write_text(card + "\nBest in every language.\n")
    reseal(bundle)
    broken(verify(bundle), "card renders identically", "README.md is not what the card renders to")
