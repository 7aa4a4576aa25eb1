"""A real cluster for tests of this room that need no other configuration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster


@pytest.fixture(scope="module")
def plain_cluster() -> Iterator[Cluster]:
    """Three nodes of four GPUs without any enforcement."""
    cluster = Cluster()
    yield cluster
    cluster.close()
