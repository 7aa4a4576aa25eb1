"""The audit of a log: what it finds, and that it keeps neither entries nor roots."""

import sqlite3

import pytest

from governance_hooks.audit import audit
from tests.village import CONSENT, Village


def fill(village: Village, size: int) -> None:
    """Grow the log to `size` entries: one by one up to a handful, the rest under one checkpoint."""
    while village.coop.log.size < min(size, 4):
        village.consent(village.members[0])
    rest = range(village.coop.log.size, size)
    village.coop.append_all([village.entry("coop.consent/v1", CONSENT, village.members[i % 5]) for i in rest])


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257])
def test_an_honest_log_passes(village: Village, size: int) -> None:
    fill(village, size)
    report = audit(village.root)
    assert report.passed, report.text()
    assert report.steps[0].checked.startswith(f"{size} entries")


def test_a_rewritten_tile_is_named_even_where_no_root_needs_it(village: Village) -> None:
    fill(village, 257)
    with sqlite3.connect(village.root / "log.sqlite") as raw:
        raw.execute("UPDATE tile SET hashes = zeroblob(8192) WHERE level = 0 AND number = 0")
    report = audit(village.root)
    assert [step.status.value for step in report.steps] == ["PASS", "FAIL", "PASS"]
    assert "tile/0/000 does not match" in report.steps[1].why


def test_a_missing_tile_is_named(village: Village) -> None:
    fill(village, 257)
    with sqlite3.connect(village.root / "log.sqlite") as raw:
        raw.execute("DELETE FROM tile WHERE level = 1")
    assert "stored tree does not match" in audit(village.root).steps[1].why
