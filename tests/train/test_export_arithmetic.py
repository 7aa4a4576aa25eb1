"""The merge rule against plain Python numbers, written out a second time and slowly."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from numpy._core import _multiarray_umath as numpy_features
from safetensors.torch import save_file

import train.export.arithmetic as arithmetic
from governance_hooks.errors import BadInput, CoopError
from train.export.arithmetic import LowRank, check_machine, merge_rows, round_to

BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}


def as_single(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def bits(value: float, dtype: torch.dtype) -> int:
    """Round a double as the rule says, with the struct module and integers."""
    if dtype == torch.float16:
        return int(struct.unpack("<h", struct.pack("<e", as_single(value)))[0])
    (word,) = struct.unpack("<I", struct.pack("<f", value))
    if dtype == torch.float32:
        return int(struct.unpack("<i", struct.pack("<I", word))[0])
    low, high = word & 0xFFFF, word >> 16
    high += low > 0x8000 or (low == 0x8000 and high % 2 == 1)
    return int(struct.unpack("<h", struct.pack("<H", high))[0])


def slowly(weight: torch.Tensor, low: LowRank, dtype: torch.dtype) -> list[int]:
    out = []
    A, B = low.A_RI.tolist(), low.B_OR.tolist()
    for o, row in enumerate(weight.tolist()):
        values = []
        for i, value in enumerate(row):
            total = 0.0
            for r in range(len(A)):
                total = total + B[o][r] * A[r][i]
            values.append(value + low.scale * total)
        if low.magnitude_O is not None:
            squares = 0.0
            for value in values:
                squares = squares + value * value
            factor = low.magnitude_O.tolist()[o] / math.sqrt(squares)
            values = [factor * value for value in values]
        out += [bits(value, dtype) for value in values]
    return out


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_merge_has_the_bits_of_plain_python_numbers(dtype: torch.dtype, dora: bool) -> None:
    torch.manual_seed(3)
    weight = (torch.randn(7, 13) * 0.1).to(dtype)
    low = LowRank(torch.randn(5, 13).double(), torch.randn(7, 5).double() * 0.01, 2 / 3, torch.rand(7).add(0.5).double() if dora else None)
    assert merge_rows(weight, low, 0, dtype).view(BITS[dtype]).flatten().tolist() == slowly(weight, low, dtype)


def test_the_answer_a_machine_is_asked_for_is_that_of_plain_python_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def python(weight: torch.Tensor, low: LowRank, first: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(slowly(weight, low, dtype), dtype=BITS[dtype])

    check_machine()
    monkeypatch.setattr(arithmetic, "merge_rows", python)
    check_machine()


ANOTHER_PROCESSOR = """
import sys, numpy, torch
from safetensors.torch import load_file
from governance_hooks.canonical import sha256
from train.export.arithmetic import LowRank, merge_rows
given = load_file(sys.argv[1])
low = LowRank(given["A"].double(), given["B"].double(), 2 / 3, given["m"].double())
merged = (merge_rows(given["W"].to(kind), low, 0, kind).view(torch.uint8).numpy().tobytes() for kind in (torch.float32, torch.bfloat16, torch.float16))
print(torch.backends.cpu.get_cpu_capability(), sha256(b"".join(merged)))
"""


def test_plain_and_vector_instructions_give_one_merge(tmp_path: Path) -> None:
    # torch and NumPy choose their code by the processor's features; told to do without, they are another processor.
    torch.manual_seed(3)
    save_file({"W": torch.randn(67, 131) * 0.1, "A": torch.randn(5, 131), "B": torch.randn(67, 5) * 0.01, "m": torch.rand(67).add(0.5)}, tmp_path / "given")
    have = " ".join(name for name in numpy_features.__cpu_dispatch__ if numpy_features.__cpu_features__.get(name))
    said = []
    for vectors in ({}, {"ATEN_CPU_CAPABILITY": "default", "NPY_DISABLE_CPU_FEATURES": have}):
        done = subprocess.run(
            [sys.executable, "-c", ANOTHER_PROCESSOR, tmp_path / "given"], env=os.environ | vectors, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert said[1][0] == "DEFAULT"
    assert said[0][1] == said[1][1]


def test_a_process_that_flushes_small_numbers_to_zero_is_refused() -> None:
    if not torch.set_flush_denormal(True):
        pytest.fail("this processor cannot flush, so the test proves nothing")
    try:
        with pytest.raises(CoopError, match="IEEE 754"):
            check_machine()
    finally:
        torch.set_flush_denormal(False)
    check_machine()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([float("nan")], torch.bfloat16), ([1e39], torch.float32), ([3.4e38], torch.bfloat16), ([70_000.0], torch.float16)],
)
def test_what_is_not_finite_after_rounding_is_refused(values: list[float], dtype: torch.dtype) -> None:
    with pytest.raises(BadInput, match="not finite"):
        round_to(torch.tensor(values, dtype=torch.float64), dtype)


def test_ties_go_to_even_in_bfloat16() -> None:
    step = 2.0**-7
    values = torch.tensor([1 + step / 2, 1 + 3 * step / 2, 1 + step / 2 + 2.0**-23, -1 - step / 2], dtype=torch.float64)
    assert round_to(values, torch.bfloat16).tolist() == [1, 1 + 2 * step, 1 + step, -1]
