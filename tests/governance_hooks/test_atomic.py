import os
import subprocess
import sys
from pathlib import Path

import pytest

from governance_hooks.atomic import atomic_directory, remove_leftovers, write_bytes
from governance_hooks.errors import CoopError


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_directory(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "whole").write_text("x")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole"]


def test_an_existing_folder_is_replaced_only_where_asked(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    with pytest.raises(CoopError, match="exists already"), atomic_directory(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "old").exists()
    with atomic_directory(tmp_path / "out", replace=True) as folder:
        (folder / "new").write_text("x")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_keeps_the_old_file_and_names_it(tmp_path: Path) -> None:
    """The kernel's limit on file size stands for the full disk."""
    (tmp_path / "file").write_bytes(b"old")
    program = f"""
import resource, sys
from pathlib import Path
from governance_hooks.atomic import write_bytes
from governance_hooks.errors import CoopError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path({str(tmp_path / "file")!r}), bytes(5000))
except CoopError as error:
    sys.exit(str(error))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot write {tmp_path / 'file'}" in done.stderr
    assert "nothing was half-written" in done.stderr
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_killed_writers_leftovers_are_found_and_removed(tmp_path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from governance_hooks.atomic import atomic_directory
with atomic_directory(Path({str(tmp_path / "out")!r})) as folder:
    (folder / "half").write_text("x")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert not (tmp_path / "out").exists()
    assert len(remove_leftovers(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_link_among_the_leftovers_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".tmp-link").symlink_to(tmp_path / "mine")
    remove_leftovers(tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []
    assert (tmp_path / "mine" / "thesis").exists()


def test_secret_files_are_never_readable_by_others(tmp_path: Path) -> None:
    os.umask(0)
    write_bytes(tmp_path / "key", b"secret", mode=0o600)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
