"""What an operator's mistake, or somebody at the operator's machine, could do to the log, the code and the base weights."""

import importlib.machinery
import shutil
import sys
from pathlib import Path

import pytest

from governance_hooks.audit import audit
from governance_hooks.canonical import digest
from governance_hooks.checkpoint import NoteKey
from governance_hooks.cooperative import Paths
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.gate import run_gate
from governance_hooks.plan import read_plan
from tests.attacks.forge import broken, only_broken, request_for, vote_on
from tests.village import Approved, Village, found


def test_a_wrong_log_key_is_refused_before_anything_is_written(village: Village) -> None:
    paths, right, size = Paths(village.root), village.root / "right.key", village.coop.log.size
    shutil.move(paths.log_key, right)
    NoteKey.generate("village.example/log", paths.log_key)
    with pytest.raises(BadInput, match="this is not the key of this log; a checkpoint it signed could never be verified"):
        village.consent(village.members[0])
    assert village.coop.log.size == size
    shutil.copy(right, paths.log_key)  # the mistake is undone, and nothing came of it
    village.consent(village.members[1])
    assert audit(village.root).exit_code == 0


def test_an_audit_of_a_folder_with_a_percent_sign_reads_that_folder(tmp_path: Path) -> None:
    found(tmp_path / "xA")
    shutil.copytree(tmp_path / "xA", tmp_path / "x%41")  # xA, to whoever reads it as an address
    assert audit(tmp_path / "x%41").exit_code == 0
    (tmp_path / "x%41" / "log.sqlite").write_bytes(b"tampered with")
    try:
        code = audit(tmp_path / "x%41").exit_code
    except CoopError as error:
        code = error.exit_code
    assert code != 0


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
    only_broken(run_gate(request_for(approved)), "base, build and code match", "the installed code is not the voted code")


def test_a_changed_source_changes_the_code_digest(package: Path, village: Village) -> None:
    approved = Approved(village)
    (package / "run.py").write_text("STEPS = 6\n")
    only_broken(run_gate(request_for(approved)), "base, build and code match", "the installed code is not the voted code")


def test_a_base_digest_must_be_that_of_the_files_the_plan_lists(approved: Approved) -> None:
    document = approved.plan.model_dump()
    shown = [{"path": "model.safetensors", "size": 1, "sha256": digest("a harmless model")}]  # what voters read; the digest is what would be loaded
    vote_on(approved, document | {"base": document["base"] | {"files": shown}})
    broken(run_gate(request_for(approved)), "plan matches a proposal", "plan cannot be read: plan: base:", "digest is not that of files")
    with pytest.raises(BadInput, match="digest is not that of files"):
        read_plan(approved.plan_bytes)
