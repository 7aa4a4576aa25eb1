from __future__ import annotations

import json
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_pipeline.chat import TemplateError
from data_pipeline.manifest import Build
from data_pipeline.reader import rows
from data_pipeline.tokens.arrow import ArrowWriter
from data_pipeline.tokens.counts import check_too_long
from data_pipeline.tokens.description import ARROW, LEFT_OUT, TOKENS, read_tokens_file
from data_pipeline.tokens.make import make_tokens, tokens_folder
from data_pipeline.tokens.sample import Sample
from data_pipeline.tokens.tokenizer import load_tokenizer
from data_pipeline.tokens.tokens import Tokens, open_tokens
from data_pipeline.tokens.verify import verify_tokens
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.merkle import root
from governance_hooks.plan import TokenCounts

WriteBuild = Callable[..., Build]


@pytest.fixture
def build(write_build: WriteBuild) -> Build:
    return write_build()


@pytest.fixture
def tokens(build: Build, base: Path) -> Tokens:
    return make_tokens(build, base, sequence_tokens=256)


def sample(record: str, length: int = 5, *, start: int = 2, stop: int | None = None, split: Any = "train", language: str = "spa") -> Sample:
    return Sample(record, language, split, np.arange(10, 10 + length, dtype=np.uint16), start, length if stop is None else stop)


def forge(folder: Path, made: list[Sample], **changes: Any) -> Path:
    """Write an artefact whose digests are all right, of samples nobody tokenised."""
    folder.mkdir()
    (folder / LEFT_OUT).write_bytes(b"")
    with ArrowWriter(folder / ARROW, 300) as arrow:
        for one in made:
            arrow.append(one)
    counts: dict[str, dict[str, Counter[str]]] = {}
    for one in made:
        sides = counts.setdefault(one.language, {"train": Counter(), "heldout": Counter()})
        sides.setdefault(one.split, Counter()).update(rows=1, tokens=len(one.ids), supervised=max(one.supervised, 0))
    empty = {"rows": 0, "tokens": 0, "supervised": 0, "too_long": 0}
    description = {
        "recipe": {
            "build": digest("b"),
            "tokenizer": digest("t"),
            "rules": ["learn_last_answer/v1"],
            "sequence_tokens": 64,
            "canaries": None,
            "minimum_rating_gap": None,
        },
        "template": digest("template"),
        "vocabulary": 300,
        "languages": {code: {side: empty | dict(sides[side]) for side in ("train", "heldout")} for code, sides in counts.items()},
        "samples": len(made),
        "root": "sha256:" + root([one.leaf() for one in made]).hex(),
        "left_out": sha256(b""),
        "pairs": None,
    } | changes
    head = {
        "format": "coop.tokens/v1",
        "digest": digest(description),
        "description": description,
        "arrow": {"sha256": sha256((folder / ARROW).read_bytes()), "size": (folder / ARROW).stat().st_size, "writer": "a test"},
        "libraries": {},
    }
    (folder / TOKENS).write_bytes(dumps(head))
    return folder


def test_what_is_learned_decodes_to_the_answer_and_its_end_and_nothing_else_is(tokens: Tokens, build: Build, base: Path) -> None:
    tokenizer = load_tokenizer(base)
    for split, samples in (("train", tokens.train), ("heldout", tokens.heldout)):
        texts = {row.record: row for row in rows(build, split)}  # type: ignore[arg-type]
        assert [one.record for one in samples] == sorted(texts)
        for one in samples:
            ids = one.ids.tolist()
            assert tokenizer.decode(ids[one.start : one.stop]) == texts[one.record].targets + "<|im_end|>"
            assert tokenizer.decode(ids[: one.start]).endswith(f"{texts[one.record].inputs}<|im_end|>\n<|im_start|>assistant\n")
            assert ids[one.stop - 1] == tokenizer.eos_token_id
            assert tokenizer.decode(ids[one.stop :]) == "\n"


