"""Makers of nasty files: broken, cut off, linked elsewhere, or many megabytes in a few kilobytes."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

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
