"""Samples of the rows of a block: stratified ones, which whole passes look at, and mini-batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dask_newton.blocks import named
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["batch_rows", "sample", "stratified_rows", "stratified_sample"]


def stratified_rows(n_rows: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one row from each of ``size`` equal runs of rows: random, sorted, and even over data in any order."""
    if size >= n_rows:
        return np.arange(n_rows)
    edges = n_rows * np.arange(size + 1) // size
    return edges[:-1] + (rng.random(size) * np.diff(edges)).astype(np.int64)


def batch_rows(n_rows: int, batch: int, n_batches: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of one of the batches into which a random stream divides all rows; the work is that of one batch.

    Of every run of ``n_batches`` rows each batch has one: they are dealt in turn, beginning with a random one. So
    batches are even over data in any order, and every row has the same chance to be in a batch.
    """
    runs = np.arange(0, n_rows, n_batches)
    rows = runs + (rng.integers(n_batches, size=len(runs)) + batch) % n_batches
    return rows[rows < n_rows]


def stratified_sample(rows: RowBlock, index: int, fraction: float, seed: int, at_least: int = 1) -> RowBlock:
    """Return a stratified sample of the rows of a block (a copy), of ``at_least`` rows if there are so many."""
    n = max(1, at_least, math.ceil(fraction * rows.n_rows))
    return rows.take(stratified_rows(rows.n_rows, n, np.random.default_rng([seed, index])))


@named("row-sample")
def sample(rows: RowBlock, index: int, *, fraction: float, seed: int) -> Any:
    """Keep a stratified sample of the rows; send its weight, keyed by the block's index: a pass of both families."""
    part = stratified_sample(rows, index, fraction, seed)
    return part, {index: part.total_weight}