def test_two_builds_of_the_artefact_are_equal_byte_for_byte_whatever_the_processes(build: Build, base: Path, tokens: Tokens, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in tokens.folder.iterdir()}
    shutil.rmtree(tokens.folder)
    again = make_tokens(build, base, sequence_tokens=256, processes=2)
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == first
    assert again.digest == tokens.digest


def test_an_artefact_that_is_there_is_opened_and_not_made_again(build: Build, base: Path, tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_pipeline.tokens.make._write", lambda *_: pytest.fail("made again"))
    assert make_tokens(build, base, sequence_tokens=256, expected=tokens.digest).digest == tokens.digest
    with pytest.raises(BadInput, match="not those of the plan"):
        make_tokens(build, base, sequence_tokens=256, expected=digest("another"))


def test_another_length_tokenizer_or_build_is_another_artefact(build: Build, base: Path, tokens: Tokens, tmp_path: Path, write_build: WriteBuild) -> None:
    other_base = Path(shutil.copytree(base, tmp_path / "base"))
    (other_base / "chat_template.jinja").write_bytes((base / "chat_template.jinja").read_bytes() + b"{# another #}")
    weights = Path(shutil.copytree(base, tmp_path / "weights"))
    with (weights / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    made = [
        make_tokens(build, base, sequence_tokens=128),
        make_tokens(build, other_base, sequence_tokens=256),
        make_tokens(write_build("other", rows=43), base, sequence_tokens=256),
    ]
    assert len({one.digest for one in [tokens, *made]}) == 4
    assert len({one.folder for one in [tokens, *made]}) == 4
    assert make_tokens(build, weights, sequence_tokens=256).folder == tokens.folder


def test_rows_that_do_not_fit_are_counted_named_and_never_cut(write_build: WriteBuild, base: Path) -> None:
    build = write_build(rows=14, long_rows=3)
    found = make_tokens(build, base, sequence_tokens=128)
    out = list(found.left_out())
    assert sorted(row.record for row in out) == ["long-0", "long-1", "long-2"]
    assert all(row.tokens > 128 for row in out)
    assert sum(both.train.too_long + both.heldout.too_long for both in found.description.languages.values()) == 3
    assert max(len(one.ids) for one in found.train) <= 128
    assert verify_tokens(found, build, base) == 17


def test_more_rows_left_out_than_voted_fail_the_build_and_leave_nothing(write_build: WriteBuild, base: Path) -> None:
    build = write_build(rows=14, long_rows=30)
    with pytest.raises(BadInput, match=r"training rows in 'eus' are longer"):
        make_tokens(build, base, sequence_tokens=128, max_too_long=0.5)
    parent = build.folder.parent / "build.tokens"
    assert [path.name for path in parent.iterdir()] == ["lock"]
    kept = make_tokens(build, base, sequence_tokens=128)
    with pytest.raises(BadInput, match=r"training rows in 'eus' are longer"):  # the cap holds for one that was made without
        make_tokens(build, base, sequence_tokens=128, max_too_long=0.5)
    assert kept.folder.is_dir()


def test_the_cap_is_of_each_language() -> None:
    def counts(rows: int, too_long: int) -> TokenCounts:
        return TokenCounts(rows=rows, tokens=rows, supervised=rows, too_long=too_long)

    check_too_long({"spa": counts(95, 5), "eus": counts(4, 1)}, 0.2, 64)
    with pytest.raises(BadInput, match="1 of 5 training rows in 'eus'"):
        check_too_long({"spa": counts(95, 5), "eus": counts(4, 1)}, 0.1, 64)
    with pytest.raises(BadInput, match="'eus'"):
        check_too_long({"eus": counts(0, 1)}, 0.99, 64)
    with pytest.raises(BadInput, match="no training row is left"):
        check_too_long({"eus": counts(0, 1)}, 1.0, 64)


def test_tokens_are_private_and_lie_beside_the_build(tokens: Tokens, build: Build) -> None:
    assert tokens.folder == tokens_folder(build, tokens.description.recipe)
    assert tokens.folder.parent.parent == build.folder.parent
    for name in (ARROW, LEFT_OUT):
        assert stat.S_IMODE((tokens.folder / name).stat().st_mode) == 0o600


def test_texts_of_a_killed_maker_are_cleared_away(build: Build, base: Path) -> None:
    left = build.folder.parent / "build.tokens" / ".tmp-dead"
    left.mkdir(parents=True)
    (left / ARROW).write_bytes(b"texts")
    make_tokens(build, base, sequence_tokens=256)
    assert not left.exists()


@pytest.mark.parametrize("name", [ARROW, LEFT_OUT, TOKENS])
def test_one_flipped_bit_in_any_file_is_found(write_build: WriteBuild, base: Path, name: str) -> None:
    build = write_build(rows=14, long_rows=1)
    found = make_tokens(build, base, sequence_tokens=128)
    path = found.folder / name
    data = path.read_bytes()
    # The versions of libraries in tokens.json are told, and prove nothing: they stand outside of the description.
    told = {data.index(version) + n for version in (b'"pyarrow ', b'"libraries"') if version in data for n in range(100)} if name == TOKENS else set()
    for place in sorted({*range(0, len(data), max(1, len(data) // 40))} - told):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(CoopError):
            open_tokens(found.folder, expected=found.digest)
    path.write_bytes(data)
    assert open_tokens(found.folder, expected=found.digest).digest == found.digest
    path.unlink()
    with pytest.raises(CoopError):
        open_tokens(found.folder)


def test_the_identity_does_not_depend_on_the_bytes_of_the_arrow_file(tokens: Tokens) -> None:
    path, before = tokens.folder / ARROW, [one.leaf() for one in tokens.train]
    with pa.ipc.open_file(path) as file:
        table = file.read_all()
        schema = file.schema
    with pa.ipc.new_file(path, schema) as file:
        file.write_table(table, max_chunksize=5)
    head = json.loads((tokens.folder / TOKENS).read_bytes())
    head["arrow"] |= {"sha256": sha256(path.read_bytes()), "size": path.stat().st_size}
    (tokens.folder / TOKENS).write_bytes(dumps(head))
    again = open_tokens(tokens.folder, expected=tokens.digest)
    assert [one.leaf() for one in again.train] == before


def test_a_file_changed_while_it_is_mapped_is_noticed_at_the_sample(tokens: Tokens) -> None:
    path = tokens.folder / ARROW
    victim = tokens.train[3]
    data = path.read_bytes()
    place = data.index(victim.ids.tobytes())
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes([data[place] ^ 1]))
    with pytest.raises(CoopError, match="changed while it was open"):
        _ = tokens.train[3]
    assert len(tokens.train[:3]) == 3
    with path.open("r+b") as file:  # nothing in it may lead a reader outside of it
        file.write(bytes(range(255, -1, -1)) * (len(data) // 256))
    for number in range(len(tokens.train)):
        with pytest.raises(CoopError, match="changed while it was open"):
            _ = tokens.train[number]


@pytest.mark.parametrize(
    ("samples", "changes", "why"),
    [
        ([sample("a", start=0)], {}, "loss mask of text a is broken"),
        ([sample("a", start=3, stop=3)], {}, "loss mask"),
        ([sample("a", start=3, stop=6)], {}, "loss mask"),
        ([sample("a"), sample("a")], {}, "stands twice"),
        ([sample("b"), sample("a")], {}, "out of order"),
        ([sample("a", split="heldout"), sample("b")], {}, "out of order"),
        ([sample("a", split="test")], {}, "out of order"),
        ([sample("a")], {"root": digest("another")}, "Merkle root"),
        ([sample("a")], {"samples": 2}, "Merkle root"),
        ([sample("a")], {"languages": {}}, "counts other samples"),
        ([sample("a")], {"left_out": digest("another")}, "left_out"),
        ([sample("a")], {"vocabulary": 1 << 17}, "unknown columns"),
        ([sample("a")], {"extra": 1}, "unknown field"),
    ],
)
def test_an_artefact_with_right_digests_and_wrong_samples_is_refused(tmp_path: Path, samples: list[Sample], changes: dict[str, Any], why: str) -> None:
    open_tokens(forge(tmp_path / "sound", [sample("a"), sample("b"), sample("a", split="heldout")]))
    with pytest.raises(CoopError, match=why):
        open_tokens(forge(tmp_path / "forged", samples, **changes))


def test_a_digest_that_is_not_the_description_s_is_refused(tokens: Tokens) -> None:
    path = tokens.folder / TOKENS
    head = json.loads(path.read_bytes())
    path.write_bytes(dumps(head | {"digest": digest("another")}))
    with pytest.raises(CoopError, match="not that of the description"):
        read_tokens_file(tokens.folder)


def test_verification_finds_other_tokens_missing_and_added_rows(tokens: Tokens, build: Build, base: Path, write_build: WriteBuild, tmp_path: Path) -> None:
    assert verify_tokens(tokens, build, base) == build.manifest["records"]
    few = verify_tokens(tokens, build, base, permille=300)
    assert 0 < few < build.manifest["records"]
    recipe = tokens.description.recipe.model_dump()
    real = [*tokens.train, *tokens.heldout]

    def forged(name: str, samples: list[Sample]) -> Tokens:
        return open_tokens(forge(tmp_path / name, samples, recipe=recipe))

    def changed(one: Sample) -> Sample:
        ids = one.ids.copy()
        ids[one.start] += 1
        return Sample(one.record, one.language, one.split, ids, one.start, one.stop)

    def masked(one: Sample) -> Sample:
        return Sample(one.record, one.language, one.split, one.ids, one.start - 1, one.stop)

    with pytest.raises(CoopError, match=f"text {real[4].record} has other tokens"):
        verify_tokens(forged("changed", [*real[:4], changed(real[4]), *real[5:]]), build, base)
    with pytest.raises(CoopError, match=f"text {real[0].record} has other tokens"):
        verify_tokens(forged("masked", [masked(real[0]), *real[1:]]), build, base)
    with pytest.raises(CoopError, match=f"text {real[2].record} of the dataset is not in the tokens"):
        verify_tokens(forged("missing", [*real[:2], *real[3:]]), build, base)
    with pytest.raises(CoopError, match="a text that is not in the dataset"):
        verify_tokens(forged("added", [*real, sample("zzz", split="heldout")]), build, base)
    with pytest.raises(BadInput, match="not made from this dataset"):
        verify_tokens(tokens, write_build("other", rows=8), base)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_template_that_changes_one_row_gives_no_tokens_and_says_so(build: Build, base: Path, tmp_path: Path, processes: int) -> None:
    rude = Path(shutil.copytree(base, tmp_path / "rude"))
    template = (base / "chat_template.jinja").read_text(encoding="utf-8")
    (rude / "chat_template.jinja").write_text(template.replace("message['content']", "message['content'].replace('Ordu', 'ordu')"), encoding="utf-8")
    with pytest.raises(TemplateError, match="changes the contents") as caught:
        make_tokens(build, rude, sequence_tokens=256, processes=processes)
    assert str(caught.value.value).startswith("Zer ordu da?")
    assert [entry.name for entry in (build.folder.parent / "build.tokens").iterdir()] == ["lock"]


def test_a_build_whose_rows_were_swapped_gives_no_tokens(build: Build, base: Path) -> None:
    path = build.folder / "records.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    with pytest.raises(CoopError):
        make_tokens(build, base, sequence_tokens=256)
    assert [entry.name for entry in (build.folder.parent / "build.tokens").iterdir()] == ["lock"]


def test_a_large_vocabulary_takes_four_bytes_a_token_and_the_same_leaf(tmp_path: Path) -> None:
    for vocabulary in (300, 1 << 16, (1 << 16) + 1):
        path = tmp_path / f"{vocabulary}.arrow"
        with ArrowWriter(path, vocabulary) as arrow:
            arrow.append(sample("a"))
        with pa.ipc.open_file(path) as file:
            found = file.read_all()["ids"].chunk(0)
            assert found.type.value_type == (pa.uint16() if vocabulary <= 1 << 16 else pa.uint32())
    wide = sample("a")
    assert Sample(wide.record, wide.language, wide.split, wide.ids.astype(np.uint32), wide.start, wide.stop).leaf() == wide.leaf()
