from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from governance_hooks.errors import BadInput
from model_card.weights import check_safetensors


def write(path: Path, header: dict[str, Any], data: bytes) -> Path:
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [8, 16]}}


def test_a_plain_file_is_counted(tmp_path: Path) -> None:
    assert check_safetensors(write(tmp_path / "w", GOOD, bytes(16))) == (2, 6)


def test_files_of_the_library_pass(tmp_path: Path) -> None:
    save_file({"x": np.zeros((3, 4), dtype="float32"), "y": np.ones(5, dtype="float16")}, tmp_path / "w", metadata={"format": "pt"})
    assert check_safetensors(tmp_path / "w") == (2, 17)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (GOOD, 17),
        (GOOD, 15),
        (GOOD | {"c": {"dtype": "F32", "shape": [1], "data_offsets": [20, 24]}}, 24),
        (GOOD | {"b": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [4, 12]}}, 12),
        (GOOD | {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, 16),
        (GOOD | {"a": {"dtype": "PICKLE", "shape": [2], "data_offsets": [0, 8]}}, 16),
        (GOOD | {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], "extra": 1}}, 16),
        (GOOD | {"__metadata__": {"note": "a member's text"}}, 16),
        (GOOD | {"__metadata__": [1]}, 16),
        ({"../x": GOOD["a"]}, 8),
        ({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [8, 0]}}, 0),
        ({}, 0),
    ],
)
def test_a_header_that_does_not_account_for_every_byte_is_refused(tmp_path: Path, header: dict[str, Any], size: int) -> None:
    with pytest.raises(BadInput, match="not a plain safetensors"):
        check_safetensors(write(tmp_path / "w", header, bytes(size)))


@pytest.mark.parametrize(
    "data", [b"", b"1234567", b"\xff" * 8, struct.pack("<Q", 4) + b"null", struct.pack("<Q", 2) + b"[]", b"\x80\x04\x95" + bytes(90)], ids=repr
)
def test_what_is_no_safetensors_at_all_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(BadInput, match="not a plain safetensors"):
        check_safetensors(tmp_path / "w")
