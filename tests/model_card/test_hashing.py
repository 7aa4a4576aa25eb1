from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from model_card.hashing import BLOCK, copy_hashed, hash_files


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_hashes_and_copies_are_those_of_the_bytes(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    told: list[int] = []
    assert hash_files({"x": path}, told=told.append) == {"x": (size, sha256(data))}
    assert sum(told) == size
    assert copy_hashed(path, tmp_path / "copy") == (size, sha256(data))
    assert (tmp_path / "copy").read_bytes() == data
    assert not path.samefile(tmp_path / "copy")


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_several_files_at_a_time_give_the_same(tmp_path: Path, threads: int) -> None:
    paths = {}
    for number in range(9):
        paths[str(number)] = tmp_path / str(number)
        paths[str(number)].write_bytes(bytes([number]) * (number * 100_001))
    found = hash_files(paths, threads=threads)
    assert list(found) == list(paths)
    assert all(found[name] == (path.stat().st_size, "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in paths.items())


def test_what_is_no_file_is_said_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "folder").mkdir()
    done: dict[str, object] = {}
    work = threading.Thread(
        target=lambda: done.update(hash_files({name: tmp_path / name for name in ("pipe", "link", "folder", "absent", "real")})), daemon=True
    )
    work.start()
    work.join(300)
    assert not work.is_alive()
    assert isinstance(done["pipe"], BadInput)
    assert isinstance(done["folder"], BadInput)
    assert isinstance(done["link"], OSError)
    assert isinstance(done["absent"], OSError)
    assert done["real"] == (1, sha256(b"x"))


def test_a_copy_overwrites_nothing_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        copy_hashed(tmp_path / "a", tmp_path / "b")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="link"):
        copy_hashed(tmp_path / "link", tmp_path / "c")


def test_a_file_that_grows_or_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for change in (lambda: path.open("ab").write(b"more"), lambda: os.truncate(path, BLOCK)):
        path.write_bytes(bytes(3 * BLOCK))
        once = [change]

        def told(_: int, once: list[object] = once) -> None:
            if once:
                once.pop()()  # type: ignore[operator]

        result = hash_files({"x": path}, told=told)["x"]
        assert isinstance(result, BadInput)
        assert "changed while it was read" in result.what
