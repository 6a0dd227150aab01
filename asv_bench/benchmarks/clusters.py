"""Clusters on this machine, for benchmarks and for the scripts beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from distributed import Client, LocalCluster


@contextlib.contextmanager
def local_cluster(n_workers: int) -> Iterator[Client]:
    """Start worker processes of one thread each; their client is the current one."""
    with (
        # The scheduler's web server would want a fixed port, which another cluster may have.
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
