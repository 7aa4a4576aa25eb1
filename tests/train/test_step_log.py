from __future__ import annotations

from pathlib import Path

import pytest

from governance_hooks.errors import CoopError
from train.step_log import StepLog


def test_lines_after_the_checkpoint_and_a_torn_one_are_cut(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "log.jsonl")
    for step in (0, 1, 2, 2, 3):
        log.append({"step": step, "value": 0.5})
    with log.path.open("ab") as file:
        file.write(b'{"step":4')
    assert log.cut(2) == 1
    assert [line["step"] for line in log.lines()] == [0, 1, 2, 2]
    log.append({"step": 3})
    assert log.path.read_bytes().endswith(b'{"step":2,"value":0.5}\n{"step":3}\n')


def test_a_line_reaches_the_file_before_append_returns(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "log.jsonl")
    log.append({"step": 1})
    assert log.path.read_bytes() == b'{"step":1}\n'


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"value":1}\n', b"[1]\n"])
def test_a_damaged_line_is_an_error(tmp_path: Path, line: bytes) -> None:
    log = StepLog(tmp_path / "log.jsonl")
    log.path.write_bytes(line + b'{"step":1}\n')
    with pytest.raises(CoopError):
        log.lines()
