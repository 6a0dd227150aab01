"""Clusters for the tests, on this machine and without fixed ports; and whether there is a GPU."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

# Worker processes start with this sys.path and must find the functions of the tests, as `tests.blocks.test_contract`.
# Last, so that the package under test is the one that is installed.
sys.path.append(str(Path(__file__).parents[1]))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need a GPU where there is none."""
    if item.get_closest_marker("gpu") and (reason := _why_no_gpu()):
        pytest.skip(reason)


@functools.cache
def _why_no_gpu() -> str:
    """Try a GPU out. CuPy can be imported, and even find a device, where nothing can be computed."""
    try:
        import cupy

        ones = cupy.ones((2, 2))
        works = float((ones @ ones).sum()) == 8
    except Exception as error:  # of as many kinds as there are ways to be without
        return f"no GPU: {type(error).__name__}: {error}"
    return "" if works else "no GPU: a product of two matrices is wrong"


@contextmanager
def _started_cluster(n_workers: int = 2, **options: Any) -> Iterator[Client]:
    """Start worker processes with nannies. The client is not the default one, so that it must be asked for."""
    with (
        # A web server of the scheduler would want a fixed port, which another test run may have.
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            **options,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def session_client() -> Iterator[Client]:
    """Two worker processes for the whole session; nothing may kill them."""
    with _started_cluster() as client:
        yield client


@pytest.fixture
def cluster_client(session_client: Client) -> Iterator[Client]:
    """The client of the session, current while the test runs."""
    with session_client.as_current():
        yield session_client


@pytest.fixture
def start_cluster() -> Callable[..., AbstractContextManager[Client]]:
    """A function that starts worker processes of one's own."""
    return _started_cluster


@pytest.fixture
def fragile_client() -> Iterator[Client]:
    """Two worker processes that the test may kill, current while the test runs."""
    with _started_cluster() as client, client.as_current():
        yield client
