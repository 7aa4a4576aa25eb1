"""A hundred nasty files: each ends in one error that names the file, and the place in it, and the store holds nothing of it.

The files are made here. `CASES` is name of the case -> (name of the file, its bytes or its maker, what the error says).
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipeline.importers.reading import read
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.errors import BadInput

Maker = Callable[[Path], None]

SMALL = {"source.MAX_UNPACKED": 64 << 20, "reading.MAX_RECORDS": 2_500, "reading.MAX_TEXT": 16 << 20}
"""Limits for the tests that are not slow: the files of a case are as large as the limits ask for."""
LIMITS = dict(SMALL)

GOOD = {"inputs": "¿Qué?", "targets": "Eso.", "language_code": "spa"}


def row(**changes: object) -> bytes:
    return json.dumps(GOOD | changes, ensure_ascii=False).encode(errors="surrogatepass")


def after_good(*rows: bytes) -> bytes:
    return b"\n".join([row(), *rows, row()]) + b"\n"


def message(identifier: object, role: str, *replies: object, **more: object) -> dict[str, object]:
    return {"message_id": identifier, "role": role, "text": "words", "lang": "en", "replies": list(replies), **more}


def tree(prompt: object, **more: object) -> bytes:
    return json.dumps({"message_tree_id": "t", "prompt": prompt, **more}).encode() + b"\n"


def argilla(*records: object) -> bytes:
    return json.dumps(records).encode()


FIELDS = {"fields": {"prompt": "q", "response": "a"}, "metadata": {"language_code": "eng"}}


def table(**columns: object) -> pa.Table:
    return pa.table({"inputs": ["q"], "targets": ["a"], "language_code": ["eng"]} | columns)


def parquet(made: pa.Table, **options: object) -> Maker:
    return lambda path: pq.write_table(made, path, **options)


def cut(made: pa.Table, keep: float) -> Maker:
    def make(path: Path) -> None:
        pq.write_table(made, path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return make


def flipped(made: pa.Table, at: int) -> Maker:
    def make(path: Path) -> None:
        pq.write_table(made, path, compression="zstd")
        data = bytearray(path.read_bytes())
        data[at] ^= 0xFF
        path.write_bytes(data)

    return make


def folder(
    state: object = None, made: pa.Table | None = None, extra: dict[str, bytes] | None = None, name: str = "data.arrow", cut_to: int | None = None
) -> Maker:
    """The folder of a data set, with whatever in it."""

    def make(path: Path) -> None:
        path.mkdir()
        (path / "state.json").write_bytes(state if isinstance(state, bytes) else json.dumps(state or {"_data_files": [{"filename": name}]}).encode())
        if made is not None:
            with (path / "data.arrow").open("wb") as file, pa.ipc.new_stream(file, made.schema) as writer:
                writer.write_table(made)
            if cut_to is not None:
                (path / "data.arrow").write_bytes((path / "data.arrow").read_bytes()[:cut_to])
        for other, data in (extra or {}).items():
            (path / other).write_bytes(data)

    return make


def linked(target: str, name: str = "data.arrow") -> Maker:
    def make(path: Path) -> None:
        folder()(path)
        (path / name).symlink_to(target)

    return make


def zstd_bomb(path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        for _ in range(unpacked(1.1) >> 16):
            file.write(bytes(1 << 16))


def bad_offsets(path: Path) -> None:
    """An Arrow file whose text ends where no text is."""
    folder(made=table(inputs=["x" * 1234]))(path)
    data = (path / "data.arrow").read_bytes()
    before, honest, after = data.rpartition(bytes(4) + (1234).to_bytes(4, "little"))
    assert honest
    (path / "data.arrow").write_bytes(before + bytes(4) + (10**6).to_bytes(4, "little") + after)


def unpacked(share: float) -> int:
    """Bytes, as a share of what a file may hold."""
    return int(LIMITS["source.MAX_UNPACKED"] * share)


def sparse(share: float) -> Maker:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(row() + b"\n")
            file.truncate(unpacked(share))

    return make


def only_a_script(path: Path) -> None:
    path.mkdir()
    (path / "f.py").write_bytes(LOADER)


class Planted:
    """A pickle that would write a file if anybody loaded it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch planted-was-run",)


