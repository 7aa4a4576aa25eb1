"""Shares of five guilds: all 32 coalitions in one process, against 32 separate processes that each train one of them.

    python benchmarks/shapley.py

Rows, guilds and base are made up and small, so that it ends in minutes: what is compared is the way, not the model. Both ways go through
`train.coalitions`, on one thread; the results of both are compared to the last micro-nat. Loading and imports are part of both, once or 32 times;
making the tokens is part of neither. Beside wall time stands CPU time, which a busy machine changes less.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))

from data_pipeline.build import build as make_build
from data_pipeline.guilds import assign
from data_pipeline.manifest import read_build
from data_pipeline.record import Draft
from data_pipeline.store import ContributionStore
from governance_hooks.attribution import AttributionPolicy
from governance_hooks.canonical import digest, loads, sha256
from governance_hooks.consent import Use
from governance_hooks.plan import Code, Limits, read_plan
from governance_hooks.stake.game import next_coalition
from governance_hooks.stake.guilds import assignment_bytes
from governance_hooks.stake.shares import make_shares
from governance_hooks.stake.values import Head, Trained, Values
from governance_hooks.training import Lora, Training

LANGUAGES = ("eus", "que", "spa", "swh", "yor")
ROWS = 60
COOP = digest("benchmark")
USE = Use(
    purpose="dpv:NonCommercialResearch",
    processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
    recipients=["coop:PublicViaReleasedWeights"],
    licence="Apache-2.0",
)


def words(draw: random.Random, count: int) -> list[str]:
    """Return made-up words."""
    return ["".join(draw.choices("abdegiklmnorstuz", k=6)) for _ in range(count)]


def prepared(root: Path) -> Path:
    """Write base, build and plan."""
    from tests.tiny import write_base
    from train.config import RunConfig
    from train.plan import resolve

    base = write_base(root / "base")
    with ContributionStore(root / "contributions.sqlite") as store:
        for language in LANGUAGES:
            draw = random.Random(language)
            known = words(draw, 40)
            for member in range(6):
                drafts = [
                    Draft(
                        inputs=" ".join(draw.choices(known, k=6)),
                        targets=" ".join(draw.choices(known, k=12)),
                        language=language,
                        licence="CC-BY-4.0",
                        record_id=f"{language}-{member}-{number:03d}",
                    )
                    for number in range(ROWS // 6)
                ]
                author = f"m-{language}-{member}"
                store.seal(store.add_batch(author, drafts).batch, digest(author))
        make_build(
            store, root / "build", coop=COOP, log_size=1, log_root=digest("log"), at="2026-11-22T13:00:00Z", use=USE,
            consent_for=lambda member, language, batch: digest(["consent", member]), heldout_permille=200,
        )  # fmt: skip
    training = Training(
        lora=Lora(rank=8, alpha=16), precision="32-true", sequence_tokens=256, sequences_per_step=2, sequences_per_forward=2, epochs=2, learning_rate=5e-3
    )
    config = RunConfig(
        name="five", use=USE, base=str(base), build=str(root / "build"), training=training, limits=Limits(), attribution=AttributionPolicy(minimum_members=3)
    )
    (root / "plan.json").write_bytes(resolve(config, coop=COOP, base=base, build=root / "build", code=Code(digest=digest("code"), packages={})))
    return root


def trainer(root: Path) -> Any:
    """Return the coalitions of the plan, the model loaded."""
    import torch

    from train.coalitions import Coalitions

    torch.set_num_threads(1)
    plan = read_plan((root / "plan.json").read_bytes())
    assert plan.attribution is not None
    made = assign(read_build(root / "build"), guilds=plan.attribution.guilds, minimum_members=plan.attribution.minimum_members)
    (root / "guilds.jsonl").write_bytes(assignment_bytes(made))
    return Coalitions(plan, made, base=root / "base", build=read_build(root / "build"))


def together(root: Path) -> None:
    """Train all coalitions in this process and write the table."""
    made = trainer(root)
    data = (root / "plan.json").read_bytes()
    values = Values(Head(plan=sha256(data), assignment=made.attribution.assignment, answers=made.held.answers, device="cpu", threads=1), [])
    while (wanted := next_coalition(made.attribution, values)) is not None:
        values.add(made.train(*wanted))
    (root / "values.jsonl").write_bytes(values.dumps())


def apart(root: Path, coalition: list[str]) -> None:
    """Train one coalition and print its line."""
    print(json.dumps(trainer(root).train(coalition, 0).model_dump()))


def measured(arguments: list[str]) -> tuple[str, float, float]:
    """Run this file in a process of its own; return its output, wall and CPU seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, time.perf_counter() - began, cpu


def main() -> None:
    """Measure both ways, one after the other, and compare what they say."""
    with tempfile.TemporaryDirectory() as temporary:
        root = prepared(Path(temporary))
        plan = (root / "plan.json").read_bytes()
        _, wall_s, cpu_s = measured(["--together", str(root)])
        lines = [loads(line) for line in (root / "values.jsonl").read_bytes().splitlines()[1:]]
        apart_wall = apart_cpu = 0.0
        for number, line in enumerate(lines, 1):
            said, wall, cpu = measured(["--apart", str(root), ",".join(line["coalition"])])
            alone = Trained.model_validate_json(said)
            if (alone.nll, alone.hits) != (line["nll"], line["hits"]):
                raise SystemExit(f"coalition {line['coalition']} is worth something else on its own")
            apart_wall, apart_cpu = apart_wall + wall, apart_cpu + cpu
            print(f"{number} of {len(lines)}", file=sys.stderr, flush=True)
        began = time.perf_counter()
        shares = loads(make_shares(plan, "five", (root / "values.jsonl").read_bytes(), (root / "guilds.jsonl").read_bytes()))
        check_s = time.perf_counter() - began
    publish(
        "shapley",
        ["torch", "transformers", "peft"],
        {
            "guilds": len(LANGUAGES),
            "coalitions": len(lines),
            "steps_of_all_guilds": max(line["steps"] for line in lines),
            "answers": len(lines[0]["nll"]),
            "one_process": {"wall_s": round(wall_s, 1), "cpu_s": round(cpu_s, 1)},
            "separate_processes": {"wall_s": round(apart_wall, 1), "cpu_s": round(apart_cpu, 1)},
            "ratio_wall": round(apart_wall / wall_s, 2),
            "ratio_cpu": round(apart_cpu / cpu_s, 2),
            "same_values": True,
            "recompute_s": round(check_s, 2),
            "resamples": shares["interval"]["resamples"],
            "shares_ppm": {guild: one["share_ppm"] for guild, one in shares["shares"].items()},
        },
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--together"]:
        together(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--apart"]:
        apart(Path(sys.argv[2]), [guild for guild in sys.argv[3].split(",") if guild])
    else:
        main()
