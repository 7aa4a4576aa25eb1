"""What a site has signed lies in order, its clock never goes back, and two writers never take one number."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from governance_hooks.errors import BadInput
from governance_hooks.statement import MAX_ENTRY, shift
from slurm import outbox as module
from slurm.outbox import read_entries
from tests.slurm.lent import Lent
from tests.village import Approved


@pytest.fixture
def lent(approved: Approved, tmp_path: Path) -> Lent:
    return Lent(approved, tmp_path / "site")


def test_entries_are_numbered_in_order_and_named_by_their_type(lent: Lent) -> None:
    for start in (1, 2):
        lent.begin(start=start)
    assert [one.path.name for one in read_entries(lent.outbox.folder)] == ["000000000001-run-start.entry", "000000000002-run-start.entry"]


def test_a_statement_made_when_the_clock_had_gone_back_is_dated_as_the_one_before(lent: Lent) -> None:
    lent.begin(start=1)
    before, lent.village.clock = lent.village.clock, shift(lent.village.clock, -100)
    lent.begin(start=2)
    assert [one.issued for one in lent.stated()] == [before, before]


def test_writers_beside_each_other_take_turns(lent: Lent) -> None:
    threads = [threading.Thread(target=lent.begin, kwargs={"start": number}) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lent.stated()) == 8


def test_what_is_no_entry_is_passed_over_and_what_pretends_to_be_one_is_refused(lent: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    lent.begin()
    folder = lent.outbox.folder
    for name in (".tmp-x", "1-run-start.entry", "000000000002-run-start.entry.bak", "README"):
        (folder / name).write_text("x")
    assert len(list(read_entries(folder))) == 1
    path = folder / "000000000002-run-start.entry"
    path.write_bytes(b"x" * (MAX_ENTRY + 1))
    with pytest.raises(BadInput, match="too long"):
        list(read_entries(folder))
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match="cannot read"):
        list(read_entries(folder))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadInput, match="no regular file"):
        list(read_entries(folder))
    path.unlink()
    path.mkdir()
    with pytest.raises(BadInput, match="no regular file"):
        list(read_entries(folder))
    path.rmdir()
    monkeypatch.setattr(module, "MOST", 0)
    with pytest.raises(BadInput, match="too much"):
        list(read_entries(folder))
    with pytest.raises(BadInput, match="cannot read the outbox"):
        list(read_entries(folder / "nowhere"))
