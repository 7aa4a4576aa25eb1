"""Builds at size: clean + exact + near copies beside datatrove and datasets + datasketch in one run, then whole builds, their time and memory.

    python benchmarks/build.py FOLDER --peer-python PYTHON [--rows 1000000] [--part all|copies|whole]
    python benchmarks/build.py FOLDER --rows 100000 --part executors      the same build by the pool and through datatrove, in turn

FOLDER holds `scale.parquet` (rows with record_id, inputs, targets, language_code, user_id) and `eval_xcopa.jsonl`, `eval_mgsm.jsonl`; they are
not part of the project. PYTHON has datatrove, datasets and datasketch (datatrove 0.10 needs xxhash < 4, so it has an environment of its
own). The corpus is grown from the real rows: 7 % exact copies, 7 % with other case and white space, 13 % near copies (a letter in 40 of a
prompt of prose), the rest new rows spliced from two real ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.build import build
from data_pipeline.candidate import Candidate
from data_pipeline.join import join
from data_pipeline.manifest import Build, read_ledger
from data_pipeline.normalise import normalise
from data_pipeline.pool import Pool
from data_pipeline.recipe import Recipe
from data_pipeline.record import Draft, Record, problems
from data_pipeline.reviews import RatingDraft
from data_pipeline.shard import COLUMNS, Shard, to_arrow
from data_pipeline.source import PAGE
from data_pipeline.stages.code import is_code
from data_pipeline.stages.decontamination import suite
from data_pipeline.stages.grams import key
from data_pipeline.stages.likeness import likeness
from data_pipeline.stages.near_duplicates import NearDuplicatesParameters, Row, sides
from data_pipeline.stages.stage import Item
from data_pipeline.steps import Steps
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import sha256
from governance_hooks.consent import Use
from governance_hooks.ownership import OwnershipTree
from governance_hooks.vouching import cores

USE = Use(purpose="dpv:NonCommercialResearch", processing=["ai:ModelFineTuning", "coop:ModelEvaluation"], recipients=["coop:Members"], licence="Apache-2.0")
AT = "2026-11-22T13:00:00Z"
SHARDS = 16
SETTINGS: dict[str, dict[str, int]] = {"careful": {}, "jaccard_only": {"jaccard_only": 1}}
"""What of the near copies' rule is measured: its default, and the usual rule of the field."""


