from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipeline import cluster
from data_pipeline.handover import JOB, read_work
from data_pipeline.store import ContributionStore
from data_pipeline.trove import OnThisMachine, Step, Trove
from governance_hooks.code import installed_code
from governance_hooks.errors import BadInput, CoopError
from tests.data_pipeline.conftest import MakeBuild
from tests.data_pipeline.varied import fill, tree

SEED = 3


class Stopped(Exception):
    """Stands for whatever ends a build in the middle."""


class Until:
    """Runs the stages, and fails before one of them as a machine does that goes away."""

    def __init__(self, stage: str) -> None:
        self.stage, self.folder = stage, Path()

    def run(self, work: object, report: object) -> None:
        def stop(label: str, done: int, _total: int) -> None:
            if label == self.stage and not done:
                raise Stopped

        self.folder = work.folder  # type: ignore[attr-defined] # a Work
        OnThisMachine(1).run(work, stop)  # type: ignore[arg-type] # as above


@pytest.mark.parametrize(("parts", "jobs"), [(1, 1), (2, 2), (7, 1), (7, 2)])
def test_datatrove_makes_the_bytes_the_pool_makes(store: ContributionStore, make_build: MakeBuild, tmp_path: Path, parts: int, jobs: int) -> None:
    options = fill(store, SEED)
    pool = make_build(shards=1, **options)
    for reason in ("duplicate", "near_duplicate", "small_edit", "rated_low", "evaluation_item"):
        assert pool.manifest["excluded"][reason], pool.manifest["excluded"]
    assert pool.manifest["marks"]["pii:email"]
    made = make_build(shards=parts, steps=Trove(tmp_path / "parts", OnThisMachine(jobs)), **options)
    assert (made.digest, tree(made.folder)) == (pool.digest, tree(pool.folder))
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("stage", ["check each row", "find copies", "ledger"])
def test_what_was_done_before_the_end_is_not_done_again(store: ContributionStore, make_build: MakeBuild, tmp_path: Path, stage: str) -> None:
    options, until = fill(store, SEED), Until(stage)
    with pytest.raises(Stopped):
        make_build(shards=3, steps=Trove(tmp_path / "parts", until), **options)
    done = {path: path.stat().st_mtime_ns for path in until.folder.iterdir() if path.is_file()}
    assert {"check each row": 0, "find copies": 3, "ledger": 3}[stage] == sum(path.name.startswith("shard-") for path in done)
    seen = dict[Path, int]()

    class Watching(OnThisMachine):
        def run(self, work: object, report: object) -> None:
            super().run(work, report)  # type: ignore[arg-type] # a Work and a Progress
            seen.update({path: path.stat().st_mtime_ns for path in done})

    made = make_build(shards=3, steps=Trove(tmp_path / "parts", Watching(1)), **options)
    assert seen == done
    assert tree(made.folder) == tree(make_build(shards=1, **options).folder)


def test_a_rating_erased_between_two_tries_does_not_count_in_the_second(store: ContributionStore, make_build: MakeBuild, tmp_path: Path) -> None:
    options = fill(store, SEED)
    with pytest.raises(Stopped):
        make_build(shards=3, steps=Trove(tmp_path / "parts", Until("ledger")), **options)
    for rating in list(store.reviews.ratings()):
        store.reviews.erase(rating.reviewer, [rating.record], at="2026-03-01T00:00:00Z")
    made = make_build(shards=3, steps=Trove(tmp_path / "parts", OnThisMachine(1)), **options)
    assert "rated_low" not in made.manifest["excluded"]


def test_a_withdrawal_between_two_tries_leaves_nothing_of_the_first(store: ContributionStore, make_build: MakeBuild, tmp_path: Path) -> None:
    options, until = fill(store, SEED), Until("ledger")
    with pytest.raises(Stopped):
        make_build(shards=3, steps=Trove(tmp_path / "parts", until), **options)
    made = make_build(without=("m1",), shards=3, steps=Trove(tmp_path / "parts", OnThisMachine(1)), **options)
    assert tree(made.folder) == tree(make_build(without=("m1",), **options).folder)
    assert not until.folder.exists()


@pytest.mark.parametrize("what", ["record", "rating"])
def test_what_is_erased_meanwhile_stops_the_build_and_leaves_no_work_folder(store: ContributionStore, make_build: MakeBuild, tmp_path: Path, what: str) -> None:
    options, gone = fill(store, SEED), store.records()[0].record
    rating = next(store.reviews.ratings())

    class Erasing(OnThisMachine):
        def run(self, work: object, report: object) -> None:
            super().run(work, report)  # type: ignore[arg-type] # a Work and a Progress
            store.erase([gone]) if what == "record" else store.reviews.erase(rating.reviewer, [rating.record], at="2026-03-01T00:00:00Z")

    with pytest.raises(CoopError, match="texts or ratings were erased while the dataset was built"):
        make_build(steps=Trove(tmp_path / "parts", Erasing(1)), **options)
    assert not (tmp_path / "parts").exists()


