from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline.importers import aya
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput

GOOD = {"inputs": "¿Qué?", "targets": "Eso.", "language": "Spanish", "language_code": "spa", "annotation_type": "original-annotations", "user_id": "f" * 64}


def line(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(row + b"\n" for row in lines))
    return path


def test_the_columns_of_aya_become_a_draft(tmp_path: Path) -> None:
    [draft] = aya.read(write(tmp_path / "f.jsonl", line()))
    assert (draft.inputs, draft.targets, draft.language, draft.user_id, draft.line) == ("¿Qué?", "Eso.", "spa", "f" * 64, 1)
    assert (draft.record_id, draft.parents, draft.licence, draft.written_at) == (None, (), "NOASSERTION", None)


def test_optional_and_foreign_columns_are_mapped_or_ignored(tmp_path: Path) -> None:
    edit = line(
        record_id="e",
        parent_id="o",
        annotation_type="re-annotations",
        licence="CC-BY-4.0",
        created_at="2017-02-01T21:03:46+08:00",
        coauthor_ids=["x"],
        edit_distance=3,
        superseded=False,
    )
    drafts = aya.read(write(tmp_path / "f.jsonl", edit, line(record_id="o", parent_id=None)), licence="Apache-2.0")
    assert drafts[0].parents == ("o",)
    assert drafts[0].written_at == "2017-02-01T13:03:46Z"
    assert [draft.licence for draft in drafts] == ["CC-BY-4.0", "Apache-2.0"]


def test_a_byte_order_mark_windows_line_ends_and_a_missing_last_line_end_are_no_errors(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_bytes(b"\xef\xbb\xbf" + line() + b"\r\n" + line())
    assert len(aya.read(tmp_path / "f.jsonl")) == 2


BAD = {
    "broken JSON": (b'{"inputs": "x", ', "broken JSON"),
    "an empty line": (b"", "broken JSON"),
    "no object": (b"[1]", "not a JSON object"),
    "invalid UTF-8": (line(inputs="x").replace(b'"x"', b'"\xff\xfe"'), "invalid UTF-8 at byte"),
    "overlong UTF-8": (line(inputs="x").replace(b'"x"', b'"\xc0\xaf"'), "invalid UTF-8 at byte"),
    "an unknown language": (line(language_code="english"), "unknown language code.*did you mean eng"),
    "an empty completion": (line(targets=""), "targets is empty"),
    "a blank prompt": (line(inputs=" \u200b\n"), "inputs is empty"),
    "a long text": (line(targets="x" * 100_001), "targets is too long"),
    "a lone surrogate": (line(inputs="x").replace(b'"x"', b'"\\ud800"'), "lone surrogate"),
    "NUL": (line(inputs="a\0b"), "NUL at character 1"),
    "a terminal escape": (line(inputs="a\x1b]0;x"), "control character"),
    "a number for a text": (line(inputs=5), "inputs is of the wrong type"),
    "a null text": (line(targets=None), "targets is of the wrong type"),
    "a missing column": (json.dumps({"inputs": "a", "target": "b", "language_code": "spa"}).encode(), "targets is missing.*target"),
    "parents that are no list": (line(parents=5), "parents is of the wrong type"),
    "parents that are no texts": (line(parents=[1]), "parents is of the wrong type"),
    "an unknown parent": (line(parent_id="nobody"), "unknown parent"),
    "an unknown kind": (line(annotation_type="synthetic"), "annotation_type"),
    "a key twice": (b'{"inputs": "a", "inputs": "b", "targets": "c", "language_code": "spa"}', "a key stands twice"),
    "NaN": (line(edit_distance=float("nan")), "not a JSON number"),
    "deep nesting": (b"[" * 200_000, "broken JSON"),
    "a huge integer": (line(n=1).replace(b'"n": 1', b'"n": ' + b"9" * 5000), "broken JSON"),
    "a time without a zone": (line(created_at="2026-01-01T00:00:00"), "created_at"),
    "a time before time": (line(created_at="0001-01-01T00:00:00+14:00"), "created_at"),
    "an id with blanks": (line(record_id="a b"), "record_id is not an identifier"),
    "a licence in prose": (line(licence="do what you like"), "SPDX"),
}


@pytest.mark.parametrize("name", BAD)
def test_every_bad_line_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    raw, why = BAD[name]
    path = write(tmp_path / "f.jsonl", line(), raw, line())
    with pytest.raises(BadInput, match=rf"f\.jsonl:2: .*{why}"):
        aya.read(path)


def test_a_duplicate_id_is_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"f\.jsonl:3: duplicate record id .*line 1"):
        aya.read(write(tmp_path / "f.jsonl", line(record_id="r"), line(), line(record_id="r")))