def edited(text: str, draw: random.Random) -> str:
    letters = list(text)
    for _ in range(max(1, len(letters) // 40)):
        place = draw.randrange(len(letters))
        what = draw.randrange(3)
        if what == 0:
            letters[place] = draw.choice(letters)
        elif what == 1:
            letters.insert(place, draw.choice(letters))
        elif len(letters) > 1:
            letters.pop(place)
    return "".join(letters)


def spliced(one: str, other: str) -> str:
    return one[: int(len(one) * 0.6)] + other[len(other) // 2 :]


def grow(folder: Path, out: Path, rows: int) -> None:
    """Write the corpus: kind tells what a row is, of which row it is a copy."""
    draw = random.Random(7)
    real = pq.read_table(folder / "scale.parquet", columns=["record_id", "inputs", "targets", "language_code", "user_id"]).to_pylist()
    draw.shuffle(real)
    base = real[: max(1, min(len(real), rows // 5))]
    made = [(r["record_id"], r["inputs"], r["targets"], r["language_code"], r["user_id"], "real", "") for r in base]
    number = 0
    while len(made) < rows:
        row, what, number = draw.choice(base), number % 50, number + 1
        name = "x" + hashlib.sha256(b"%d" % number).hexdigest()[:15]
        prompt, answer, kind = row["inputs"], row["targets"], "spliced"
        if what < 4:
            kind = "exact"
        elif what < 8:
            prompt, answer, kind = f"  {prompt.upper()} " if not is_code(prompt) else f" {prompt}", answer + "\r\n", "trivial"
        elif what < 16:
            prompt, kind = edited(prompt, draw), "near"
        else:
            other = draw.choice(base)
            prompt, answer = spliced(prompt, other["inputs"]) + f" {number}", spliced(answer, other["targets"])
        if not problems(Draft(prompt, answer, row["language_code"], record_id=name)):
            made.append((name, prompt, answer, row["language_code"], row["user_id"], kind, row["record_id"] if kind in ("exact", "trivial", "near") else ""))
    # Real rows are the earliest, so that they are what is kept.
    columns = list(zip(*made, strict=True))
    pq.write_table(pa.table(dict(zip(["record", "inputs", "targets", "language", "author", "kind", "of"], columns, strict=True))), out)


def part(corpus: Path, out: Path, start: int, stop: int) -> tuple[Path, int]:
    """Clean some rows of the corpus and leave them with the keys of their copies."""
    table = pq.read_table(corpus, columns=["record", "inputs", "targets", "language", "author", "kind"]).slice(start, stop - start)
    with pa.OSFile(str(out), "wb") as file, pa.ipc.new_file(file, COLUMNS) as writer:
        for page in table.to_batches(max_chunksize=PAGE):
            writer.write_batch(to_arrow([candidate(row) for row in page.to_pylist()], near=True))
    return out, table.num_rows


def candidate(row: dict[str, Any]) -> Candidate:
    stored = "2026-01-01T00:00:00Z" if row["kind"] == "real" else "2026-01-02T00:00:00Z"
    record = Record(
        record=row["record"],
        inputs="",
        targets="",
        language=row["language"],
        annotation_type="original-annotations",
        user_id=None,
        parents=(),
        licence="",
        written_at=None,
        line=0,
        batch="b",
        position=0,
        statement="s",
        member=row["author"],
        authors=(row["author"],),
        salt="",
        commitment="",
        created_at=stored,
        erased_at=None,
    )
    return Candidate(record, ("c",), normalise(row["inputs"]), normalise(row["targets"]))


def ours(corpus: Path, jobs: int, setting: dict[str, int]) -> dict[str, tuple[str, str]]:
    """Return {record left out: (reason, record kept)}."""
    rows = pq.ParquetFile(corpus).metadata.num_rows
    recipe = Recipe.parse({"near_duplicates": setting})
    with tempfile.TemporaryDirectory(dir=corpus.parent) as name, Pool(jobs) as pool:
        cuts = [rows * number // SHARDS for number in range(SHARDS + 1)]
        tasks = (partial(part, corpus, Path(name) / f"{number:02}", cuts[number], cuts[number + 1]) for number in range(SHARDS))
        paths = [path for path, _ in pool.run(tasks)]
        verdicts = join([Shard(path) for path in paths], recipe, pool, paths)
    return {one.record: (one.reason, one.detail.split(":")[0].removeprefix("of ")) for verdict in verdicts for one in verdict.excluded}


def judged(corpus: Path, out: dict[str, tuple[str, str]], setting: dict[str, int]) -> dict[str, Any]:
    """Recall of what was planted, and how alike the near copies are that were left out."""
    rows = {row["record"]: row for row in pq.read_table(corpus).to_pylist()}
    planted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for name, row in rows.items():
        kind = row["kind"]
        if kind not in ("exact", "trivial", "near"):
            continue
        kinds = [kind]
        if kind == "near":
            one, other = sides(Row.of(candidate(row))), sides(Row.of(candidate(rows[row["of"]])))
            prose = not is_code(normalise(row["inputs"])) and len(key(one[0])) >= NearDuplicatesParameters().short_below
            numbers = [c for c in one[0] if c.isdigit()] == [c for c in other[0] if c.isdigit()]
            if min(likeness(one[0], other[0]), likeness(one[1], other[1])) * 10 >= 7:
                kinds.append("near, 0.7 alike or more")
                if prose and numbers:
                    kinds.append("near, 0.7 alike or more, and not code, a few words or another number")
        for label in kinds:
            planted[label] += 1
            found[label] += name in out
    return {
        "left_out": dict(Counter(reason for reason, _ in out.values())),
        "recall": {label: round(found[label] / count, 3) for label, count in planted.items()},
        "planted": dict(planted),
        "near_copies_under_0.7": under(rows, out, setting),
        "left_out_share": recall_of(corpus, set(out)),
    }


def under(rows: dict[str, dict[str, Any]], out: dict[str, tuple[str, str]], setting: dict[str, int]) -> dict[str, int]:
    """Count near copies with a side under 0.7: as the rule compares them, by folded characters, by characters as they stand."""
    parameters = NearDuplicatesParameters(**setting)
    found = {"as_the_rule_compares": 0, "by_folded_characters": 0, "by_raw_characters": 0}
    for name, (reason, of) in out.items():
        if reason == "near_duplicate":
            raw = Row.of(candidate(rows[name])), Row.of(candidate(rows[of]))
            folded = list(zip(sides(raw[0]), sides(raw[1]), strict=True))
            # Few letters must be equal, but for case and punctuation: what the rule then compares are the letters.
            ruled = [(key(one), key(other)) if len(key(one)) < parameters.short_below else (one, other) for one, other in folded]
            for label, pairs in zip(found, (ruled, folded, [(raw[0].prompt, raw[1].prompt), (raw[0].answer, raw[1].answer)]), strict=True):
                found[label] += any(likeness(*pair) * 10 < 7 for pair in pairs)
    return found


def recall_of(corpus: Path, removed: set[str]) -> dict[str, float]:
    rows = pq.read_table(corpus, columns=["record", "kind"]).to_pylist()
    planted = Counter(row["kind"] for row in rows)
    found = Counter(row["kind"] for row in rows if row["record"] in removed)
    return {kind: round(found[kind] / planted[kind], 3) for kind in ("exact", "trivial", "near", "real", "spliced")}


def peer(python: str, name: str, corpus: Path, jobs: int) -> dict[str, Any]:
    out = corpus.with_suffix(f".{name}.json")
    subprocess.run([python, str(Path(__file__).with_name("build_peers.py")), name, str(corpus), str(out), str(jobs)], check=True, stdout=subprocess.DEVNULL)
    said = json.loads(out.read_text())
    return {"seconds": round(said["seconds"], 1), "versions": said["versions"], "left_out_share": recall_of(corpus, set(said["removed"]))}


def copies(folder: Path, work: Path, rows: int, python: str, jobs: int) -> dict[str, Any]:
    corpus, small = work / "corpus.parquet", work / "small.parquet"
    grow(folder, corpus, rows)
    grow(folder, small, rows // 10)
    results: dict[str, Any] = {"rows": rows, "processes": jobs}
    for label, setting in SETTINGS.items():
        began = time.perf_counter()
        out = ours(corpus, jobs, setting)
        results[label] = {"setting": setting, "seconds": round(time.perf_counter() - began, 1)} | judged(corpus, out, setting)
        began = time.perf_counter()
        ours(small, jobs, setting)
        results[label][f"seconds_for_{rows // 10}"] = round(time.perf_counter() - began, 1)
    for name, path, ours_took in (("datatrove", corpus, "seconds"), ("datasets", small, f"seconds_for_{rows // 10}")):
        took = peer(python, name, path, jobs)
        times = {f"times_{label}": round(took["seconds"] / results[label][ours_took], 2) for label in SETTINGS}
        results["datasets_and_datasketch" if name == "datasets" else name] = {"rows": pq.ParquetFile(path).metadata.num_rows} | took | times
    return results


def fill(corpus: Path, location: Path) -> None:
    """Store the corpus as contributions, one sealed batch a member, and some ratings."""
    by_author: dict[str, list[Draft]] = {}
    for row in sorted(pq.read_table(corpus).to_pylist(), key=lambda row: row["kind"] != "real"):
        draft = Draft(row["inputs"], row["targets"], row["language"], record_id=row["record"], licence="CC-BY-4.0")
        if not problems(draft):
            by_author.setdefault("m-" + hashlib.sha256(row["author"].encode()).hexdigest()[:16], []).append(draft)
    with ContributionStore(location) as store:
        for member, drafts in by_author.items():
            batch = store.add_batch(member, drafts, at="2026-01-01T00:00:00Z")
            store.seal(batch.batch, sha256(batch.batch.encode()))
        ids = [draft.record_id for drafts in by_author.values() for draft in drafts if draft.record_id is not None][::50]
        for number in range(3):
            review = store.reviews.add(f"m-{number:016x}", [RatingDraft(record, 1 + (number + len(record)) % 5) for record in ids], at=AT)
            store.reviews.seal(review.review, sha256(review.review.encode()))


class Peak:
    """Peak memory of this process and its children: the sum of their proportional set sizes, looked at twice a second."""

    def __init__(self) -> None:
        self.kib, self.ticks, self._stop = 0, dict[int, int](), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        me = os.getpid()
        while not self._stop.wait(0.5):
            total, family = 0, [me]
            for pid in family:  # grows while it is walked: children, and their children
                try:
                    family += [int(child) for thread in Path(f"/proc/{pid}/task").glob("*/children") for child in thread.read_text().split()]
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    self.ticks[pid] = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
                except OSError:
                    continue
                total += next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
            self.kib = max(self.kib, total)

    def cpu_s(self) -> float:
        """Processor time of all processes, as far as they were seen: what a process does in its last half second is not."""
        return round(sum(self.ticks.values()) / os.sysconf("SC_CLK_TCK"), 1)

    def mib(self) -> int:
        self._stop.set()
        return self.kib // 1024


def whole(folder: Path, work: Path, rows: int, jobs: int) -> dict[str, Any]:
    """Every stage, from the store to a build with its proofs, in a process of its own."""
    corpus, store = work / f"corpus-{rows}.parquet", work / f"store-{rows}.sqlite"
    grow(folder, corpus, rows)
    fill(corpus, store)
    corpus.unlink()
    return in_child(folder, store, work / f"build-{rows}", jobs, "pool")


def executors(folder: Path, work: Path, rows: int, jobs: int) -> dict[str, Any]:
    """The same build by each executor, one after the other and again, since the machine is not ours alone; each time the same manifest."""
    corpus, store = work / f"corpus-{rows}.parquet", work / f"store-{rows}.sqlite"
    grow(folder, corpus, rows)
    fill(corpus, store)
    runs = []
    for number in range(4):
        executor, load = ("pool", "datatrove")[number % 2], round(os.getloadavg()[0], 1)
        runs.append({"executor": executor, "load_average_before": load, **in_child(folder, store, work / f"build-{number}", jobs, executor)})
    assert len({run["manifest"] for run in runs}) == 1
    ratios = {}
    for what in ("build_s", "cpu_s", "peak_pss_mib"):
        least = {name: min(run[what] for run in runs if run["executor"] == name) for name in ("pool", "datatrove")}
        ratios[what] = round(least["datatrove"] / least["pool"], 2)
    return {"runs": runs, "datatrove_to_pool": ratios}


def in_child(folder: Path, store: Path, out: Path, jobs: int, executor: str) -> dict[str, Any]:
    command = [sys.executable, __file__, str(folder), "--child", str(store), str(out), str(jobs), executor]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def child(folder: Path, store: Path, out: Path, jobs: int, executor: str) -> dict[str, Any]:
    items = []
    for name in ("eval_xcopa", "eval_mgsm"):
        for number, line in enumerate((folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()):
            row = json.loads(line)
            items.append(Item(f"{name}-{number}", " ".join([row.get("premise", ""), row["question"], *row.get("choices", [])]).strip()))
    peak, began = Peak(), time.perf_counter()
    steps: dict[str, float] = {}

    def progress(label: str, _done: int, _total: int) -> None:
        steps.setdefault(label, round(time.perf_counter() - began, 1))

    with ContributionStore(store) as opened:
        made = build(
            opened,
            out,
            coop=sha256(b"coop"),
            log_size=7,
            log_root=sha256(b"log"),
            at=AT,
            use=USE,
            consent_for=lambda member, _language, _batch: sha256(member.encode()),
            suites=[suite("xcopa_mgsm", items)],
            jobs=jobs,
            steps=None if executor == "pool" else through_datatrove(out.with_name(f"{out.name}-parts"), jobs),
            progress=progress,
        )
    built = time.perf_counter() - began
    proved = proofs(made)
    total = time.perf_counter() - began
    manifest = made.manifest
    stored = manifest["records"] + sum(manifest["excluded"].values())
    return {
        "manifest": made.digest,
        "stored": stored,
        "processes": jobs,
        "records": manifest["records"],
        "excluded": manifest["excluded"],
        "build_s": round(built, 1),
        "steps_began_s": steps,
        "proofs_s": round(proved, 1),
        "whole_s": round(total, 1),
        "microseconds_a_row": round(total / stored * 1e6, 1),
        "peak_pss_mib": peak.mib(),
        "cpu_s": peak.cpu_s(),
    }


def through_datatrove(folder: Path, jobs: int) -> Steps:
    from data_pipeline.trove import OnThisMachine, Trove

    return Trove(folder, OnThisMachine(jobs))


def proofs(made: Build) -> float:
    """Make and check the proofs of a hundred members, and of one who has nothing."""
    began = time.perf_counter()
    rows = read_ledger(made)
    tree = OwnershipTree.of_lines((row.authors for row in rows), made.ledger.read_bytes().split(b"\n")[:-1])
    for holding in tree.holdings[:100]:
        assert tree.prove(holding.member).check() == holding.rows
    assert tree.prove("m-none").check() == 0
    return time.perf_counter() - began


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--peer-python", default=sys.executable)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--jobs", type=int, default=cores())
    asked.add_argument("--part", choices=["all", "copies", "whole", "executors"], default="all")
    asked.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.child:
        print(json.dumps(child(given.folder, Path(given.child[0]), Path(given.child[1]), int(given.child[2]), given.child[3])))
        sys.exit()
    results: dict[str, Any] = {"cores": cores(), "load_average_at_start": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as place:
        if given.part == "executors":
            results |= executors(given.folder, Path(place), given.rows, given.jobs)
            publish("build_executors", ["datatrove", "pyarrow", "numpy", "py3langid", "phonenumbers", "SQLAlchemy"], results)
            sys.exit()
        if given.part != "whole":
            results["copies"] = copies(given.folder, Path(place), given.rows, given.peer_python, given.jobs)
        if given.part != "copies":
            sizes = [given.rows // 10, given.rows]
            results["whole"] = [whole(given.folder, Path(place), rows, given.jobs) for rows in sizes]
            first, last = results["whole"]
            results["cost_of_a_row_grows_by"] = round(last["microseconds_a_row"] / first["microseconds_a_row"], 2)
    publish("build" if given.part == "all" else f"build_{given.part}", ["pyarrow", "numpy", "py3langid", "phonenumbers", "SQLAlchemy"], results)
