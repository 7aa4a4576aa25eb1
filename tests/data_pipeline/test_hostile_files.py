"""A hundred nasty files: each ends in one error that names the file, and the place in it, and the store holds nothing of it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_pipeline.importers.reading import read
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.errors import BadInput
from tests.data_pipeline.nasty import LIMITS, SMALL, table
from tests.data_pipeline.nasty_cases import BOMBS, CASES, make


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