def test_an_id_that_is_already_in_the_store_is_refused(tmp_path: Path, store: ContributionStore) -> None:
    path = write(tmp_path / "f.jsonl", line(), line(record_id="r"))
    batch = store.add_batch("ana", aya.read(path, store=store, member="ana"))
    assert store.add_batch("ana", aya.read(path, store=store, member="ana")) == batch
    with pytest.raises(BadInput, match=r"f\.jsonl:2: duplicate record id: already in the store"):
        aya.read(path, store=store, member="ben")
    store.seal(batch.batch, sha256(b"s"))
    with pytest.raises(BadInput, match=r"f\.jsonl:2: duplicate record id: already in the store"):
        aya.read(path, store=store, member="ana")


def test_a_parent_may_stand_in_the_store(tmp_path: Path, store: ContributionStore) -> None:
    store.add_batch("ana", aya.read(write(tmp_path / "f.jsonl", line(record_id="o"))))
    assert aya.read(write(tmp_path / "g.jsonl", line(parent_id="o")), store=store)[0].parents == ("o",)


def test_all_errors_up_to_twenty_are_listed_and_nothing_is_imported(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", line(targets=""), *[line()] * 3, b"{", line(language_code="xx"))
    with pytest.raises(BadInput) as caught:
        aya.read(path)
    assert [part in str(caught.value) for part in (":1:", ":5:", ":6:", "3 errors", "nothing was imported")] == [True] * 5
    with pytest.raises(BadInput) as caught:
        aya.read(write(path, *[b"{"] * 100))
    assert str(caught.value).count("broken JSON") == 20
    assert "reading stopped there" in str(caught.value)


def test_hostile_text_cannot_write_to_the_terminal_through_the_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        aya.read(write(tmp_path / "f.jsonl", json.dumps({**GOOD, "language_code": "\x1b[2J\u202e\n"}, ensure_ascii=False).encode()))
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


def test_a_10_mb_text_is_refused_without_being_held(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", line(), line(inputs="x" * 10_000_000), line(targets=""))
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"f\.jsonl:2: the line is too long") as caught:
        aya.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "f.jsonl:3: targets is empty" in str(caught.value)
    assert peak < 6_000_000


def test_a_text_of_the_allowed_size_is_read_however_it_is_escaped(tmp_path: Path) -> None:
    escaped = ("\\u0041" * 100_000).encode()
    path = write(tmp_path / "f.jsonl", line(inputs="x").replace(b'"x"', b'"' + escaped + b'"'))
    assert aya.read(path)[0].inputs == "A" * 100_000


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        aya.read(tmp_path / "missing.jsonl")
    with pytest.raises(BadInput, match="no lines"):
        aya.read(write(tmp_path / "empty.jsonl"))
    with pytest.raises(BadInput, match="cannot be read"):
        aya.read(tmp_path)


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    path, seen = write(tmp_path / "f.jsonl", *[line()] * 2500), []
    aya.read(path, progress=lambda label, done, total: seen.append((done, total)))
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=60), st.builds(line, inputs=st.one_of(st.text(), st.integers(), st.none()), record_id=st.text(max_size=3))), max_size=6
    )
)
def test_any_bytes_at_all_end_in_drafts_or_in_one_error(tmp_path: Path, lines: list[bytes]) -> None:
    path = write(tmp_path / "f.jsonl", *lines)
    try:
        drafts = aya.read(path)
    except BadInput:
        return
    assert len(drafts) == path.read_bytes().count(b"\n") > 0
