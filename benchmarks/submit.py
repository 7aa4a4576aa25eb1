"""What job_submit.lua costs a submission: 200 in a row to a cluster with the enforcement and to one without, in turn, in one run."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from measure import publish

sys.path.insert(0, str(Path(__file__).parents[1]))  # the clusters are those of the tests

from tests.slurm.cluster import Cluster
from tests.slurm.enforced import SCRIPT, Enforced

SUBMISSIONS = 200


def took(cluster: Cluster, *options: str) -> float:
    """Submit a held job; return how long sbatch took, milliseconds."""
    begun = time.perf_counter()
    done = cluster.submit(SCRIPT, "--hold", *options)
    assert done.returncode == 0, done.stderr
    return (time.perf_counter() - begun) * 1000


def compared(with_plugin: list[float], without: list[float]) -> dict[str, float]:
    """Return medians, and the mean of the differences in pairs with its standard error, milliseconds."""
    added = [a - b for a, b in zip(with_plugin, without, strict=True)]
    return {
        "with_ms": round(statistics.median(with_plugin), 3),
        "without_ms": round(statistics.median(without), 3),
        "added_ms": round(statistics.median(added), 3),
        "added_mean_ms": round(statistics.fmean(added), 3),
        "standard_error_ms": round(statistics.stdev(added) / len(added) ** 0.5, 3),
    }


if __name__ == "__main__":
    site, plain = Enforced(), Cluster()
    try:
        gated = site.options(site.order())
        ungated = ["--partition=coop", "--nodes=1", "--time=5", "--gpus-per-node=1"]
        took(site.cluster, *gated)
        took(plain, *ungated)
        pairs = [(took(site.cluster, *gated), took(plain, *ungated)) for _ in range(SUBMISSIONS)]
        results = {
            "submissions": SUBMISSIONS,
            "sbatch": compared([a for a, _ in pairs], [b for _, b in pairs]),
            "slurm": plain.run("sbatch", "--version").stdout.strip(),
        }
    finally:
        site.close()
        plain.close()
    publish("submit", ["pydantic"], results)
