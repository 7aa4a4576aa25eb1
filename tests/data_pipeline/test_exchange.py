"""What is exported in any format is read back as it was."""

from __future__ import annotations

import csv
import gzip
import json
import stat
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline.exporters.writing import EXPORTS, write
from data_pipeline.importers.delimited import GUARDED
from data_pipeline.importers.formats import FORMATS
from data_pipeline.importers.reading import read
from data_pipeline.importers.rows import How
from data_pipeline.record import Draft, problems
from governance_hooks.errors import BadInput

LOSSLESS = ["aya", "jsonl", "csv", "parquet", "datasets", "argilla"]

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.sampled_from(
        ["=1+1", "+1", "-1", "@SUM(A1)", "'=quoted", "\tx", '"', 'a,"b"\r\nc;d', "\r\nx", "＝1", "[]", "null", "a\u2028b\u0085c", "नमस्ते", "\u2067שלום\u2069"]
    ),
).filter(lambda text: not problems(Draft(text, "x", "eng")))
IDS = st.text("abcXYZ019._:-", min_size=1, max_size=6).map(lambda text: "r" + text)
LANGUAGES = st.sampled_from([("spa", ""), ("hin", "hi-Latn"), ("zho", "zh-Hant-TW"), ("yue", ""), ("por", "pt-BR")])


@st.composite
def drafts(draw: st.DrawFn) -> list[Draft]:
    made: list[Draft] = []
    for record in draw(st.lists(IDS, min_size=1, max_size=5, unique=True)):
        language, tag = draw(LANGUAGES)
        parents = tuple(draw(st.lists(st.sampled_from([other.record_id for other in made]), max_size=2, unique=True))) if made else ()
        made.append(
            Draft(
                draw(TEXTS),
                draw(TEXTS),
                language,
                tag=tag,
                annotation_type=draw(st.sampled_from(["original-annotations", "re-annotations"])),
                user_id=draw(st.sampled_from([None, "u-1", "=cmd"])),
                parents=parents,
                licence=draw(st.sampled_from(["NOASSERTION", "CC-BY-4.0"])),
                record_id=record,
                written_at=draw(st.sampled_from([None, "2026-01-02T03:04:05Z"])),
                history=tuple(draw(st.lists(st.tuples(TEXTS, TEXTS), max_size=2))),
            )
        )
    return made


def unlined(found: list[Draft]) -> list[Draft]:
    return [replace(draft, line=0) for draft in found]


EVERY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=40)


@pytest.mark.parametrize("name", LOSSLESS)
@EVERY
@given(drafts())
def test_every_field_of_every_draft_comes_back(tmp_path_factory: pytest.TempPathFactory, name: str, made: list[Draft]) -> None:
    path = tmp_path_factory.mktemp("out") / "file"
    assert write(path, made, format=name) == {}
    assert unlined(read(path, format=name).drafts) == made


@st.composite
def conversations(draw: st.DrawFn) -> list[Draft]:
    """Records that continue one another, beside some that stand alone with a history nobody else's record is."""
    made: list[Draft] = []
    for record in draw(st.lists(IDS, min_size=1, max_size=6, unique=True)):
        language, tag = draw(LANGUAGES)
        before = draw(st.sampled_from([None, *made]))
        history = (*before.history, (before.inputs, before.targets)) if before else tuple(draw(st.lists(st.tuples(TEXTS, TEXTS), max_size=2)))
        parents = (str(before.record_id),) if before else ()
        made.append(
            Draft(draw(TEXTS), draw(TEXTS), language, tag=tag, history=history, parents=parents, record_id=record, user_id=draw(st.sampled_from([None, "u"])))
        )
    return made


@EVERY
@given(conversations())
def test_conversations_come_back_from_trees_whatever_their_shape(tmp_path_factory: pytest.TempPathFactory, made: list[Draft]) -> None:
    path = tmp_path_factory.mktemp("out") / "trees"
    assert write(path, made, format="oasst") == {}
    found = {draft.record_id: draft for draft in unlined(read(path, format="oasst").drafts)}
    assert found == {draft.record_id: draft for draft in made}


