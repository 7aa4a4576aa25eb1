from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.task_data import describe_file, read_questions
from governance_hooks.errors import BadInput
from governance_hooks.tasks import Kind

XCOPA = {
    "id": "xcopa-et-val-0", "language": "et", "split": "val", "premise": "Mees keeras kraani lahti.", "question": "effect", "choices": ["Tualett täitus veega.", "Tilast voolas vett."],
    "label": 1, "changed": False, "source": "cambridgeltl/xcopa", "source_commit": "e2e9", "licence": "CC-BY-4.0",
}  # fmt: skip


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode()) + b"\n" for row in rows))
    return path


def test_xcopa_and_mgsm_are_read_as_they_are_published(tmp_path: Path) -> None:
    [[one], _] = read_questions(write(tmp_path / "x.jsonl", XCOPA), "multiple_choice")
    assert (one.item, one.language, one.cluster, one.relation, one.label) == ("xcopa-et-val-0", "est", "xcopa-val-0", "effect", 1)
    mgsm = {
        "id": "mgsm-bn-0",
        "language": "bn",
        "split": "test",
        "question": "16?",
        "answer": "18",
        "source": "s",
        "source_commit": "4",
        "licence": "CC-BY-4.0",
    }
    [[one], _] = read_questions(write(tmp_path / "m.jsonl", mgsm), "exact_match")
    assert (one.language, one.cluster, one.answer) == ("ben", "mgsm-0", "18")


def test_a_plan_names_the_very_items(tmp_path: Path) -> None:
    rows = [XCOPA | {"id": f"xcopa-{language}-val-{i}", "language": language} for language in ("et", "it") for i in range(9)]
    path = write(tmp_path / "x.jsonl", *rows)
    whole = describe_file(path, task="x", kind="multiple_choice", languages=None, per_language=None)
    some = describe_file(path, task="x", kind="multiple_choice", languages=["ita"], per_language=4)
    assert (whole.items, some.items) == ({"est": 9, "ita": 9}, {"ita": 4})
    assert whole.sha256 == some.sha256
    assert whole.ids != some.ids
    with pytest.raises(BadInput, match="no item in fin"):
        describe_file(path, task="x", kind="multiple_choice", languages=["fin", "ita"], per_language=None)


@pytest.mark.parametrize(
    "row",
    [
        b"not json", b"[]", b'{"id":"a","id":"b","language":"et","prompt":"secret"}', b"\xff\xfe", b'{"id":"a","language":"et","prompt":NaN}',
        XCOPA | {"extra": "secret"}, XCOPA | {"label": 2}, XCOPA | {"label": True}, XCOPA | {"choices": ["secret"]}, XCOPA | {"choices": ["secret", "secret"]},
        XCOPA | {"premise": ""}, XCOPA | {"premise": "secret" * 9000}, XCOPA | {"premise": 5}, XCOPA | {"question": "secret"}, XCOPA | {"language": "xx"},
        XCOPA | {"language": "et-x-secret"}, XCOPA | {"id": "../secret"}, XCOPA | {"id": 3}, XCOPA | {"cluster": "a b"},
    ],
    ids=lambda row: "bytes" if isinstance(row, bytes) else "",
)  # fmt: skip
def test_malformed_lines_are_refused_by_number_and_never_repeated(tmp_path: Path, row: Any) -> None:
    path = write(tmp_path / "x.jsonl", XCOPA | {"id": "first"}, row)
    with pytest.raises(BadInput) as caught:
        read_questions(path, "multiple_choice")
    assert "secret" not in str(caught.value)
    assert "line 2" in str(caught.value) or "language" in str(caught.value)


def test_an_item_given_twice_an_empty_file_and_one_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="stands twice"):
        read_questions(write(tmp_path / "x.jsonl", XCOPA, XCOPA), "multiple_choice")
    with pytest.raises(BadInput, match="no question"):
        read_questions(write(tmp_path / "e.jsonl"), "multiple_choice")
    monkeypatch.setattr("data_pipeline.task_data.MAX_FILE_BYTES", 10)
    with pytest.raises(BadInput, match="too large"):
        read_questions(tmp_path / "x.jsonl", "multiple_choice")


@pytest.mark.parametrize("kind", ["exact_match", "open", "unsafe_compliance"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(BadInput, match="keys are not those of kind"):
        read_questions(write(tmp_path / "x.jsonl", XCOPA), kind)
