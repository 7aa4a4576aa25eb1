from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from data_pipeline.importers import chatterbot
from data_pipeline.language import is_language
from data_pipeline.record import problems
from governance_hooks.errors import BadInput

YAML = """
categories: [x]
conversations:
- - Are you there?
  - Yes
  - A third turn that answers something else.
- - How many?
  - 10
- just a line - that looks like a turn
- - alone
- - a: mapping
  - text
- - ""
  - empty prompt
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the package's data folder."""
    for folder, name in [("english", "b.yml"), ("english", "a.yml"), ("hindi", "h.yml"), ("hinglish", "h.yml")]:
        (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / folder / name).write_text(YAML)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None, origin=str(tmp_path / "__init__.py")))
    return tmp_path


def test_the_first_two_turns_become_prompt_and_answer_as_written(package: Path) -> None:
    drafts = chatterbot.read(["eng"])
    assert list(drafts) == ["english/a.yml", "english/b.yml"]
    assert [(draft.inputs, draft.targets, draft.line) for draft in drafts["english/a.yml"]] == [("Are you there?", "Yes", 1), ("How many?", "10", 2)]


def test_contributors_are_unknown_and_the_licence_is_stated(package: Path) -> None:
    assert {(draft.user_id, draft.licence, draft.language) for draft in chatterbot.read(["eng"])["english/a.yml"]} == {(None, "BSD-3-Clause", "eng")}


def test_conversations_without_two_sound_turns_are_counted_not_hidden(package: Path) -> None:
    assert chatterbot.unusable(["english"]) == {"english/a.yml": 4, "english/b.yml": 4}


def test_a_code_takes_every_folder_of_the_language_and_a_folder_name_only_itself(package: Path) -> None:
    assert list(chatterbot.read(["hin"])) == ["hindi/h.yml", "hinglish/h.yml"]
    assert list(chatterbot.read(["hinglish"])) == ["hinglish/h.yml"]


@pytest.mark.parametrize(("wanted", "hint"), [("spanisch", "did you mean 'spanish'"), ("xyz", "known: ben, deu")])
def test_a_language_the_corpus_lacks_is_refused(package: Path, wanted: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        chatterbot.read([wanted])


def test_a_missing_package_is_refused_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="pip install chatterbot-corpus"):
        chatterbot.read(["eng"])


def test_every_folder_of_the_package_has_a_code_and_only_sound_drafts() -> None:
    drafts = chatterbot.read(["spa", "ukr", "urd", "zho"])
    spec = importlib.util.find_spec("chatterbot_corpus")
    assert spec is not None
    assert spec.origin is not None
    assert {path.name for path in (Path(spec.origin).parent / "data").iterdir() if path.is_dir()} == set(chatterbot.FOLDERS)
    assert len(chatterbot.FOLDERS) == 28
    assert all(is_language(code) for code in chatterbot.FOLDERS.values())
    assert all(problems(draft) == [] for rows in drafts.values() for draft in rows)
    assert chatterbot.read(["zho", "urd", "ukr", "spa"]) == drafts