def test_what_trees_have_no_place_for_is_said(tmp_path: Path) -> None:
    made = [
        Draft("q", "a", "eng", record_id="r1", licence="CC-BY-4.0"),
        Draft("q", "b", "eng", record_id="r2", parents=("r1",), annotation_type="re-annotations"),
    ]
    assert write(tmp_path / "t", made, format="oasst") == {"licences": 1, "parents a text is an edit of": 1, "kinds of text": 1}


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_is_found_from_the_contents_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / ("mine.csv" if name == "csv" else "mine")
    made = [Draft("q", "a", "eng", record_id="r1")]
    write(path, made, format=name)
    found = read(path)
    assert found.format in (name, {"jsonl": "aya", "aya": "jsonl"}.get(name))
    assert unlined(found.drafts) == made


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    texts = [f"{start}cmd|' /C calc'!A0" for start in GUARDED]
    write(tmp_path / "f.csv", [Draft(text + "x", text + "x", "eng", record_id=f"r{n}") for n, text in enumerate(texts)], format="csv")
    with (tmp_path / "f.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple(start for start in GUARDED if start != "'"))]
    assert [draft.inputs for draft in read(tmp_path / "f.csv").drafts] == [text + "x" for text in texts]


def test_datasets_itself_loads_the_folder_we_write_and_we_read_the_one_it_writes(tmp_path: Path) -> None:
    import datasets

    made = [Draft("q", "a", "eng", record_id="r1", history=(("before", "yes"),)), Draft("q2", "a2", "hin", tag="hi-Latn", record_id="r2", parents=("r1",))]
    write(tmp_path / "ours", made, format="datasets")
    loaded = datasets.load_from_disk(str(tmp_path / "ours"))
    assert loaded[0]["history"] == [["before", "yes"]]
    loaded.save_to_disk(str(tmp_path / "theirs"))
    datasets.DatasetDict({"train": loaded.select([0]), "test": loaded.select([1])}).save_to_disk(str(tmp_path / "both"))
    assert unlined(read(tmp_path / "theirs").drafts) == unlined(read(tmp_path / "both").drafts) == made


def test_an_export_is_for_its_owner_alone_and_replaces_nothing(tmp_path: Path) -> None:
    made = [Draft("q", "a", "eng", record_id="r1")]
    for name in (*EXPORTS, "datasets"):
        write(tmp_path / name, made, format=name)
        files = list((tmp_path / name).iterdir()) if name == "datasets" else [tmp_path / name]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        with pytest.raises(BadInput, match="exists already"):
            write(tmp_path / name, made, format=name)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken():
        yield Draft("q", "a", "eng", record_id="r1")
        raise BadInput("the store was closed")

    for name in (*EXPORTS, "datasets"):
        with pytest.raises(BadInput, match="was closed"):
            write(tmp_path / name, broken(), format=name)
    assert list(tmp_path.iterdir()) == []


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def message(identifier: str, role: str, text: str, *replies: object, **more: object) -> dict[str, object]:
    return {"message_id": identifier, "role": role, "text": text, "lang": "en", "replies": list(replies), **more}


def test_a_tree_gives_each_answer_with_its_path_and_says_what_it_left_out(tmp_path: Path) -> None:
    labels = {"quality": {"value": 0.75, "count": 3}}
    tree = message(
        "p1",
        "prompter",
        "Hi",
        message("a1", "assistant", "Hello.", message("p2", "prompter", "And?", message("a2", "assistant", "So.")), labels=labels, rank=0, user_id="u1"),
        message("a3", "assistant", "Bad.", message("p3", "prompter", "Why?", message("a4", "assistant", "Sorry.")), review_result=False),
        message("a5", "assistant", "gone", message("p4", "prompter", "?"), deleted=True),
        message("a6", "assistant", "As a language model", synthetic=True, model_name="x"),
    )
    path = tmp_path / "trees.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"message_tree_id": "p1", "tree_state": "ready_for_export", "prompt": tree}).encode()))
    found = read(path)
    assert found.format == "oasst"
    assert {d.record_id: (d.history, d.inputs, d.targets, d.parents, d.user_id) for d in found.drafts} == {
        "a1": ((), "Hi", "Hello.", (), "u1"),
        "a2": ((("Hi", "Hello."),), "And?", "So.", ("a1",), None),
        "a4": ((("Hi", "Bad."),), "Why?", "Sorry.", (), None),
    }
    assert {what: count for what, count in found.left_out.items() if count} == {
        "labels of messages": 1,
        "rank of messages": 1,
        "answers that failed their review": 1,
        "messages that are deleted or written by a model, with their replies": 2,
    }


def test_argilla_responses_of_several_users_are_records_of_their_own(tmp_path: Path) -> None:
    records = [
        {
            "id": "x1",
            "fields": {"prompt": "Why?"},
            "metadata": {"language": "Spanish"},
            "suggestions": {"answer": {"value": "model says", "score": 0.9, "agent": "m"}},
            "responses": {"answer": [{"value": "Because.", "user_id": "u1"}, {"value": "So.", "user_id": "u2"}], "rating": [{"value": 4, "user_id": "u1"}]},
            "vectors": {},
            "status": "completed",
            "_server_id": "s",
        },
        {"id": "x2", "fields": {"prompt": "Who?"}, "metadata": {"language": "Spanish"}, "responses": {"answer": []}, "suggestions": None},
    ]
    (tmp_path / "a.json").write_text(json.dumps(records, indent=1))
    found = read(tmp_path / "a.json")
    assert [(d.record_id, d.inputs, d.targets, d.user_id, d.language) for d in found.drafts] == [
        ("x1-1", "Why?", "Because.", "u1", "spa"),
        ("x1-2", "Why?", "So.", "u2", "spa"),
    ]
    assert {what: count for what, count in found.left_out.items() if count} == {
        "suggestions, which are a model's words": 1,
        "responses no column names": 1,
        "records nobody answered": 1,
    }
    assert unlined(read(lines(tmp_path / "a.jsonl", *records)).drafts) == unlined(found.drafts)


def test_columns_are_mapped_and_a_wrong_name_is_met_with_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("question;reply;n\nWhy?;Because.;1\n", encoding="utf-8-sig")
    how = How(columns={"inputs": "question", "targets": "reply"}, language="sw")
    [draft] = read(path, how=how).drafts
    assert (draft.inputs, draft.targets, draft.language, draft.line) == ("Why?", "Because.", "swa", 2)
    with pytest.raises(BadInput, match=r"s\.csv:1: inputs is missing.*--columns inputs="):
        read(path, how=How(language="sw"))
    with pytest.raises(BadInput, match=r"question is missing|questoin is missing .*question"):
        read(path, how=How(columns={"inputs": "questoin", "targets": "reply"}, language="sw"))
    with pytest.raises(BadInput, match=r"language_code is missing.*--language TAG"):
        read(path, how=How(columns={"inputs": "question", "targets": "reply"}))
    with pytest.raises(BadInput, match="did you mean inputs"):
        read(path, how=How(columns={"input": "question"}))
    with pytest.raises(BadInput, match="one column stands for two"):
        read(path, how=How(columns={"inputs": "question", "targets": "question"}))
    with pytest.raises(BadInput, match="--language: unknown language tag"):
        read(path, how=How(language="Swahilli"))


def test_a_conversation_in_chat_form_is_read_and_one_out_of_turn_refused(tmp_path: Path) -> None:
    talk = [{"role": role, "content": text} for role, text in (("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"))]
    [draft] = read(lines(tmp_path / "t.jsonl", {"messages": talk, "language_code": "en-GB"})).drafts
    assert (draft.history, draft.inputs, draft.targets, draft.tag) == ((("1", "2"),), "3", "4", "en-GB")
    system = {"role": "system", "content": "be nice"}
    for bad, why in (
        (talk[:3], "does not end with an answer"),
        ([system, *talk], "message 1 is out of turn"),
        ([*talk, talk[3]], "message 5 is out of turn"),
        ([], "does not end"),
        (["x"], "has no text"),
    ):
        with pytest.raises(BadInput, match=why):
            read(lines(tmp_path / "t.jsonl", {"messages": bad, "language_code": "eng"}))


def test_lines_packed_with_zstd_are_read(tmp_path: Path) -> None:
    text = json.dumps({"inputs": "a", "targets": "b", "language_code": "eng"}).encode()
    (tmp_path / "x.jsonl.zst").write_bytes(pa.Codec("zstd").compress(text, asbytes=True))
    assert len(read(tmp_path / "x.jsonl.zst").drafts) == 1


def test_csv_lines_are_counted_as_an_editor_shows_them(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('inputs,targets,language_code\n"two\nlines",b,eng\n\nc,,eng\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"s\.csv:5: targets is empty"):
        read(tmp_path / "s.csv")


def test_argilla_lists_are_split_wherever_a_piece_of_the_file_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tricky = [
        {"id": f"r{n}", "fields": {"prompt": text, "response": "b"}, "metadata": {"language_code": "eng"}}
        for n, text in enumerate(['\\"],[{', "\\\\", "]}", "é,", '"'])
    ]
    (tmp_path / "a.json").write_text(json.dumps(tricky))
    whole = read(tmp_path / "a.json").drafts
    assert [draft.inputs for draft in whole] == [row["fields"]["prompt"] for row in tricky]  # type: ignore[index] # our own rows
    for size in range(1, 40):
        monkeypatch.setattr("data_pipeline.importers.json_text._CHUNK", size)
        assert read(tmp_path / "a.json", format="argilla").drafts == whole


@given(
    st.lists(
        st.tuples(st.sampled_from(["parquet", "datasets", "csv", "argilla", "oasst", "jsonl"]), st.integers(0), st.integers(0, 255)), min_size=1, max_size=3
    )
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_changed_byte_ends_in_drafts_or_in_one_error(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int, int]]) -> None:
    name = changes[0][0]
    path = tmp_path_factory.mktemp("bytes") / "file"
    write(path, [Draft(f"q{n}", f"a{n}", "eng", record_id=f"r{n}") for n in range(3)], format=name)
    file = path / "data-00000-of-00001.arrow" if name == "datasets" else path
    data = bytearray(file.read_bytes())
    for _, at, byte in changes:
        data[at % len(data)] = byte
    file.write_bytes(data)
    refused = ""
    try:
        read(path, format=name)
    except BadInput as error:
        refused = str(error)
    assert not refused or str(path) in refused
