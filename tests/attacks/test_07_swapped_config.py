"""Threat 7: what runs is not what was voted: the plan, the code or the base weights are swapped after the vote, or after the check.

The attacker can write to every file of the machine that trains, at any moment of the start. Blocked: members vote on the SHA-256 of the
canonical plan; gate and trainer each hash plan, code, base and build again, and the trainer once more when the weights are loaded.
Somebody who swaps a file and swaps it back between two reads of one load is not seen: the machine that trains has to be kept.
"""

from __future__ import annotations

import importlib.machinery
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.gate import run_gate
from governance_hooks.hooks.guard import Guard, Stop
from governance_hooks.plan import read_plan
from governance_hooks.report import Blocked
from tests.attacks.forge import OwnGuard, broken, only_broken, request_for, vote_on
from tests.attacks.story import RUN
from tests.village import Approved, Village

if TYPE_CHECKING:
    from tests.attacks.workshop import Workshop


@pytest.mark.parametrize("field", ["seed", "learning_rate", "epochs"])
def test_a_plan_edited_after_its_vote_was_never_voted_on(approved: Approved, field: str) -> None:
    document = approved.plan.model_dump()
    document["training"][field] = {"seed": 1, "learning_rate": 0.5, "epochs": 99}[field]
    broken(run_gate(request_for(approved, plan=dumps(document))), "plan matches a proposal", "members never voted on exactly this")


RESPELT = {
    "a line end": lambda plan: plan + b"\n",
    "a blank": lambda plan: b" " + plan,
    "indented": lambda plan: json.dumps(json.loads(plan), indent=1).encode(),
    "a key twice": lambda plan: plan[:-1] + b',"name":"first-run"}',
}


@pytest.mark.parametrize("spelling", RESPELT)
def test_the_same_plan_in_other_bytes_is_another_plan_and_not_even_a_vote_makes_it_one(approved: Approved, spelling: str) -> None:
    other = RESPELT[spelling](approved.plan_bytes)
    broken(run_gate(request_for(approved, plan=other)), "plan matches a proposal", "members never voted on exactly this")
    approved.village.approve("run", sha256(other), uses=2)
    broken(run_gate(request_for(approved, plan=other)), "plan matches a proposal", "plan cannot be read: plan: ")


def test_a_field_the_gate_does_not_know_is_not_smuggled_through_a_vote(approved: Approved) -> None:
    document = approved.plan.model_dump()
    vote_on(approved, document | {"training": document["training"] | {"post_step_hook": "upload_everything"}})
    broken(run_gate(request_for(approved)), "no unknown field", "unknown field training.post_step_hook")


def test_a_base_digest_must_be_that_of_the_files_the_plan_lists(approved: Approved) -> None:
    document = approved.plan.model_dump()
    shown = [{"path": "model.safetensors", "size": 1, "sha256": digest("a harmless model")}]  # what voters read; the digest is what would be loaded
    vote_on(approved, document | {"base": document["base"] | {"files": shown}})
    broken(run_gate(request_for(approved)), "plan matches a proposal", "plan cannot be read: plan: base:", "digest is not that of files")
    with pytest.raises(BadInput, match="digest is not that of files"):
        read_plan(approved.plan_bytes)


def test_other_base_weights_do_not_start_on_an_approval(approved: Approved) -> None:
    approved.start()
    (approved.base / "model.safetensors").write_bytes(b"another model")
    only_broken(run_gate(request_for(approved, run=RUN)), "base, dataset and code match", "base weights are not the voted ones: model.safetensors")


def test_a_file_beside_the_voted_base_weights_does_not_start(approved: Approved) -> None:
    (approved.base / "tokenizer.json").write_bytes(b"{}")
    only_broken(run_gate(request_for(approved)), "base, dataset and code match", "base weights are not the voted ones: tokenizer.json")


@pytest.mark.parametrize("where", ["base", "build"])
def test_a_link_that_could_be_swapped_during_the_start_is_refused(approved: Approved, tmp_path: Path, where: str) -> None:
    folder, name = (approved.base, "model.safetensors") if where == "base" else (approved.build, "records.parquet")
    shutil.move(folder / name, tmp_path / "honest")
    (folder / name).symlink_to(tmp_path / "honest")
    only_broken(run_gate(request_for(approved)), "base, dataset and code match", f"{name} is not a regular file")


