"""Which rows a sample or a mini-batch has."""

from __future__ import annotations

import numpy as np

__all__ = ["batch_rows", "stratified_rows"]


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
