"""Clusters for the tests. Everything stays on this machine, and no port is fixed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster


@contextmanager
def started_cluster(n_workers: int = 2, **options: Any) -> Iterator[Client]:
    """Start worker processes with nannies. The client is not the default one, so that it must be asked for."""
    with (
        # A web server of the scheduler would want a fixed port, which another test run may have.
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"}, **options,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def session_client() -> Iterator[Client]:
    """Two worker processes for the whole session; nothing may kill them."""
    with started_cluster() as client:
        yield client


@pytest.fixture
def cluster_client(session_client: Client) -> Iterator[Client]:
    """The client of the session, current while the test runs."""
    with dask.config.set(scheduler=session_client):
        yield session_client


@pytest.fixture
def fragile_client() -> Iterator[Client]:
    """Two worker processes that the test may kill, current while the test runs."""
    # Workers that come back only when the test is over, or soon; either way no test depends on when.
    with started_cluster() as client, dask.config.set(scheduler=client):
        yield client