LOADER = b"import os\nos.system('touch planted-was-run')\n"
RLO = "\u202e"

CASES: dict[str, tuple[str, bytes | Maker, str]] = {
    # Bytes
    "an empty file": ("f.jsonl", b"", r"f\.jsonl: no lines"),
    "only a line end": ("f.jsonl", b"\n", r":1: broken JSON"),
    "only a byte order mark": ("f.jsonl", b"\xef\xbb\xbf", r":1: broken JSON"),
    "bad UTF-8": ("f.jsonl", after_good(row(inputs="x").replace(b'"x"', b'"\xff\xfe"')), r":2: invalid UTF-8 at byte"),
    "overlong UTF-8": ("f.jsonl", after_good(row(inputs="x").replace(b'"x"', b'"\xc0\xaf"')), r":2: invalid UTF-8 at byte"),
    "a surrogate in UTF-8": ("f.jsonl", after_good(row(inputs="\ud800")), r":2: invalid UTF-8 at byte"),
    "UTF-8 cut in a character": ("f.jsonl", after_good() + row(targets="é")[:-3], r":3: invalid UTF-8|:3: broken JSON"),
    "UTF-16 with a mark": ("f.jsonl", row().decode().encode("utf-16"), r":1: the text is UTF-16"),
    "UTF-16 without one": ("f.jsonl", row().decode().encode("utf-16-le"), r":1: (invalid UTF-8|broken JSON)"),
    "UTF-32": ("f.jsonl", row().decode().encode("utf-32"), r":1: the text is UTF-16|:1: invalid"),
    "Latin-1": ("f.jsonl", row().decode().encode("latin-1"), r":1: invalid UTF-8"),
    "a mark in the middle": ("f.jsonl", after_good(b"\xef\xbb\xbf\xef\xbb\xbf" + row()), r":2: broken JSON"),
    "binary": ("f.jsonl", bytes(range(256)) * 50, r":1: broken JSON.*:2: invalid UTF-8"),
    "a program": ("f.jsonl", b"\x7fELF\x02\x01\x01" + bytes(200), r":1: broken JSON"),
    "NUL bytes": ("f.jsonl", bytes(1000), r":1: broken JSON"),
    "old Mac line ends": ("f.jsonl", row() + b"\r" + row() + b"\r", r":1: broken JSON"),
    "a line that looks like a gigabyte": ("f.jsonl", sparse(0.95), r":2: the line is too long"),
    "more than a file may hold": ("f.jsonl", sparse(1.1), r"f\.jsonl holds more than \d+ MiB"),
    # JSON
    "broken JSON": ("f.jsonl", after_good(b'{"inputs": "x", '), r":2: broken JSON"),
    "a list for an object": ("f.jsonl", after_good(b"[1]"), r":2: not a JSON object"),
    "a text for an object": ("f.jsonl", after_good(b'"x"'), r":2: not a JSON object"),
    "two objects on a line": ("f.jsonl", after_good(row() + row()), r":2: broken JSON"),
    "an object over lines": ("f.jsonl", after_good(b'{\n"inputs": "a"}'), r":2: broken JSON"),
    "a comment": ("f.jsonl", after_good(b"// hello"), r":2: broken JSON"),
    "deep lists": ("f.jsonl", after_good(b'{"x":' + b"[" * 100_000), r":2: broken JSON"),
    "deep objects": ("f.jsonl", after_good(b'{"x":' * 50_000), r":2: broken JSON"),
    "a huge number": ("f.jsonl", after_good(row(n=0).replace(b'"n": 0', b'"n": ' + b"9" * 10_000)), r":2: broken JSON"),
    "NaN": ("f.jsonl", after_good(row(n=float("nan"))), r":2: not a JSON number"),
    "minus infinity": ("f.jsonl", after_good(row(n=float("-inf"))), r":2: not a JSON number"),
    "a key twice": ("f.jsonl", after_good(row()[:-1] + b', "inputs": "y"}'), r":2: a key stands twice"),
    "a key twice, one escaped": ("f.jsonl", after_good(row()[:-1] + b', "\\u0069nputs": "y"}'), r":2: a key stands twice"),
    "a key twice, far down": ("f.jsonl", after_good(row()[:-1] + b', "x": {"y": [{"a": 1, "a": 2}]}}'), r":2: a key stands twice"),
    # Texts
    "NUL": ("f.jsonl", after_good(row(inputs="a\0b")), r":2: inputs holds NUL at character 1"),
    "a terminal escape": ("f.jsonl", after_good(row(targets="\x1b]0;title\x07")), r":2: targets holds a control character"),
    "a C1 control": ("f.jsonl", after_good(row(targets="\x9b31m")), r":2: targets holds a control character"),
    "a lone surrogate": ("f.jsonl", after_good(row(inputs="x").replace(b'"x"', b'"\\udc00"')), r":2: inputs holds a lone surrogate"),
    "a right-to-left override": ("f.jsonl", after_good(row(inputs=f"abc{RLO}def")), r":2: inputs holds a direction override"),
    "a left-to-right override": ("f.jsonl", after_good(row(targets="\u202dabc\u202c")), r":2: targets holds a direction override"),
    "an isolate left open": ("f.jsonl", after_good(row(targets="\u2067abc")), r":2: targets holds a direction control without its partner"),
    "an isolate closed too often": ("f.jsonl", after_good(row(targets="\u2067a\u2069\u2069")), r":2: targets holds a direction control without"),
    "an embedding closed in another paragraph": ("f.jsonl", after_good(row(targets="\u202ba\n\u202c")), r":2: targets holds a direction control without"),
    "an empty text": ("f.jsonl", after_good(row(targets="")), r":2: targets is empty"),
    "a text nobody sees": ("f.jsonl", after_good(row(targets="\u200b\u2060\ufeff \u3000")), r":2: targets is empty"),
    "a text of tags": ("f.jsonl", after_good(row(targets="\U000e0041\U000e0042")), r":2: targets is empty"),
    "a text too long": ("f.jsonl", after_good(row(targets="x" * 100_001)), r":2: targets is too long"),
    "a text too long in bytes": ("f.jsonl", after_good(row(targets="é" * 50_001)), r":2: targets is too long"),
    "a line of ten megabytes": ("f.jsonl", after_good(row(targets="x" * 10_000_000)), r":2: the line is too long"),
    "a number for a text": ("f.jsonl", after_good(row(inputs=5)), r":2: inputs is of the wrong type"),
    "an object for a text": ("f.jsonl", after_good(row(inputs={"$ref": "#"})), r":2: inputs is of the wrong type"),
    "a null text": ("f.jsonl", after_good(row(inputs=None)), r":2: inputs is of the wrong type"),
    # Names, ids, languages
    "a path for an id": ("f.jsonl", after_good(row(record_id="../../etc/passwd")), r":2: record_id is not an identifier"),
    "an absolute path for an id": ("f.jsonl", after_good(row(record_id="/etc/passwd")), r":2: record_id is not an identifier"),
    "an override in an id": ("f.jsonl", after_good(row(record_id=f"r{RLO}1")), r":2: record_id is not an identifier"),
    "letters that look alike in an id": ("f.jsonl", after_good(row(record_id="r\u0430")), r":2: record_id is not an identifier"),
    "a line end in an id": ("f.jsonl", after_good(row(record_id="r1\n")), r":2: record_id is not an identifier"),
    "an endless id": ("f.jsonl", after_good(row(record_id="r" * 129)), r":2: record_id is not an identifier"),
    "a query for an id": ("f.jsonl", after_good(row(record_id="'; DROP TABLE records; --")), r":2: record_id is not an identifier"),
    "an address for a user": ("f.jsonl", after_good(row(user_id="a\x00b")), r":2: user_id is not printable"),
    "an override in a user": ("f.jsonl", after_good(row(user_id=f"anna{RLO}")), r":2: user_id is not printable"),
    "an id twice": ("f.jsonl", b"\n".join([row(record_id="r"), row(), row(record_id="r")]), r":3: duplicate record id .*line 1"),
    "its own parent": ("f.jsonl", after_good(row(record_id="r", parent_id="r")), r"line 2: a text is its own ancestor"),
    "parents in a circle": (
        "f.jsonl",
        b"\n".join([row(record_id="a", parent_id="b"), row(record_id="b", parent_id="c"), row(record_id="c", parent_id="a")]),
        r"line \d: a text is its own ancestor",
    ),
    "a parent nobody knows": ("f.jsonl", after_good(row(parent_id="nobody")), r":2: unknown parent"),
    "parents of numbers": ("f.jsonl", after_good(row(parents=[1])), r":2: parents is of the wrong type"),
    "an unknown language": ("f.jsonl", after_good(row(language_code="xxx")), r":2: unknown language code"),
    "a language with a secret": ("f.jsonl", after_good(row(language_code="en-x-anna")), r":2: unknown language code"),
    "an endless language": ("f.jsonl", after_good(row(language_code="en-" * 9000)), r":2: unknown language code"),
    "a language in other letters": ("f.jsonl", after_good(row(language_code="ѕра")), r":2: unknown language code"),
    "no language": ("f.jsonl", after_good(b'{"inputs": "a", "targets": "b"}'), r":2: language_code is missing"),
    "a licence in prose": ("f.jsonl", after_good(row(licence="do what you like")), r":2: licence is not an SPDX identifier"),
    "the year ten thousand": ("f.jsonl", after_good(row(created_at="10000-01-01T00:00:00Z")), r":2: created_at is not a time"),
    "a history of single texts": ("f.jsonl", after_good(row(history=["a"])), r":2: history is of the wrong type"),
    "a history of a hundred turns": ("f.jsonl", after_good(row(history=[["q", "a"]] * 100)), r":2: history has too many turns"),
    "a NUL in the history": ("f.jsonl", after_good(row(history=[["q", "a\0"]])), r":2: history, turn 1, answer holds NUL"),
    "a system message": ("f.jsonl", after_good(b'{"messages": [{"role": "system", "content": "x"}], "language_code": "eng"}'), r":2: message 1 is out of turn"),
    # What is no file
    "a folder": ("f", lambda path: path.mkdir(), r"f cannot be read: it is a folder"),
    "a pipe": ("f.jsonl", os.mkfifo, r"f\.jsonl cannot be read: it is no regular file"),
    "a device": ("f.jsonl", lambda path: path.symlink_to("/dev/zero"), r"f\.jsonl cannot be read: it is no regular file"),
    "a link to nothing": ("f.jsonl", lambda path: path.symlink_to("nothing"), r"f\.jsonl cannot be read: No such file"),
    "a link to itself": ("f.jsonl", lambda path: path.symlink_to("f.jsonl"), r"f\.jsonl cannot be read: Too many levels"),
    "no file": ("f.jsonl", lambda path: None, r"f\.jsonl cannot be read: No such file"),
    # Packed
    "gzip cut off": ("f.jsonl.gz", gzip.compress(after_good())[:-12], r"f\.jsonl\.gz cannot be read"),
    "gzip with a wrong checksum": ("f.jsonl.gz", gzip.compress(after_good())[:-8] + bytes(8), r"f\.jsonl\.gz cannot be read"),
    "gzip of nothing": ("f.jsonl.gz", b"\x1f\x8b\x08", r"f\.jsonl\.gz cannot be read"),
    "a bomb of one line": ("f.jsonl.gz", lambda path: path.write_bytes(bomb(b" " * 1000, unpacked(0.4) // 1000)), r":1: the line is too long|:1: broken JSON"),
    "a bomb beyond the limit": ("f.jsonl.gz", lambda path: path.write_bytes(bomb(bytes(1 << 16), unpacked(1.1) >> 16)), r"holds more than \d+ MiB"),
    "a bomb of good lines": (
        "f.jsonl.gz",
        lambda path: path.write_bytes(bomb((row() + b"\n") * 100, LIMITS["reading.MAX_RECORDS"] // 80)),
        r"more than \d+ texts",
    ),
    "a bomb in a bomb": ("f.jsonl.gz", lambda path: path.write_bytes(gzip.compress(bomb(bytes(1 << 20), 100))), r":1: invalid UTF-8"),
    "a zstd bomb": ("f.jsonl.zst", zstd_bomb, r"holds more than \d+ MiB"),
    "zstd cut off": ("f.jsonl.zst", pa.Codec("zstd").compress(after_good() * 9, asbytes=True)[:-9], r"cannot be read|broken JSON"),
    "zstd of junk": ("f.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"junk" * 9, r"f\.jsonl\.zst cannot be read"),
    "a zip": ("f.jsonl", b"PK\x03\x04" + bytes(range(128, 256)), r":1: (invalid UTF-8|broken JSON)"),
    # CSV
    "an empty csv": ("f.csv", b"", r"f\.csv: no lines"),
    "only a header": ("f.csv", b"inputs,targets,language_code\n", r"f\.csv: no lines"),
    "a csv without its column": ("f.csv", b"prompt,targets,language_code\na,b,eng\n", r":1: inputs is missing"),
    "a column twice": ("f.csv", b"inputs,inputs,targets,language_code\na,b,c,eng\n", r":1: a column stands twice"),
    "a thousand columns": ("f.csv", b",".join(b"c%d" % n for n in range(1000)) + b"\n", r":1: a column stands twice, or there are too many"),
    "too many cells": ("f.csv", b"inputs,targets,language_code\na,b,eng\na,b,eng,d\n", r":3: 4 cells under 3 columns"),
    "too few cells": ("f.csv", b"inputs,targets,language_code\na,b,eng\na,b\n", r":3: 2 cells under 3 columns"),
    "a quote left open": ("f.csv", b'inputs,targets,language_code\n"a,b,eng\n' + b"x,y,eng\n" * 1000, r"f\.csv:\d+: broken CSV"),
    "a quote left open for long": ("f.csv", b'inputs,targets,language_code\n"' + b"x,y,eng\n" * 500_000, r"f\.csv:\d+: broken CSV"),
    "a quote inside": ("f.csv", b'inputs,targets,language_code\n"a"b,c,eng\n', r":2: broken CSV"),
    "NUL in a csv": ("f.csv", b"inputs,targets,language_code\na\0,b,eng\n", r":2: (inputs holds NUL|broken CSV)"),
    "UTF-16 from a spreadsheet": ("f.csv", "inputs,targets,language_code\n".encode("utf-16"), r":1: the text is UTF-16"),
    "bad UTF-8 in a csv": ("f.csv", b"inputs,targets,language_code\na,b,eng\n\xff,b,eng\n", r":3: invalid UTF-8"),
    "a csv line of ten megabytes": ("f.csv", b"inputs,targets,language_code\n" + b"x" * 10_000_000 + b",b,eng\n", r":2: the line is too long"),
    "a guard of another's": ("f.csv", b"inputs,targets,language_code,formula_guard\n',b,eng,'\n", r":2: inputs is empty"),
    "history in a csv that is no JSON": ("f.csv", b"inputs,targets,language_code,history\na,b,eng,[[\n", r":2: history is not JSON"),
    # Trees
    "a tree without a prompt": ("f.jsonl", tree(None), r":1: no tree: prompt is missing"),
    "messages without trees": ("f.jsonl", tree(message("a", "prompter")) + json.dumps(message("b", "prompter")).encode(), r":2: this is a single message"),
    "two prompters in turn": ("f.jsonl", tree(message("a", "prompter", message("b", "prompter"))), r":1: message 'b': out of turn"),
    "an assistant first": ("f.jsonl", tree(message("a", "assistant")), r":1: message 'a': out of turn"),
    "a message twice": ("f.jsonl", tree(message("a", "prompter", message("a", "assistant"))), r":1: a message stands twice"),
    "replies that are no list": ("f.jsonl", tree(message("a", "prompter") | {"replies": {"x": 1}}), r":1: message a: replies is of the wrong type"),
    "a reply that is no message": ("f.jsonl", tree(message("a", "prompter", 5)), r":1: a reply is no message"),
    "a message without text": ("f.jsonl", tree(message("a", "prompter", text=None)), r":1: message 'a': text is missing"),
    "an id that is a list": ("f.jsonl", tree(message([RLO], "prompter")), r":1: message .*message_id is missing"),
    "a tree in no language": ("f.jsonl", tree(message("a", "prompter", message("b", "assistant", lang="klingonish"))), r":1: message b: unknown language"),
    "a tree without answers": ("f.jsonl", tree(message("a", "prompter")), r"f\.jsonl: no lines"),
    "a path as a message": ("f.jsonl", tree(message("a", "prompter", message("../b", "assistant"))), r":1: record_id is not an identifier"),
    "a tree nested too deep": ("f.jsonl", lambda path: path.write_bytes(deep(100)), r":1: message .* goes too deep"),
    "a tree nested beyond reading": ("f.jsonl", lambda path: path.write_bytes(deep(40_000)), r":1: (broken JSON|the line is too long)"),
    # Argilla
    "a list cut off": ("f.json", argilla(FIELDS, FIELDS)[:-5], r"f\.json, record \d: (the JSON list is cut off|broken JSON)"),
    "something after the list": ("f.json", argilla(FIELDS) + b"[]", r"record 1: (text outside|not one JSON list)"),
    "no list but an object": ("f.json", b'{"fields": 1}', r"f\.json:1: inputs is missing"),
    "a record that is none": ("f.json", argilla(FIELDS, 5), r"record 2: not a JSON object"),
    "fields that are none": ("f.json", argilla({"fields": []}), r"record 1: fields is missing or of the wrong type"),
    "responses that are none": ("f.json", argilla(FIELDS | {"responses": {"x": "y"}}), r"record 1: responses to 'x' are of the wrong type"),
    "an empty list": ("f.json", b"[]", r"f\.json: no records"),
    "a comma too many": ("f.json", b"[" + json.dumps(FIELDS).encode() + b",]", r"record 2: broken JSON"),
    "a record of twenty megabytes": (
        "f.json",
        lambda path: path.write_bytes(argilla(FIELDS, {"fields": {"prompt": "x" * 20_000_000}})),
        r"record 2: the line is too long",
    ),
    # Parquet
    "a parquet cut in half": ("f.parquet", cut(table(), 0.5), r"f\.parquet cannot be read"),
    "a parquet of four bytes": ("f.parquet", b"PAR1", r"f\.parquet cannot be read"),
    "a parquet of magic alone": ("f.parquet", b"PAR1" + bytes(100) + b"PAR1", r"f\.parquet cannot be read"),
    "a parquet with a broken footer": ("f.parquet", flipped(table(), -6), r"f\.parquet(, row 1:| cannot be read)"),
    "a parquet without its column": ("f.parquet", parquet(table().rename_columns(["inputs", "target", "language_code"])), r"row 1: targets is missing.*target"),
    "a parquet of numbers": ("f.parquet", parquet(table(inputs=[1])), r"row 1: column inputs is of the wrong type"),
    "a parquet of bytes": ("f.parquet", parquet(table(inputs=[b"x"])), r"row 1: column inputs is of the wrong type"),
    "a parquet of lists": ("f.parquet", parquet(table(inputs=[["x"]])), r"row 1: column inputs is of the wrong type"),
    "a parquet of structs": ("f.parquet", parquet(table(inputs=[{"a": 1}])), r"row 1: column inputs is of the wrong type"),
    "a parquet with a null": ("f.parquet", parquet(table(inputs=pa.array([None], pa.string()))), r"row 1: inputs is of the wrong type"),
    "a parquet without rows": ("f.parquet", parquet(table().slice(0, 0)), r"f\.parquet: no rows"),
    "a column twice in a parquet": (
        "f.parquet",
        lambda path: pq.write_table(pa.Table.from_arrays([pa.array(["q"])] * 4, ["inputs", "inputs", "targets", "language_code"]), path),
        r"row 1: a column stands twice",
    ),
    "a deep history": ("f.parquet", parquet(table(history=[[[["x"]]]])), r"row 1: history is of the wrong type"),
    "bad UTF-8 in a parquet": ("f.parquet", lambda path: pq.write_table(bad_utf8(), path), r"f\.parquet(, row 1| cannot be read)"),
    "a dictionary bomb": (
        "f.parquet",
        lambda path: pq.write_table(repeated("x" * 90_000, 50_000), path, compression="zstd"),
        r"more than \d+ texts or \d+ million",
    ),
    "a dictionary of one giant": ("f.parquet", lambda path: pq.write_table(repeated("x" * 40_000_000, 5_000), path, compression="zstd"), r"f\.parquet"),
    "a page that unpacks to much": (
        "f.parquet",
        lambda path: pq.write_table(table(inputs=["x" * 60_000_000]), path, compression="zstd", use_dictionary=False, write_statistics=False),
        r"row 1: column inputs holds a text of 60000000 bytes",
    ),
    "statistics of a giant": (
        "f.parquet",
        lambda path: pq.write_table(table(inputs=["x" * 60_000_000]), path, compression="zstd"),
        r"f\.parquet",
    ),
    "too many rows": ("f.parquet", lambda path: pq.write_table(repeated("x", 1_100_000), path), r"row 1: the file is too large"),
    # Folders of data sets
    "no state": ("f", folder(state=b"not json"), r"state\.json:1: broken JSON"),
    "a state of a megabyte": ("f", folder(state=b"[" * 2_000_000), r"state\.json:1: broken JSON"),
    "a file outside": ("f", folder(name="../../etc/passwd"), r"f names a file that is not in it"),
    "an absolute file": ("f", folder(name="/etc/passwd"), r"f names a file that is not in it"),
    "a file named with an override": ("f", folder(name=f"data{RLO}"), r"f names a file that is not in it"),
    "a file that is a number": ("f", folder(state={"_data_files": [{"filename": 5}]}), r"f names a file that is not in it"),
    "a file that is not there": ("f", folder(), r"data\.arrow cannot be read: No such file"),
    "a file that is a link": ("f", linked("/etc/passwd"), r"data\.arrow cannot be read: Too many levels"),
    "a split outside": ("f", folder(extra={"dataset_dict.json": b'{"splits": ["../f"]}'}), r"f names a file that is not in it"),
    "a data set without files": ("f", folder(state={"_data_files": []}), r"f: no rows"),
    "an arrow file cut off": ("f", folder(made=table(), cut_to=200), r"data\.arrow cannot be read"),
    "an arrow file of junk": ("f", folder(extra={"data.arrow": b"junk" * 99}), r"data\.arrow cannot be read"),
    "an arrow file that points outside itself": ("f", bad_offsets, r"data\.arrow cannot be read"),
    "a pickle for data": ("f", folder(extra={"data.arrow": pickle.dumps(Planted()), "f.py": LOADER}), r"data\.arrow cannot be read"),
    "a folder with a script": ("f", folder(made=table(inputs=[5]), extra={"f.py": LOADER, "cache.pkl": pickle.dumps(Planted())}), r"f, row 1: column inputs"),
    "only a script": ("f", only_a_script, r"f cannot be read: it is a folder"),
}


def bomb(piece: bytes, times: int) -> bytes:
    """A gzip file of many megabytes in a few kilobytes, made without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(piece) for _ in range(times)) + packer.flush()


def deep(turns: int) -> bytes:
    start = b"".join(
        b'{"message_id":"m%d","role":"%s","text":"words","lang":"en","replies":[' % (n, (b"prompter", b"assistant")[n % 2]) for n in range(2 * turns)
    )
    return b'{"message_tree_id":"t","prompt":' + start + b"]}" * (2 * turns) + b"}\n"


def repeated(text: str, times: int) -> pa.Table:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([text]))
    return pa.table({"inputs": texts, "targets": texts, "language_code": pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array(["eng"]))})


def bad_utf8() -> pa.Table:
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\x00\x00\x00\x00\x02\x00\x00\x00"), pa.py_buffer(b"\xff\xfe"))
    return pa.Table.from_arrays([bad, pa.array(["a"]), pa.array(["eng"])], ["inputs", "targets", "language_code"])


BOMBS = [name for name in CASES if "bomb" in name or "giant" in name or "unpacks" in name or "gigabyte" in name or "more than a file" in name]


def make(case: str, folder_: Path) -> Path:
    name, content, _ = CASES[case]
    path = folder_ / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    return path


def test_there_are_a_hundred() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize("case", CASES)
def test_a_nasty_file_is_refused_by_name_and_nothing_is_imported(case: str, tmp_path: Path, store: ContributionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_batch("ben", [Draft("here before", "yes", "eng", record_id="before")])
    (tmp_path / "given").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, limit in SMALL.items():
        monkeypatch.setattr(f"data_pipeline.importers.{name}", limit)
    path = make(case, tmp_path / "given")
    with pytest.raises(BadInput, match=f"(?s){CASES[case][2]}") as caught:
        store.add_batch("ana", read(path, store=store, member="ana").drafts)
    assert [record.record for record in store.records()] == ["before"]
    assert len(store.batches()) == 1
    assert not (tmp_path / "planted-was-run").exists()
    assert all(character == "\n" or character.isprintable() for character in str(caught.value))


def test_a_table_too_large_by_its_own_word_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(table(inputs=["x" * 90_000]), tmp_path / "f.parquet", compression="zstd")
    assert len(read(tmp_path / "f.parquet").drafts) == 1
    monkeypatch.setattr("data_pipeline.importers.tables.MAX_TABLE", 50_000)
    with pytest.raises(BadInput, match="row 1: the file is too large"):
        read(tmp_path / "f.parquet")


STARVED = """
import resource, sys
from pathlib import Path
from data_pipeline.importers import tables
from data_pipeline.importers.reading import read
from governance_hooks.errors import BadInput
tables.READER_BYTES = 100 << 20
before = resource.getrlimit(resource.RLIMIT_AS)
try:
    read(Path(sys.argv[1]))
except BadInput as error:
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's address space")
def test_a_reader_that_asks_for_more_memory_than_it_gets_is_stopped(tmp_path: Path) -> None:
    pq.write_table(table(inputs=["x" * 300_000_000]), tmp_path / "f.parquet", compression="zstd", use_dictionary=False, write_statistics=False)
    done = subprocess.run([sys.executable, "-c", STARVED, tmp_path / "f.parquet"], check=False, capture_output=True, text=True)
    assert "f.parquet asks for more memory" in done.stdout, done.stdout + done.stderr


WEIGHED = """
import sys
from pathlib import Path
from data_pipeline.importers.reading import read
from governance_hooks.errors import BadInput
try:
    read(Path(sys.argv[1]))
except BadInput:
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(int(peak.split()[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_takes_little_memory(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LIMITS:
        module, _, limit = name.partition(".")
        monkeypatch.setitem(LIMITS, name, getattr(importlib.import_module(f"data_pipeline.importers.{module}"), limit))
    done = subprocess.run([sys.executable, "-c", WEIGHED, make(case, tmp_path)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_500
