"""Hessians of row samples of a block, for preconditioners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, to_host
from dask_newton.blocks import run_blocks
from dask_newton.losses import Loss
from dask_newton.objectives.linear.block import LinearBlock, Tiled
from dask_newton.objectives.rows.grams import weighted_grams
from dask_newton.objectives.rows.sampling import stratified_rows
from dask_newton.objectives.rows.tiles import row_bytes, tiles

__all__ = ["sampled_gram", "sampled_output_hessians"]

Array = Any


def sampled_gram(
    block: LinearBlock, W: Array, n_rows: int, entry: Callable[[Loss, Array], Array], seed: Sequence[int]
) -> Array:
    """Estimate ``[X 1]' diag(s h) [X 1]`` at W from a stratified sample of the rows of a block.

    Parameters
    ----------
    block : LinearBlock
    W : Array, shape (q, K)
    n_rows : int
        Size of the sample.
    entry : callable
        ``h = entry(loss, curvature)``.
    seed : sequence of int

    Returns
    -------
    Array, shape (q, q), float64
    """
    rows = stratified_rows(block.rows.n_rows, n_rows, np.random.default_rng(seed))
    total = from_host(np.zeros((block.shape[0],) * 2), block.rows.X)
    for chunk in _chunks(block, rows):
        part = replace(block, rows=block.rows.take(chunk))
        total = total + part.grams(part.ray(W).curvature, [entry])[0]
    return total * (block.rows.n_rows / max(1, len(rows)))


def sampled_output_hessians(block: LinearBlock, curvature: Tiled, n_rows: int, seed: Sequence[int]) -> list[Array]:
    """Estimate the diagonal blocks of a block's Hessian, one (q, q) matrix per output, float64.

    Each output draws its own sample of about ``n_rows`` rows, with probabilities min(1, c w), where w is the weight of
    the row in its matrix and c follows from ``n_rows``. A row in the sample counts ``max(w, 1 / c)``, so that the
    estimate is unbiased.
    """
    cuts = tiles(block.rows.X)

    def one(k: int) -> Array:
        parts = [
            to_host(block.rows.weigh(block.rows.loss.hess_entry(c, k, k)[:, None], cut))[:, 0]
            for c, cut in zip(curvature, cuts, strict=True)
        ]
        w = np.concatenate(parts) if parts else np.zeros(0)
        if n_rows < len(w):
            c = _inclusion_factor(w, n_rows)
            rows = np.flatnonzero(np.random.default_rng([*seed, k]).random(len(w), dtype=np.float32) < c * w)
            v = np.maximum(w[rows], 1 / c)
        else:
            rows, v = np.arange(len(w)), w
        total, done = from_host(np.zeros((block.shape[0],) * 2), block.rows.X), 0
        for chunk in _chunks(block, rows):
            X = block.rows.take(chunk).X
            h = from_host(v[done : done + len(chunk), None], X, X.dtype)
            parts_of_h = [h[cut, :] for cut in tiles(X)]
            total = total + weighted_grams(X, block.fit_intercept, [parts_of_h.__getitem__])[0]
            done += len(chunk)
        return total

    return run_blocks(one, range(block.shape[1]))


def _inclusion_factor(w: np.ndarray, size: int) -> float:
    """Return c with ``sum(min(1, c w)) = size``, approximately, by a few fixed-point steps."""
    c = size / max(float(w.sum(dtype=np.float64)), 1e-300)
    for _ in range(8):
        c *= size / max(float(np.minimum(1, c * w).sum(dtype=np.float64)), 1e-300)
    return c


def _chunks(block: LinearBlock, rows: np.ndarray) -> list[np.ndarray]:
    """Cut row numbers into runs, copies of which take about 16 MB."""
    size = max(64, 16_000_000 // row_bytes(block.rows.X))
    return [rows[start : start + size] for start in range(0, len(rows), size)]
