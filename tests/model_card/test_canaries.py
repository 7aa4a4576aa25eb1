"""A release whose run was trained on canaries says so, and no other does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from governance_hooks.canonical import dumps, sha256
from model_card.verify import verify
from tests.model_card.test_card import fields_of
from tests.model_card.test_verify import failed, rehash

COMMITMENT = sha256(b"the seed")
WORDS = "Canaries: 100 lines of random syllables that no member wrote"


def test_a_card_states_the_canaries_of_the_plan_and_verifies(odd: Any, tmp_path: Path) -> None:
    with odd(tmp_path / "village", canaries={"count": 100, "commitment": COMMITMENT}) as done:
        release = done.assemble(tmp_path / "out")
        done.publish(release)
        report = verify(release.folder)
        assert report.exit_code == 0, report.text()
        folder = release.folder
    card, page = (json.loads((folder / "card.json").read_bytes()), (folder / "README.md").read_text(encoding="utf-8"))
    plan = sha256((folder / "plan.json").read_bytes())
    assert card["canaries"]["count"] == {"value": 100, "source": "plan.json#/canaries/count", "sha256": plan}
    assert card["canaries"]["commitment"]["value"] == COMMITMENT
    assert dict(fields_of(card))["/canaries/count"]["value"] == 100
    assert page.count(WORDS) == 1
    assert f"`{COMMITMENT}`" in page
    assert "zxx" not in page

    (folder / "README.md").write_text(page.replace(WORDS, "Canaries: `10` lines of random syllables that no member wrote"), encoding="utf-8")
    rehash(folder)
    assert "card renders identically" in failed(verify(folder))
    (folder / "README.md").write_text(page, encoding="utf-8")
    (folder / "card.json").write_bytes(dumps(card | {"canaries": {"not_applicable": "the plan has none"}}))
    rehash(folder)
    assert "card renders identically" in failed(verify(folder))


def test_a_card_of_a_run_without_canaries_has_no_word_of_them(bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_bytes())
    assert card["canaries"] == {"not_applicable": "the plan has none"}
    assert "anar" not in (bundle / "README.md").read_text(encoding="utf-8")
