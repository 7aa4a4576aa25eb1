"""Preference tuning on real contributions with edits: pairs by language, and what a few DPO steps do to held-out pairs.

    python benchmarks/dpo.py FOLDER BASE [--steps 20] [--work DIRECTORY]

FOLDER holds `contributions.jsonl` (with edit ancestry) and what else `spot_check.py` reads; it is not part of the project. BASE is a folder
of base weights. Consent is made up: everybody gives it. The run goes through `train.plan.resolve` and `train.run.train`, on one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))

from spot_check import USE, filled, made

from data_pipeline.manifest import Build, read_build
from data_pipeline.tokens.make import make_tokens
from governance_hooks.canonical import digest, sha256
from governance_hooks.plan import Code, Limits
from governance_hooks.training import Lora, Training
from tests.passing import Passing
from train.config import RunConfig
from train.plan import describe, resolve

COOP = sha256(b"spot check")
SEQUENCE = 512


def real_build(folder: Path, work: Path) -> Build:
    """Return the build of the contributions, made if it is not there yet."""
    out = work / "build"
    if not out.is_dir():
        work.mkdir(parents=True, exist_ok=True)
        made(filled(folder, work), folder, out)
    return read_build(out)


def pairs_of(build: Build, base: Path) -> dict[str, Any]:
    """Count the pairs of a build by language and reason."""
    began = time.perf_counter()
    tokens = make_tokens(build, base, sequence_tokens=SEQUENCE, minimum_rating_gap=1.0)
    pairs = tokens.description.pairs
    assert pairs is not None
    total = {name: sum(getattr(count, name) for count in pairs.found.values()) for name in type(next(iter(pairs.found.values()))).model_fields}
    return {
        "made_s": round(time.perf_counter() - began, 1),
        "training_side": total,
        "by_language": {code: count.model_dump() for code, count in pairs.found.items() if count.edits + count.ratings},
        "fit": {code: {side: getattr(both, side).rows for side in ("train", "heldout")} for code, both in pairs.languages.items()},
        "too_long": sum(both.train.too_long + both.heldout.too_long for both in pairs.languages.values()),
    }


def tuned(build: Build, base: Path, work: Path, steps: int) -> dict[str, Any]:
    """Run so many DPO steps and return the measurements on held-out pairs and rows."""
    from train.run import train

    training = Training(
        objective="dpo",
        lora=Lora(rank=16, alpha=32),
        sequence_tokens=SEQUENCE,
        max_dropped_fraction=1.0,
        sequences_per_step=2,
        sequences_per_forward=1,
        max_steps=steps,
        learning_rate=2e-4,
        validate_every_steps=steps,
        validation_rows_per_language=2,
        checkpoint_every_steps=steps,
    )
    config = RunConfig(name="dpo", use=USE, base=str(base), build=str(build.folder), training=training, limits=Limits(max_minutes=30))
    plan = resolve(config, coop=COOP, base=base, build=build.folder, code=Code(digest=digest("benchmark"), packages={}))
    print(describe(plan))
    run = work / f"run-{steps}"
    record = train(run, plan, base=base, build=build.folder, guard=Passing(), run_id=run.name, coop=COOP, proposal=None, threads=1)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "preferences" in line]
    made_steps = [line for line in lines if "loss" in line]
    return {
        "steps": record["steps"],
        "wall_s": record["wall_s"],
        "first": {name: made_steps[0][name] for name in ("loss", "reward_accuracy", "reward_margin")},
        "last_five": {name: sum(line[name] for line in made_steps[-5:]) / 5 for name in ("loss", "reward_accuracy", "reward_margin")},
        "heldout_pairs": {str(line["step"]): overall(line["preferences"]) for line in measured},
        "heldout_nll": {str(line["step"]): sum(line["validation"].values()) / len(line["validation"]) for line in measured},
    }


def overall(preferences: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the means over all held-out pairs."""
    count = sum(one["pairs"] for one in preferences.values())
    return {"pairs": count} | {
        name: sum(one[name] * one["pairs"] for one in preferences.values()) / count for name in ("loss", "reward_margin", "reward_accuracy")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        build = real_build(arguments.folder, work)
        result: dict[str, Any] = {"pairs": pairs_of(build, arguments.base)}
        if arguments.steps:
            result["run"] = tuned(build, arguments.base, work, arguments.steps)
        publish("dpo", ["peft", "torch", "transformers"], result)


if __name__ == "__main__":
    main()
