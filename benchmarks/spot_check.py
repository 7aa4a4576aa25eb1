"""Builds real contributions with everybody's consent, and how often a record was left out wrongly, by reason.

    python benchmarks/spot_check.py FOLDER [--html PAGE] [--texts FILE]

FOLDER holds `contributions.jsonl` (with edit ancestry) and `scale.parquet`, `eval_xcopa.jsonl` and `eval_mgsm.jsonl`. They are not part of the
project. Consent is made up: everybody gives it. `spot_check_labels.json` holds what a reader of the drawn rows decided, by reason and record
id: whether it was right to leave it out. --html writes the page of the drawn rows, --texts the same as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))

import pyarrow.parquet as pq

from data_pipeline.build import build
from data_pipeline.manifest import Build
from data_pipeline.record import Draft
from data_pipeline.stages.decontamination import suite
from data_pipeline.stages.stage import Item, Suite
from data_pipeline.store import ContributionStore
from data_pipeline.views.page import page
from data_pipeline.views.sample import Dropped, sample
from governance_hooks.canonical import sha256
from governance_hooks.consent import Use

LABELS = Path(__file__).parent / "spot_check_labels.json"
COUNT = 50
SEED = "spot check"  # not the build's digest: salts are random, and the reader's decisions hold for the rows drawn
USE = Use(purpose="dpv:NonCommercialResearch", processing=["ai:ModelFineTuning", "coop:ModelEvaluation"], recipients=["coop:Members"], licence="Apache-2.0")


def utc(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of both files, each id once, parents before children, otherwise in order of time."""
    found = [json.loads(line) for line in (folder / "contributions.jsonl").read_text(encoding="utf-8").splitlines()]
    known = {row["record_id"] for row in found}
    found += [row for row in pq.read_table(folder / "scale.parquet").to_pylist() if row["record_id"] not in known]
    at: dict[str, str] = {}
    for row in sorted(found, key=lambda row: utc(row["created_at"])):
        at[row["record_id"]] = utc(row["created_at"])
    parents = {row["record_id"]: row.get("parent_id") for row in found}
    depth: dict[str, int] = {}
    for row in found:
        chain = [row["record_id"]]
        while parents[chain[-1]]:
            chain.append(parents[chain[-1]])
        depth[row["record_id"]] = len(chain)
        at[row["record_id"]] = max(at[one] for one in chain)  # four git dates go back
    for row in found:
        row["at"] = at[row["record_id"]]
    return sorted(found, key=lambda row: (row["at"], depth[row["record_id"]], row["record_id"]))


def filled(folder: Path, work: Path) -> ContributionStore:
    """Give the rows as their contributors did: what one gave on one day is a batch."""
    store = ContributionStore(work / "store.sqlite")
    for (member, _), some in groupby(rows(folder), key=lambda row: (row["user_id"], row["at"][:10])):
        batch = list(some)
        drafts = [
            Draft(
                inputs=row["inputs"],
                targets=row["targets"],
                language=row["language_code"],
                annotation_type=row["annotation_type"],
                parents=(row["parent_id"],) if row.get("parent_id") else (),
                licence=row["licence"],
                record_id=row["record_id"],
            )
            for row in batch
        ]
        added = store.add_batch(member, drafts, at=batch[-1]["at"])
        store.seal(added.batch, sha256(added.batch.encode()))
    return store


def suites(folder: Path) -> Iterator[Suite]:
    for name in ("xcopa", "mgsm"):
        lines = (folder / f"eval_{name}.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        yield suite(name, [Item(row["id"], " ".join([row["premise"], *row["choices"]]) if "premise" in row else row["question"]) for row in found])


def made(store: ContributionStore, folder: Path, out: Path) -> tuple[Build, float]:
    began = time.perf_counter()
    done = build(
        store,
        out,
        coop=sha256(b"spot check"),
        log_size=1,
        log_root=sha256(b"log"),
        at="2026-11-22T13:00:00Z",
        use=USE,
        consent_for=lambda member, _language, _batch: sha256(member.encode()),
        suites=tuple(suites(folder)),
        jobs=1,
    )
    return done, time.perf_counter() - began


def judged(drawn: dict[str, list[Dropped]], counts: dict[str, int]) -> dict[str, Any]:
    """Count the reader's decisions among the drawn rows."""
    labels = json.loads(LABELS.read_text(encoding="utf-8")) if LABELS.is_file() else {}
    table = {}
    for reason, some in drawn.items():
        read = [labels[reason][one.record] for one in some if one.record in labels.get(reason, {})]
        right = sum(decision is True for decision in read)
        table[reason] = {"left_out": counts[reason], "drawn": len(some), "read": len(read), "right": right}
        table[reason] |= {"false_drop_rate": round(1 - right / len(read), 3) if read else None}
    return table


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--html", type=Path)
    asked.add_argument("--texts", type=Path)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as work:
        began = time.perf_counter()
        with filled(given.folder, Path(work)) as store:
            imported = time.perf_counter() - began
            stored = sum(batch.records for batch in store.batches())
            done, seconds = made(store, given.folder, Path(work) / "build")
            drawn = sample(done, store, count=COUNT, seed=SEED)
        manifest = done.manifest
        if given.html:
            given.html.write_text(page("Spot check of the real run", drawn), encoding="utf-8")
        if given.texts:
            lines = [
                {"reason": reason, "record": one.record, "language": one.language, "detail": one.detail, "texts": one.texts, "kept": one.kept_texts}
                for reason, some in drawn.items()
                for one in some
            ]
            given.texts.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        marks: Counter[str] = Counter()
        for mark, count in manifest["marks"].items():
            marks[mark.partition(":")[0]] += count
        results = {
            "stored": stored,
            "rules": manifest["rules"],
            "left_out": manifest["excluded"],
            "rows": manifest["records"],
            "languages": len(manifest["languages"]),
            "marks": dict(sorted(marks.items())),
            "by_reading": judged(drawn, manifest["excluded"]),
            "seconds": {"import": round(imported), "build": round(seconds)},
        }
    publish("spot_check", ["pyarrow", "numpy", "py3langid"], results)


if __name__ == "__main__":
    main()
