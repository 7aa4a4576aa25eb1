from __future__ import annotations

from collections.abc import Callable

import pytest

from data_pipeline.diff import diff
from data_pipeline.manifest import Build
from data_pipeline.record import Draft
from data_pipeline.store import Batch, ContributionStore
from governance_hooks.errors import CoopError

Give = Callable[..., Batch]
MakeBuild = Callable[..., Build]


@pytest.fixture
def filled(give: Give, store: ContributionStore) -> ContributionStore:
    give("ana", Draft("one", "1", "eng", record_id="a1"), Draft("dos", "2", "spa", record_id="a2"))
    give("ben", Draft("dos, mejor", "2", "spa", record_id="b2", parents=("a2",)), Draft("own", "x", "eng", record_id="b3"))
    give("cleo", Draft("ONE", "1", "eng", record_id="c1"), at="2026-05-01T00:00:00Z")
    return store


def test_a_diff_names_what_came_and_went_and_why(filled: ContributionStore, make_build: MakeBuild, give: Give) -> None:
    before = make_build()
    give("dora", Draft("new", "n", "eng", record_id="d1"))
    changes = {change.record: (change.kind, change.why) for change in diff(before, make_build(without=("ana",)))}
    assert changes == {
        "a1": ("went", "no_consent: of ana"),
        "a2": ("went", "no_consent: of ana"),
        "b2": ("went", "no_consent: of ana"),
        "c1": ("came", "was duplicate: of a1"),
        "d1": ("came", "new: not stored when the first dataset was made"),
    }


def test_a_diff_names_the_fields_that_changed(filled: ContributionStore, make_build: MakeBuild) -> None:
    changes = diff(make_build(heldout_permille=0), make_build(heldout_permille=1000))
    assert {(change.kind, change.why) for change in changes} == {("changed", "split")}


def test_equal_builds_have_no_diff_and_a_damaged_one_has_an_error(filled: ContributionStore, make_build: MakeBuild) -> None:
    one, two = make_build(), make_build()
    assert diff(one, two) == []
    two.excluded.write_bytes(b"")
    with pytest.raises(CoopError, match=r"excluded\.jsonl"):
        diff(one, two)
