"""Real clusters for tests of this room, shared by the tests of a module: each leaves the queue empty and the hooks in place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.enforced import Enforced


@pytest.fixture(scope="module")
def plain_cluster() -> Iterator[Cluster]:
    """Three nodes of four GPUs without any enforcement."""
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def _lent() -> Iterator[Enforced]:
    site = Enforced()
    yield site
    site.close()


@pytest.fixture
def enforced(_lent: Enforced) -> Iterator[Enforced]:
    """A site with the enforcement installed, and a plan members approved; after the test no node is drained."""
    yield _lent
    _lent.installation.apply()
    _lent.cluster.cancel_all()
    _lent.cluster.wait_for(lambda: not _lent.cluster.drained())
