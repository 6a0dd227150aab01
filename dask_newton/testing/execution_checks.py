"""Checks of how a fit is computed: where the user chooses, chunk by chunk, and without leftovers on a cluster."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, LocalCluster
from sklearn.base import clone

from dask_newton.testing.conventions import (
    Joins,
    Reads,
    assert_same_attributes,
    assert_same_values,
    convention,
    fitted,
    fitted_attributes,
    methods_of,
    pickled,
    require,
)
from dask_newton.testing.problems import problem_for

__all__ = [
    "check_dask_distributed",
    "check_dask_fit_keeps_chunks_apart",
    "check_dask_fit_reads",
    "check_dask_no_client",
    "check_dask_threads",
]

_SECONDS_TO_FORGET = 60.0


@convention
def check_dask_no_client(estimator: Any) -> None:
    """Neither the constructor nor fit nor predict starts a distributed client; that is the user's choice."""
    before = _current()
    model = clone(estimator)
    require(_current() is before, "the constructor starts a client.")
    X, y, _ = problem_for(estimator).chunked("unequal chunks")
    model.fit(X, y)
    require(_current() is before, "fit starts a client.")
    for method in methods_of(model):
        getattr(model, method)(X)
        require(_current() is before, f"{method} starts a client.")


@convention
def check_dask_fit_keeps_chunks_apart(estimator: Any) -> None:
    """No task of a fit makes an array of all rows: the data may be larger than the memory of a worker."""
    for layout in ("unequal chunks", "column chunks"):
        X, y, _ = problem_for(estimator).chunked(layout)
        with Joins(X) as joins:
            fitted(estimator, X, y)
        require(not joins.found, f"the tasks {joins.found[:3]} return an array with all rows of X ({layout}).")


@convention
def check_dask_fit_reads(estimator: Any, *, max_reads: int) -> None:
    """A fit computes each chunk of X at most ``max_reads`` times."""
    X, y, _ = problem_for(estimator).chunked("unequal chunks")
    reads = Reads()
    fitted(estimator, reads.watch(X), y)
    most = max(reads.chunks.values())
    require(most <= max_reads, f"a chunk of X is computed {most} times; at most {max_reads} are allowed.")


@convention
def check_dask_threads(estimator: Any, *, rtol: float) -> None:
    """The threaded scheduler gives the same results as NumPy arrays."""
    theirs = fitted(estimator, *problem_for(estimator).columns)
    with dask.config.set(scheduler="threads"):
        _fit_like(theirs, estimator, rtol)


@convention
def check_dask_distributed(estimator: Any, *, rtol: float) -> None:
    """A distributed cluster gives the same results as NumPy arrays, and holds nothing of a fit afterwards."""
    theirs = fitted(estimator, *problem_for(estimator).columns)
    with _client() as client, client.as_current(), dask.config.set(scheduler=client):
        before = set(client.futures)
        mine = _fit_like(theirs, estimator, rtol)
        for name, value in fitted_attributes(mine).items():
            _, found = pickled(value)
            require(not found, f"the attribute {name} holds {', '.join(sorted(set(found)))}.")
        left = _left(client, before)
        require(not left, f"the cluster keeps {len(left)} results while the fitted estimator exists: {left[:3]}.")


def _fit_like(theirs: Any, estimator: Any, rtol: float) -> Any:
    """Fit and predict on Dask arrays, compare with a fit on NumPy arrays, and return the fitted estimator."""
    problem = problem_for(estimator)
    X, y, _ = problem.chunked("unequal chunks")
    mine = fitted(estimator, X, y)
    assert_same_attributes(mine, theirs, rtol)
    for method in methods_of(theirs):
        values = dask.compute(getattr(mine, method)(X))[0]
        assert_same_values(values, getattr(theirs, method)(problem.X), rtol, method)
    return mine


def _current() -> Client | None:
    try:
        return Client.current()
    except ValueError:
        return None


@contextmanager
def _client() -> Iterator[Client]:
    """Yield the current client, or one of two new worker processes on this machine."""
    current = _current()
    if current is not None:
        yield current
        return
    with (
        # The dashboard of the scheduler would need a fixed port.
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _left(client: Client, before: set[Any]) -> list[str]:
    """Return the results that the client still holds; it releases them in a background thread."""
    deadline = time.monotonic() + _SECONDS_TO_FORGET
    while True:
        gc.collect()
        left = [str(key) for key in set(client.futures) - before]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)
