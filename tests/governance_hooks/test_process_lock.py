"""A lock of a process: who comes second is told who holds it, and a killed holder lets go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from governance_hooks.errors import CoopError
from governance_hooks.process_lock import process_lock

_HOLD = """
import sys
from pathlib import Path
from governance_hooks.process_lock import process_lock
with process_lock(Path(sys.argv[1]), "training run first"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_process_is_told_the_pid_of_the_first_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CoopError) as refused, process_lock(path, "training run first"):
            pass
        assert f"process {holder.pid} is training run first already" in refused.value.what
        assert f"kill -INT {holder.pid}" in (refused.value.next or "")
    finally:
        holder.kill()
        holder.communicate()
    with process_lock(path, "training run first"):
        assert path.read_text() == f"{os.getpid()}\n"


def test_what_is_written_into_a_lock_is_shown_only_if_it_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with process_lock(path, "training"):
        path.write_bytes(b"\x1b[2Jrm -rf ~")
        with pytest.raises(CoopError) as refused, process_lock(path, "training"):
            pass
    assert "another process is training already" in refused.value.what
    assert "rm" not in str(refused.value)


def test_a_lock_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(CoopError, match="cannot write"), process_lock(tmp_path / "lock", "training"):
        pass
