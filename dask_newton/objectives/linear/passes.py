"""What each pass of the linear objective does on one block: module-level functions, so that they travel by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, host_dtype, to_host
from dask_newton.losses import Loss
from dask_newton.objectives.linear.block import LinearBlock, Ray
from dask_newton.objectives.linear.hessians import packed_hessian
from dask_newton.objectives.linear.local import LocalObjective
from dask_newton.objectives.linear.samples import sampled_gram, sampled_output_hessians
from dask_newton.objectives.rows.sampling import stratified_rows
from dask_newton.penalties.strengths import Strength


def _sums(block: LinearBlock, ray: Ray, hessian: bool) -> tuple[Any, ...]:
    """Return what a block adds to the values, the gradient and, on request, the packed Hessian."""
    return (*to_host((ray.values, ray.gradient)), packed_hessian(block, ray.curvature) if hessian else None)


def value(block: LinearBlock, *, W: np.ndarray) -> Any:
    """Send the value at W."""
    return to_host(block.ray(W, gradient=False).values)


def at(block: LinearBlock, *, W: np.ndarray, hessian: bool) -> Any:
    """Keep margins and curvature at W; send value, gradient and, on request, the Hessian."""
    ray = block.ray(W)
    return ray.margins, ray.curvature, _sums(block, ray, hessian)


def average(
    block: LinearBlock, curvature: Any, *values: Any, method: Callable[..., Any], ridge: Strength, **vectors: np.ndarray
) -> Any:
    """Keep and send what a method finds by products with the Hessian of the block's mean objective."""
    weight = block.total_weight
    local = LocalObjective(block, weight, from_host(np.asarray(ridge), block.X))
    vectors = {name: local.device(v) for name, v in vectors.items()}
    *kept, means, counts = method(local.hessian(curvature), *values, **vectors)
    total = tuple(weight * mean for mean in to_host(means)), counts
    return (*kept, total) if kept else total


def along(
    block: LinearBlock,
    margins: Any = (),
    *,
    W: np.ndarray | None,
    D: np.ndarray,
    steps: tuple[float, ...],
    linearize: bool,
    hessian: bool,
) -> Any:
    """Keep the margins of D and the linearisation at the first step; send the values at all steps.

    The margins of W are given, or computed anew from W.
    """
    ray = block.ray(W, D, steps, margins=margins, gradient=linearize)
    kept = (ray.margins, ray.curvature) if linearize else ((), ())
    return ray.slopes, *kept, _sums(block, ray, hessian)


def gradients(
    block: LinearBlock, margins: Any = (), *, W: np.ndarray | None, D: np.ndarray, steps: tuple[float, ...]
) -> Any:
    """As :func:`along`, and send the gradients at all steps."""
    *kept, (values, gradient, _) = along(block, margins, W=W, D=D, steps=steps, linearize=True, hessian=False)
    slopes, first, _ = kept
    others = tuple(
        to_host(block.ray(steps=(step - steps[0],), margins=first, slopes=slopes).gradient) for step in steps[1:]
    )
    return *kept, (values, (gradient, *others))


def more(block: LinearBlock, margins: Any, slopes: Any, *, steps: tuple[float, ...]) -> Any:
    """Send values at further steps."""
    return to_host(block.ray(steps=steps, margins=margins, slopes=slopes, gradient=False).values)


def step(block: LinearBlock, margins: Any, slopes: Any, *, size: float, hessian: bool) -> Any:
    """As :func:`at`, from remembered margins."""
    ray = block.ray(steps=(size,), margins=margins, slopes=slopes)
    return ray.margins, ray.curvature, _sums(block, ray, hessian)


def hess_mul(block: LinearBlock, curvature: Any, *, V: np.ndarray) -> Any:
    """Send the product of the Hessian with V."""
    return to_host(block.hess_mul(curvature, from_host(V, block.X)))


def hess_diag(block: LinearBlock, curvature: Any) -> Any:
    """Send the diagonal of the Hessian."""
    return to_host(block.hess_diag(curvature))


def _mean_diagonal(loss: Loss, curvature: Any) -> Any:
    return sum(loss.hess_entry(curvature, k, k) for k in range(loss.n_outputs)) / loss.n_outputs


def gram(block: LinearBlock, curvature: Any) -> Any:
    """Send the Gram matrix, weighted by the mean diagonal of the rows' Hessians."""
    return to_host(block.grams(curvature, [_mean_diagonal])[0])


def sample(block: LinearBlock, index: int, *, fraction: float, seed: int) -> Any:
    """Keep a stratified sample of the rows; send its weight, keyed by the block's index."""
    n = max(1, math.ceil(fraction * block.n_rows))
    part = block.take(stratified_rows(block.n_rows, n, np.random.default_rng([seed, index])))
    return part, {index: part.total_weight}


def sample_rows(block: LinearBlock, index: int, *, fraction: float, seed: int) -> dict[int, dict[str, Any]]:
    """Send the columns of such a sample, keyed by the block's index."""
    part, _ = sample(block, index, fraction=fraction, seed=seed)
    return {index: {name: to_host(getattr(part, name)) for name in ("X", "y", "weight", "offset")}}


def sample_gram(block: LinearBlock, index: int, *, W: np.ndarray, fraction: float, seed: int) -> Any:
    """Send the Gram matrix of a row sample, weighted by the mean diagonal of the rows' Hessians."""
    n = max(1, math.ceil(fraction * block.n_rows))
    gram = sampled_gram(block, from_host(W, block.X), n, _mean_diagonal, [seed, index])
    return to_host(gram).astype(host_dtype(block.X.dtype), copy=False)


def output_hessians(block: LinearBlock, curvature: Any, index: int, *, fraction: float, seed: int) -> Any:
    """Send the sampled diagonal blocks of the Hessian, and its whole diagonal."""
    n = max(1, math.ceil(fraction * block.n_rows))
    grams = sampled_output_hessians(block, curvature, n, [seed, index])
    dtype = host_dtype(block.X.dtype)
    return np.stack([to_host(g).astype(dtype, copy=False) for g in grams]), to_host(block.hess_diag(curvature))
