"""A real fine-tune of the real small model on real contributions: in which languages does the loss on held-out rows fall?

    python benchmarks/finetune.py FOLDER WORK [--steps 120] [--threads 1]

FOLDER holds `contributions.jsonl` (docs/data_quality.md); it is not part of the project. WORK keeps store, build, tokens and the run: the same command goes
on where it was cut off. Whether prefixes are shared is left to the plan. Consent is made up: everybody gives it; the gate has its own tests and is passed by here. The loss is measured by the run itself
(`training.validate_every_steps`), on rows whose prompts are in no training row.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from spot_check import USE, made, rows

from data_pipeline.manifest import read_build
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import loads, sha256
from governance_hooks.code import installed_code
from governance_hooks.plan import Limits, Mix, read_plan
from governance_hooks.training import Lora, Training
from tests.passing import Passing
from train.base_weights import cached_base
from train.config import RunConfig, resolve_precision
from train.plan import resolve
from train.run import train

COOP = sha256(b"spot check")
ENOUGH = 100
"""Records of a language, whose loss should fall."""


def prepared(folder: Path, work: Path) -> Path:
    """Return the build of the contributions, made once."""
    out = work / "build"
    if not out.is_dir():
        work.mkdir(parents=True, exist_ok=True)
        wanted = {json.loads(line)["record_id"] for line in (folder / "contributions.jsonl").read_text(encoding="utf-8").splitlines()}
        (work / "store.sqlite").unlink(missing_ok=True)
        with ContributionStore(work / "store.sqlite") as store:
            for number, row in enumerate(row for row in rows(folder) if row["record_id"] in wanted):
                draft = Draft(
                    inputs=row["inputs"], targets=row["targets"], language=row["language_code"], annotation_type=row["annotation_type"],
                    parents=(row["parent_id"],) if row.get("parent_id") else (), licence=row["licence"], record_id=row["record_id"],
                )  # fmt: skip
                added = store.add_batch(row["user_id"], [draft], at=row["at"])
                store.seal(added.batch, sha256(str(number).encode()))
            made(store, folder, out)
    return out


def bar(label: str, done: int, total: int) -> None:
    if label != "training" or done % 5 == 0:
        print(f"\r{label} {done}/{total}   ", end="", file=sys.stderr, flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("work", type=Path)
    asked.add_argument("--steps", type=int, default=120)
    asked.add_argument("--threads", type=int, default=1)
    given = asked.parse_args()
    build, base = prepared(given.folder, given.work), cached_base().folder
    training = Training(
        lora=Lora(rank=16, alpha=32), precision=resolve_precision(), sequence_tokens=512, max_dropped_fraction=0.5, sequences_per_step=2,
        sequences_per_forward=2, max_steps=given.steps, learning_rate=1e-3, validate_every_steps=given.steps, validation_rows_per_language=24,
        checkpoint_every_steps=10,
    )  # fmt: skip
    # A language of few tokens is not drowned by one of many, and none is repeated more than twice.
    config = RunConfig(
        name="finetune", use=USE, base=str(base), build=str(build), mix=Mix(strategy="unimax", max_epochs=2), training=training,
        limits=Limits(max_starts=9, max_minutes=600),
    )  # fmt: skip
    plan = resolve(config, coop=COOP, base=base, build=build, code=installed_code(), progress=bar)
    run_dir = given.work / "run"
    if not (run_dir / "run.json").is_file() or loads((run_dir / "run.json").read_bytes(), floats=True)["status"] != "completed":
        train(
            run_dir, plan, base=base, build=build, guard=Passing(), run_id="finetune", coop=COOP, proposal=None, progress=bar,
            threads=given.threads,
        )  # fmt: skip
    record = loads((run_dir / "run.json").read_bytes(), floats=True)
    lines = [loads(line, floats=True) for line in (run_dir / "metrics.jsonl").read_bytes().splitlines()]
    measured = [line["validation"] for line in lines if "validation" in line]
    sharing = read_plan((run_dir / "plan.json").read_bytes()).training.prefix_sharing
    counts = read_build(build).manifest["languages"]
    languages = {
        language: {
            "records": counts[language]["train"] + counts[language]["heldout"], "heldout": counts[language]["heldout"],
            "before": round(measured[0][language], 3), "after": round(measured[-1][language], 3), "falls": measured[-1][language] < measured[0][language],
        }
        for language in sorted(measured[0])
    }  # fmt: skip
    large = {language: found for language, found in languages.items() if found["records"] >= ENOUGH}
    publish(
        "finetune",
        ["torch", "transformers", "peft", "pytorch-lightning"],
        {
            "base": "SmolLM2-135M-Instruct", "precision": training.precision, "threads": given.threads, "steps": record["steps"], "starts": record["starts"],
            "prefix_sharing": sharing, "wall_min": round(record["wall_s"] / 60, 1), "tokens": sum(found["input"] for found in record["tokens"].values()),
            "computed": sum(line.get("computed", 0) for line in lines),
            "records_trained": record["trained_records"], "languages_of_100_and_more": len(large), "of_these_falls": sum(one["falls"] for one in large.values()),
            "rises": sorted(language for language, one in large.items() if not one["falls"]), "languages": languages,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
