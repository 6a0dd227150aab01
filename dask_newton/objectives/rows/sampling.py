"""Samples of the rows of a block: stratified samples and mini-batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dask_newton.blocks import named
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["batch_rows", "sample", "stratified_rows", "stratified_sample"]


def stratified_rows(n_rows: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one row from each of ``size`` equal runs of rows, sorted; the draw is even, however the data are ordered."""
    if size >= n_rows:
        return np.arange(n_rows)
    edges = n_rows * np.arange(size + 1) // size
    return edges[:-1] + (rng.random(size) * np.diff(edges)).astype(np.int64)


def batch_rows(n_rows: int, batch: int, n_batches: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of one batch of a random division of all rows; the cost is that of one batch.

    Each batch has one row of every run of ``n_batches`` rows. The rows of a run are dealt in turn, from a random start.
    So batches are even, however the data are ordered, and every row has the same chance of being in a batch.
    """
    runs = np.arange(0, n_rows, n_batches)
    rows = runs + (rng.integers(n_batches, size=len(runs)) + batch) % n_batches
    return rows[rows < n_rows]


def stratified_sample(rows: RowBlock, index: int, fraction: float, seed: int, at_least: int = 1) -> RowBlock:
    """Return a stratified sample of the rows of a block (a copy): at least ``at_least`` rows, or all."""
    n = max(1, at_least, math.ceil(fraction * rows.n_rows))
    return rows.take(stratified_rows(rows.n_rows, n, np.random.default_rng([seed, index])))


@named("row-sample")
def sample(rows: RowBlock, index: int, *, fraction: float, seed: int) -> Any:
    """Keep a stratified sample of the rows; send its weight, keyed by the block's index."""
    part = stratified_sample(rows, index, fraction, seed)
    return part, {index: part.total_weight}
