"""A build of the cooperative under a real SLURM that runs nothing without an order, on a gated partition, by the command line."""

from __future__ import annotations

import pytest

from commonweights.building import make_build
from commonweights.workspace import open_workspace
from data_pipeline.cluster import OnCluster, Slurm
from data_pipeline.trove import Trove
from governance_hooks.canonical import sha256
from governance_hooks.consent import Use
from governance_hooks.errors import CoopError
from governance_hooks.vocabulary import PROCESSING
from tests.slurm.sent import Lender, lender

__all__ = ["lender"]

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_a_build_runs_on_a_gated_partition_under_orders_that_name_its_scripts(lender: Lender) -> None:
    with lender.pumping(collect=False):
        lender("build", "make", "there", "--executor", "slurm", "--site", "north", "--parts", "3", "--heldout", "400")
    assert "the same bytes" in lender("build", "verify", "there", "--remake").out
    jobs = {line.split()[0].split("_")[0] for line in lender.cluster.squeue("--format=%i %j") if "coop-build-" in line}
    assert len(jobs) == 3
    for job in jobs:
        comment = lender.cluster.job(job)["Comment"]
        script = lender.cluster.run("scontrol", "write", "batch_script", job, "-").stdout
        order = (lender.site / "inbox" / comment.removeprefix("coop:") / "order.json").read_text()
        assert sha256(script.encode()) in order
        assert '"kind":"build"' in order
    assert lender.cluster.drained() == {}
    assert not (lender.home / "builds" / ".parts").exists()


def test_without_an_order_the_same_jobs_are_refused(lender: Lender) -> None:
    with open_workspace(lender.home) as space:
        use = Use(purpose="dpv:NonCommercialResearch", processing=list(PROCESSING), recipients=["coop:PublicViaReleasedWeights"], licence="Apache-2.0")
        with pytest.raises(CoopError, match="it names no order"):
            make_build(space, "never", use, steps=Trove(space.build_parts, OnCluster(Slurm("coop"))))
    assert not (lender.home / "builds" / "never").exists()
