"""Rates of the machine for these blocks, from a few short passes, measured where the blocks are.

    latency     an empty pass
    products    value and gradient of the first rows of every block, in floating point operations per second
    grams       a weighted Gram matrix of fewer rows and at most 512 columns
    bandwidth   a pass that sends half a megabyte to every process and back

Blocks are timed inside the tasks, so that the latency of a busy scheduler does not count as arithmetic. Rates are those
of all blocks together: floating point operations divided by the time from the first start to the last end in a process,
times the number of processes. As in a fit, the rows are not in any cache.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, is_sparse, row_slice, stored, to_host
from dask_newton.blocks import named
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.objectives.rows.grams import weighted_grams
from dask_newton.objectives.rows.tiles import tiles
from dask_newton.solvers.work import Work

__all__ = ["Machine", "measure"]

_ENTRIES = 2**20  # of X, over all blocks: more than the caches of the cores hold, and read in milliseconds
_GRAM_FLOPS = 2**26
_GRAM_COLUMNS = 512
_PAYLOAD = np.zeros(2**16)  # half a megabyte
_BLOCKS = {True: 4, False: 256}  # blocks measured at most; fewer if each has to be read
_QUICK = 0.005  # seconds; a shorter pass is run twice, against disturbance by other processes


@dataclass(frozen=True)
class Machine:
    """Measured rates.

    Attributes
    ----------
    latency : float
        Seconds of an empty pass.
    products, grams : float
        Floating point operations per second over all blocks, for products with X and for Gram matrices.
    driver : float
        Floating point operations per second of this process.
    bandwidth : float
        Bytes per second between this process and one other.
    processes : int
        Number of processes that hold blocks.
    reading : float
        Seconds to read streamed blocks again from their source; 0 if blocks stay in memory.
    """

    latency: float
    products: float
    grams: float
    driver: float
    bandwidth: float
    processes: int = 1
    reading: float = 0.0

    def rounded(self) -> Machine:
        """Return the rates rounded to powers of two, so that another measurement rarely changes the choice."""
        return Machine(
            _power(self.latency),
            _power(self.products),
            _power(self.grams),
            _power(self.driver),
            _power(self.bandwidth),
            self.processes,
            _power(self.reading) if self.reading else 0.0,
        )

    def seconds(self, work: Work, problem: LinearObjective) -> float:
        """Return the expected seconds for an amount of work."""
        return (
            work.passes * self.latency
            + work.reads * self.reading
            + work.products * _product_flops(problem) / self.products
            + work.grams / self.grams
            + work.driver / self.driver
            + 8 * self.processes * (work.up + work.down) / self.bandwidth
        )


def measure(problem: LinearObjective, first_pass: float) -> Machine:
    """Measure the rates; ``first_pass`` is the duration of the pass that read and examined all blocks."""
    blocks, data, index = _some(problem)
    n = blocks.n_blocks
    rows = max(1, _ENTRIES * problem.n_rows // (n * problem.n_stored + 1))
    columns = min(problem.shape[0], _GRAM_COLUMNS)
    gram_rows = max(16, _GRAM_FLOPS // (2 * n * columns**2))
    runs = [
        _seconds(
            lambda: blocks.map_reduce(
                _time_block, data, index, fit_intercept=problem.fit_intercept, rows=rows, gram_rows=gram_rows
            )
        )
        for _ in range(1 if blocks.streamed else 2)  # twice, as the first may have to start threads and libraries
    ]
    _, timed = min(runs, key=lambda run: run[0])
    latency, here = _fastest(lambda: problem.blocks.map_reduce(_whereabouts, problem.index))
    first = {process: index for index, process in sorted(here.items(), reverse=True)}
    sent, _ = _seconds(
        lambda: problem.blocks.map_reduce(_echo, problem.index, senders=tuple(first.values()), numbers=_PAYLOAD)
    )
    processes = len(first)
    products, grams = _rates(timed, processes)
    squares = 2 * problem.n_stored / products
    return Machine(
        latency,
        products,
        grams,
        _driver_rate(),
        2 * processes * _PAYLOAD.nbytes / max(sent - latency, 1e-4),
        processes,
        max(first_pass - latency - squares, latency) if problem.blocks.streamed else 0.0,
    )


def _some(problem: LinearObjective) -> tuple[Any, Any, Any]:
    """Return the engine, the data and the indices of the blocks to measure."""
    n, most = problem.blocks.n_blocks, _BLOCKS[problem.blocks.streamed]
    if n <= most:
        return problem.blocks, problem.data, problem.index
    return problem.blocks.select([n * i // most for i in range(most)], problem.data, problem.index)


@dataclass(frozen=True)
class _Timed:
    """When a block was computed, by the clock of its process, and how much work it was."""

    process: str
    began: float
    between: float
    ended: float
    product_flops: float
    gram_flops: float


def _process() -> str:
    return f"{platform.node()}:{os.getpid()}"


@named("measure-latency")
def _whereabouts(index: int) -> dict[int, str]:
    return {index: _process()}


@named("measure-bandwidth")
def _echo(index: int, *, senders: tuple[int, ...], numbers: np.ndarray) -> np.ndarray | None:
    return numbers if index in senders else None


@named("measure-speed")
def _time_block(data: RowBlock, index: int, *, fit_intercept: bool, rows: int, gram_rows: int) -> dict[int, _Timed]:
    """Time the first rows of a block."""
    part, small = LinearBlock(_head(data, rows), fit_intercept), _head(data, gram_rows).X
    if is_sparse(small):
        gram_flops = 2.0 * stored(small).size ** 2 / small.shape[0]
    else:
        small = small[:, :_GRAM_COLUMNS]
        gram_flops = 2.0 * small.shape[0] * small.shape[1] ** 2
    narrow, cuts = small.shape[1] <= _GRAM_COLUMNS, tiles(small)
    ones = from_host(np.ones((small.shape[0], 1)), data.X, data.X.dtype)
    W = from_host(np.zeros(part.shape), data.X)
    began = time.perf_counter()
    to_host(part.ray(W).values)
    between = time.perf_counter()
    if narrow:
        to_host(weighted_grams(small, False, [lambda i: ones[cuts[i], :]])[0])
    return {
        index: _Timed(
            _process(),
            began,
            between,
            time.perf_counter(),
            4.0 * max(1, stored(part.rows.X).size) * part.shape[1],
            gram_flops if narrow else 0.0,
        )
    }


def _head(block: RowBlock, n: int) -> RowBlock:
    """Return the first rows, as views."""
    n = min(n, block.n_rows)
    return replace(
        block,
        X=row_slice(block.X, slice(0, n)),
        y=block.y[:n, ...],
        weight=None if block.weight is None else block.weight[:n],
        offset=None if block.offset is None else block.offset[:n, :],
    )


def _rates(timed: dict[int, _Timed], processes: int) -> tuple[float, float]:
    """Return the rates of products and of Gram matrices over all processes."""
    rates = []
    for name in {block.process for block in timed.values()}:
        here = [block for block in timed.values() if block.process == name]
        span = max(block.ended for block in here) - min(block.began for block in here)
        at_once = sum(block.ended - block.began for block in here) / span
        on_products = sum(block.between - block.began for block in here)
        on_grams = sum(block.ended - block.between for block in here)
        product = at_once * sum(block.product_flops for block in here) / on_products
        gram = at_once * sum(block.gram_flops for block in here) / on_grams
        rates.append((product, gram or product))
    products, grams = np.mean(rates, axis=0) * processes
    return float(products), float(grams)


def _driver_rate() -> float:
    A = np.ones((256, 256))
    seconds, _ = _fastest(lambda: A @ A)
    return 2 * 256**3 / seconds


def _product_flops(problem: LinearObjective) -> float:
    return 4.0 * problem.n_stored * problem.shape[1]


def _seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def _fastest(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the duration of a run and its result; a quick run is repeated, and the faster one counts."""
    runs = [_seconds(run)]
    if runs[0][0] < _QUICK:
        runs.append(_seconds(run))
    return min(runs, key=lambda run: run[0])


def _power(x: float) -> float:
    return 2.0 ** round(math.log2(x))