KILLED = """
import os, sys
from pathlib import Path
import data_pipeline.trove as trove
from data_pipeline.build import build
from data_pipeline.handover import Work
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import sha256
from tests.data_pipeline.conftest import COOP, USE
from tests.data_pipeline.varied import on
say = Work.say
def dying(self, kind, number, document):
    if (kind, number) == (sys.argv[2], 1):
        os.kill(os.getpid(), 9)
    say(self, kind, number, document)
Work.say = dying
folder = Path(sys.argv[1])
with ContributionStore(folder / "contributions.sqlite") as store:
    build(store, folder / "never", coop=COOP, log_size=7, log_root=sha256(b"log"), at="2026-11-22T13:00:00Z", use=USE,
          consent_for=lambda member, language, batch: sha256(member.encode()), shards=3, steps=trove.Trove(folder / "parts", trove.OnThisMachine(1)),
          **on(3))
"""


@pytest.mark.parametrize("kind", ["prepared", "verdict", "part"])
def test_a_build_killed_in_a_task_goes_on_to_the_same_bytes(store: ContributionStore, make_build: MakeBuild, tmp_path: Path, kind: str) -> None:
    options = fill(store, SEED)
    with (tmp_path / "said").open("w") as said:
        died = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), kind], stdout=said, stderr=said, start_new_session=True)
        assert died.wait(600) == -signal.SIGKILL, (tmp_path / "said").read_text()
        os.killpg(died.pid, signal.SIGKILL)  # datatrove's manager of queues outlives who started it
    [folder] = (tmp_path / "parts").iterdir()
    stage = {"prepared": "prepare", "verdict": "join", "part": "finish"}[kind]
    assert not (folder / stage / "completions" / ("00000" if stage == "join" else "00001")).exists()
    assert (folder / f"{kind}-00000.json").exists()
    made = make_build(shards=3, steps=Trove(tmp_path / "parts", OnThisMachine(1)), **options)
    assert tree(made.folder) == tree(make_build(**options).folder)


@pytest.fixture
def work(store: ContributionStore, make_build: MakeBuild, tmp_path: Path) -> Path:
    """A work folder that is cut and not begun."""
    until = Until("check each row")
    with pytest.raises(Stopped):
        make_build(shards=2, steps=Trove(tmp_path / "parts", until), **fill(store, SEED))
    return until.folder


def test_a_task_takes_no_other_job_no_other_records_and_no_other_versions(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = read_work(work).digest
    with pytest.raises(CoopError, match="not the job this task was started for"):
        Step(str(work), "sha256:" + 64 * "0", "prepare").run()
    source = work / "source-00000.jsonl"
    source.write_bytes(source.read_bytes().replace(b"So it is.", b"So it was"))
    with pytest.raises(CoopError, match="is not the file the dataset was cut into"):
        Step(str(work), digest, "prepare").run()
    assert not (work / "prepared-00000.json").exists()
    monkeypatch.setattr("unicodedata.unidata_version", "1.0")
    with pytest.raises(CoopError, match="another unicode than the dataset was begun with"):
        read_work(work, digest)
    other = installed_code().model_copy(update={"digest": "sha256:" + 64 * "0"})
    monkeypatch.setattr("data_pipeline.handover.installed_code", lambda: other)
    with pytest.raises(CoopError, match="another code than the dataset was begun with"):
        read_work(work, digest)


def test_what_a_step_left_broken_is_named(work: Path) -> None:
    (work / "prepared-00000.json").write_bytes(b'{"rows":1}')
    with pytest.raises(CoopError, match=r"prepared-00000\.json is not what a step leaves"):
        read_work(work).prepared(0)
    with pytest.raises(CoopError, match=r"part-00001\.json cannot be read"):
        read_work(work).part(1)


def test_only_its_owner_may_enter_the_work_folder_and_what_no_rule_reads_is_not_in_it(work: Path) -> None:
    assert (work.stat().st_mode & 0o777, work.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    names = set(json.loads((work / JOB).read_bytes()))
    assert names == {"consents", "coop", "heldout_permille", "max_characters", "parts", "recipe", "suites", "versions"}


def test_without_datatrove_the_message_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['datatrove.executor.local'] = None; import data_pipeline.trove"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "pip install 'commonweights[cluster]'" in done.stderr
    with pytest.raises(BadInput, match="only a job of SLURM's runs this"):
        cluster.main(["folder", "digest", "prepare"])
