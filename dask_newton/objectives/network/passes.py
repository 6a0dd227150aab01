"""The passes of a network's objective, on one block: module-level functions, because they travel by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_newton.arrays import to_host
from dask_newton.blocks import named
from dask_newton.objectives.network.block import NetworkBlock, Remembered
from dask_newton.objectives.network.kronecker import block_factors, pack
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.objectives.rows.sampling import batch_rows, stratified_sample


@named("objective")
def values(rows: RowBlock, *, layers: Layers, points: tuple[np.ndarray, ...]) -> Any:
    """Send the values at some points."""
    return to_host(NetworkBlock(rows, layers).values(points))


@named("line-search")
def values_along(rows: RowBlock, *, layers: Layers, W: np.ndarray, D: np.ndarray, steps: tuple[float, ...]) -> Any:
    """Send the values at ``W + a D``."""
    return to_host(NetworkBlock(rows, layers).values_along(W, D, steps))


@named("gradient")
def at(rows: RowBlock, *, layers: Layers, W: np.ndarray, remember: bool) -> Any:
    """Keep what curvature products need; send value and gradient."""
    value, gradient, kept = NetworkBlock(rows, layers).linearize(W, keep=remember)
    return kept, (to_host(value)[None], to_host(gradient))


@named("kronecker-factors")
def at_with_factors(rows: RowBlock, *, layers: Layers, W: np.ndarray, remember: bool) -> Any:
    """As :func:`at`, and send the upper triangles of the Kronecker factors."""
    block = NetworkBlock(rows, layers)
    value, gradient, kept = block.linearize(W, keep=True)
    packed = pack(block_factors(block, kept))
    kept = kept if remember else Remembered(kept.theta, ())
    return kept, ((to_host(value)[None], to_host(gradient)), packed)


@named("line-search")
def along(
    rows: RowBlock, *, layers: Layers, W: np.ndarray, D: np.ndarray, steps: tuple[float, ...], remember: bool
) -> Any:
    """As :func:`at` for the first step; send the values at the others too."""
    kept, (value, gradient) = at(rows, layers=layers, W=W + steps[0] * D, remember=remember)
    rest = values_along(rows, layers=layers, W=W, D=D, steps=steps[1:]) if len(steps) > 1 else value[:0]
    return kept, (np.concatenate([value, rest]), gradient)


@named("hessian-product")
def product(rows: RowBlock, remembered: Remembered, *, layers: Layers, V: np.ndarray, exact: bool) -> Any:
    """Send the products of the curvature with every column of V."""
    block = NetworkBlock(rows, layers)
    columns = [block.hess_mul(remembered, V[:, [j]], exact=exact) for j in range(V.shape[1])]
    return np.concatenate([to_host(column) for column in columns], axis=1)


@named("batch-gradient")
def batch_gradient(
    rows: RowBlock, index: int, *, layers: Layers, W: np.ndarray, batch: int, n_batches: int, seed: tuple[int, ...]
) -> Any:
    """Send the gradient over a batch of the rows."""
    part = batch_rows(rows.n_rows, batch, n_batches, np.random.default_rng([*seed, index]))
    return to_host(NetworkBlock(rows.take(part), layers).linearize(W, keep=False)[1]) if len(part) else None


@named("row-sample")
def sample_at(
    rows: RowBlock,
    index: int,
    *,
    layers: Layers,
    W: np.ndarray,
    fraction: float,
    seed: int,
    at_least: int,
    remember: bool,
) -> Any:
    """Keep a stratified sample of the rows, and what products need at W; send its weight."""
    part = stratified_sample(rows, index, fraction, seed, at_least)
    return part, NetworkBlock(part, layers).remember(W, keep=remember), part.total_weight
