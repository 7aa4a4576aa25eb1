"""`coop card` by the command line on a tiny model: words of members, a published dissent, a failed run, and what the lint says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commonweights.pipeline import decide, prepare

REASON = "Too few of us have read the Spanish answers."


@pytest.fixture
def trained(coop: Any, home: Path, keys: dict[str, Path], tmp_path: Path) -> Path:
    """Return the run folder of a run that caro voted against, with a reason."""
    base = prepare(coop, home, keys, tmp_path) / "tiny"
    decide(coop, home, keys, "run", "first", "for for against", reason=REASON)
    done = coop("-C", home, "train", "first", "--base", base)
    assert done.code == 0, done.err
    return home / "runs/first"


def readme(run: Path) -> str:
    return (run / "card/README.md").read_text(encoding="utf-8")


def test_members_words_reach_the_card_and_nobody_else_can_say_them(coop: Any, home: Path, keys: dict[str, Path], tmp_path: Path, trained: Path) -> None:
    assert "No member has signed a statement on: Intended use" in readme(trained)
    assert REASON not in readme(trained)
    assert (trained / "card/card/governance.md").is_file()
    assert (trained / "card/data/croissant.json").is_file()
    before = coop("-C", home, "card", "lint", "first")
    assert before.code == 1
    assert "coop card statement limits" in before.out

    words = tmp_path / "words.txt"
    for field in ("intended_use", "out_of_scope_use", "limits", "bias_and_risks", "legal_measures"):
        words.write_text(f"What I say about {field}.\n", encoding="utf-8")
        said = coop("-C", home, "card", "statement", field, "--text", words, "--key", keys["anna"])
        assert said.code == 0, said.err
    assert coop("-C", home, "card", "statement", "contact", "--absent", "declined", "--key", keys["bela"]).code == 0
    assert coop("-C", home, "card", "dissent", "--key", keys["anna"]).code == 2  # she voted for it
    assert coop("-C", home, "card", "dissent", "--key", keys["caro"]).code == 0
    written = coop("-C", home, "card", "first")
    assert written.code == 0, written.err
    assert "What I say about limits." in readme(trained)
    assert REASON in readme(trained)
    assert REASON in (trained / "card/card/governance.md").read_text(encoding="utf-8")
    assert len(list((trained / "statements").glob("*.json"))) == 7
    after = coop("-C", home, "--json", "card", "lint", "first")
    assert (after.code, after.json["grade"]) == (0, after.json["grade"])
    assert after.json["usefulness"] > 90

    assert coop("-C", home, "card", "statement", "limits", "--take-back", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "card", "first").code == 0
    assert "What I say about limits." not in readme(trained)
    listed = coop("-C", home, "--json", "card", "said").json["statements"]
    assert sorted(row["field"] for row in listed) == ["bias_and_risks", "contact", "dissent", "intended_use", "legal_measures", "out_of_scope_use"]

    # A translation waits for a second member.
    words = tmp_path / "resumen.txt"
    words.write_text("Un modelo hecho por una cooperativa.", encoding="utf-8")
    draft = tmp_path / "draft.json"
    drafted = coop("-C", home, "card", "statement", "summary", "--text", words, "--lang", "spa", "--key", keys["anna"], "--draft", draft)
    assert drafted.code == 0, drafted.err
    for name in ("anna", "bela"):
        assert coop("-C", home, "sign", draft, "--yes", "--key", keys[name]).code == 0
    appended = coop("-C", home, "append", draft)
    assert appended.code == 0, appended.err
    assert coop("-C", home, "card", "first").code == 0
    page = (trained / "card/card/summary.spa.md").read_text(encoding="utf-8")
    assert "Un modelo hecho por una cooperativa." in page
    assert "1 other member" in page


def test_words_that_cannot_be_shown_are_refused_or_told(coop: Any, home: Path, keys: dict[str, Path], tmp_path: Path, trained: Path) -> None:
    words = tmp_path / "words.txt"
    for data, why in ((b"", "some words"), (b"\xff\xfe", "no UTF-8"), (b"x" * 20_001, "not too many")):
        words.write_bytes(data)
        done = coop("-C", home, "card", "statement", "limits", "--text", words, "--key", keys["anna"])
        assert (done.code, why in done.err) == (2, True), done.err
    words.write_bytes(b"Fine.")
    for arguments in (["--lang", "english"], ["--run", "none"]):
        assert coop("-C", home, "card", "statement", "limits", "--text", words, "--key", keys["anna"], *arguments).code in (1, 2)
    assert coop("-C", home, "card", "statement", "limits", "--key", keys["anna"]).code == 2
    assert coop("-C", home, "card", "nothing").code == 2

    # A text that is gone is told, and the card is made without it.
    words.write_text("It makes things up.", encoding="utf-8")
    assert coop("-C", home, "card", "statement", "limits", "--text", words, "--key", keys["anna"]).code == 0
    for text in (home / "texts").iterdir():
        text.unlink()
    done = coop("-C", home, "card", "first")
    assert (done.code, "left out, since the text is not in this folder" in done.out) == (0, True)
    assert "It makes things up." not in readme(trained)


def test_a_run_that_was_halted_leaves_a_card_that_says_so(
    coop: Any, home: Path, keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = prepare(coop, home, keys, tmp_path) / "tiny"
    decide(coop, home, keys, "run", "first", "for for for")
    from governance_hooks.hooks import guard as guards

    monkeypatch.setattr(guards.Guard, "stop", lambda self, *, force=False: guards.Stop("halted", "the members halted this approval") if force else None)
    done = coop("-C", home, "train", "first", "--base", base)
    assert done.code != 0
    card = json.loads((home / "runs/first/card/card.json").read_bytes())
    assert card["run"]["status"]["value"] in ("halted", "failed")
    assert card["evaluation"]["passed"] == {"not_collected": "the run was not evaluated"}
    assert "the run was not evaluated" in readme(home / "runs/first")