def test_a_swap_while_the_run_waits_in_the_queue_is_seen_when_it_starts(approved: Approved) -> None:
    approved.start()
    village = approved.village
    assert run_gate(request_for(approved, run=RUN)).passed  # when it was submitted
    guard = Guard(request_for(approved, run=RUN), fresh=lambda: village.coop.proof().dumps(), clock=lambda: village.clock)
    (approved.base / "config.json").write_bytes(b'{"auto_map":{}}')
    with pytest.raises(Blocked, match=r"base weights are not the voted ones: config\.json"):
        guard.start()


# The code.


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of ours that decides what is trained, installed where somebody else may write."""
    folder = tmp_path / "site" / "coop_probe"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "run.py").write_text("STEPS = 5\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setattr("governance_hooks.code.PACKAGES", ("coop_probe",))
    monkeypatch.delitem(sys.modules, "coop_probe", raising=False)
    return folder


@pytest.mark.parametrize("planted", [f"run{importlib.machinery.EXTENSION_SUFFIXES[0]}", "run.so", "run.pyc", "deep/er/data.bin"])
def test_a_native_module_beside_the_voted_source_changes_the_code_digest(package: Path, village: Village, planted: str) -> None:
    approved = Approved(village)
    assert run_gate(request_for(approved)).passed
    (package / planted).parent.mkdir(parents=True, exist_ok=True)
    (package / planted).write_bytes(b"native code")
    only_broken(run_gate(request_for(approved)), "base, dataset and code match", "the installed code is not the voted code")


def test_a_changed_source_changes_the_code_digest(package: Path, village: Village) -> None:
    approved = Approved(village)
    (package / "run.py").write_text("STEPS = 6\n")
    only_broken(run_gate(request_for(approved)), "base, dataset and code match", "the installed code is not the voted code")


# The trainer itself, at each moment of its start.


def other_weights(folder: Path) -> None:
    """Put other weights of the same shape in place of the voted ones."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file({name: tensor * 1.5 for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def test_base_weights_swapped_between_gate_and_trainer_are_not_loaded(workshop: Workshop) -> None:
    class Swapping(OwnGuard):
        def start(self) -> None:
            other_weights(workshop.base)

    with pytest.raises(BadInput, match=r"base weights at .* are not those of the plan"):
        workshop.train(Swapping())
    assert not workshop.adapter().exists()


def test_base_weights_swapped_between_the_trainers_check_and_its_load_are_not_trained(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from train.strategies import ddp

    load = ddp.load_model

    def swapped(base: Path, *rest: Any) -> Any:
        other_weights(base)
        return load(base, *rest)

    monkeypatch.setattr(ddp, "load_model", swapped)
    with pytest.raises(BadInput, match=r"base weights at .* are not those of the plan"):
        workshop.train()
    assert not workshop.adapter().exists()


def test_a_folder_behind_a_link_that_is_turned_during_the_start_is_not_trained_on(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from train.strategies import ddp

    other, link, load = shutil.copytree(workshop.base, tmp_path / "other"), tmp_path / "link", ddp.load_model
    other_weights(other)
    link.symlink_to(workshop.base)

    def turned(base: Path, *rest: Any) -> Any:
        link.unlink()
        link.symlink_to(other)
        return load(base, *rest)

    monkeypatch.setattr(ddp, "load_model", turned)
    with pytest.raises(BadInput, match=r"base weights at .* are not those of the plan"):
        workshop.train(base=link)
    assert not workshop.adapter().exists()


def test_base_weights_overwritten_while_a_run_is_on_change_nothing_it_trains(workshop: Workshop) -> None:
    class Overwriting(OwnGuard):
        def stop(self, *, force: bool = False) -> None:
            with (workshop.base / "model.safetensors").open("r+b") as file:  # in place: what is mapped into memory changes with it
                file.seek(-4096, 2)
                file.write(bytes(4096))

    workshop.train(run="undisturbed")
    workshop.train(Overwriting(), run="overwritten")
    assert workshop.adapter("overwritten").read_bytes() == workshop.adapter("undisturbed").read_bytes()


def test_a_run_does_not_go_on_under_another_plan(workshop: Workshop) -> None:
    class Stopping(OwnGuard):
        def stop(self, *, force: bool = False) -> Stop | None:
            return Stop("halted", "for now")

    assert workshop.train(Stopping())["status"] == "halted"
    document = json.loads(workshop.plan)
    document["training"]["seed"] += 1
    workshop.plan = dumps(document)
    with pytest.raises(BadInput, match="is another plan"):
        workshop.train()
