"""What one pass costs when its blocks have nothing to do: a broadcast and a sum of 7,840 float64 numbers."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable

import dask
import numpy as np

from dask_newton.blocks import place_delayed

from .clusters import local_cluster

N_WORKERS = 2
N_BLOCKS = (2, 64)


def scaled(x, *, v):
    return x * v


def scaled_and_kept(x, state, *, v):
    return state, x * v


def noop(i):
    return i


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Pass:
    """A pass over blocks in this process, or, with a client, in its workers."""

    def __init__(self, n_blocks: int, keep: int) -> None:
        self.blocks, self.column = place_delayed([dask.delayed(float)(i) for i in range(n_blocks)])
        self.state = self.blocks.place([0.0] * n_blocks)
        self.v = np.ones(7840)
        self.keep = keep

    def __call__(self) -> None:
        if self.keep:
            # State goes from pass to pass, as in a solver; on a cluster it is anchored on the way.
            self.state, _ = self.blocks.map_reduce(scaled_and_kept, self.column, self.state, keep=1, v=self.v)
        else:
            self.blocks.map_reduce(scaled, self.column, v=self.v)


class Threads:
    """The scheduler of threads."""

    params = (N_BLOCKS, (0, 1))
    param_names = ("n_blocks", "keep")

    def setup(self, n_blocks: int, keep: int) -> None:
        self.config = dask.config.set(scheduler="threads")
        self.run = Pass(n_blocks, keep)
        self.run()

    def teardown(self, n_blocks: int, keep: int) -> None:
        del self.run
        self.config.__exit__(None, None, None)

    def time_pass(self, n_blocks: int, keep: int) -> None:
        self.run()


class Cluster:
    """Two worker processes on this machine."""

    params = (N_BLOCKS, (0, 1))
    param_names = ("n_blocks", "keep")
    timeout = 120

    def setup(self, n_blocks: int, keep: int) -> None:
        self.opened = contextlib.ExitStack()
        self.client = self.opened.enter_context(local_cluster(N_WORKERS))
        self.run = Pass(n_blocks, keep)
        self.run()

    def teardown(self, n_blocks: int, keep: int) -> None:
        del self.run
        self.opened.close()

    def time_pass(self, n_blocks: int, keep: int) -> None:
        self.run()

    def track_ratio(self, n_blocks: int, keep: int) -> float:
        """Cost of a pass over that of the least that Dask can do: one empty task per worker, and its result back."""
        times = [(seconds(self.run), seconds(self._noop)) for _ in range(60)]
        passes, noops = zip(*times[10:], strict=True)
        return statistics.median(passes) / statistics.median(noops)

    track_ratio.unit = "x noop round"

    def _noop(self) -> None:
        self.client.gather(self.client.map(noop, range(N_WORKERS), pure=False))
