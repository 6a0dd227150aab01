"""The passes of a linear objective, on one block: module-level functions, because they travel by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, host_dtype, to_host
from dask_newton.blocks import named, task_name
from dask_newton.losses import Loss
from dask_newton.objectives.linear.block import BlockRay, LinearBlock
from dask_newton.objectives.linear.hessians import packed_hessian
from dask_newton.objectives.linear.local import LocalLinear
from dask_newton.objectives.linear.samples import sampled_gram, sampled_output_hessians
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.objectives.rows.sampling import stratified_sample
from dask_newton.penalties.strengths import Strength


def _sums(block: LinearBlock, ray: BlockRay, hessian: bool) -> tuple[Any, ...]:
    """Return the values, the gradient and, on request, the packed Hessian of a block."""
    return (*to_host((ray.values, ray.gradient)), packed_hessian(block, ray.curvature) if hessian else None)


@named("objective")
def value(rows: RowBlock, *, fit_intercept: bool, W: np.ndarray) -> Any:
    """Send the value at W."""
    return to_host(LinearBlock(rows, fit_intercept).ray(W, gradient=False).values)


@named("gradient")
def at(rows: RowBlock, *, fit_intercept: bool, W: np.ndarray, hessian: bool) -> Any:
    """Keep margins and curvature at W; send value, gradient and, on request, the Hessian."""
    block = LinearBlock(rows, fit_intercept)
    ray = block.ray(W)
    return ray.margins, ray.curvature, _sums(block, ray, hessian)


@dataclass(frozen=True)
class Average:
    """Applies a method to the Hessian of the block's mean objective; keeps and sends its results."""

    method: Callable[..., Any]

    @property
    def task_name(self) -> str:
        """The name of the method's task."""
        return task_name(self.method)

    def __call__(
        self,
        rows: RowBlock,
        curvature: Any,
        *values: Any,
        fit_intercept: bool,
        ridge: Strength,
        **vectors: np.ndarray,
    ) -> Any:
        """Run the method."""
        weight = rows.total_weight
        local = LocalLinear(LinearBlock(rows, fit_intercept), weight, from_host(np.asarray(ridge), rows.X))
        vectors = {name: local.device(v) for name, v in vectors.items()}
        *kept, means, counts = self.method(local.hessian(curvature), *values, **vectors)
        total = tuple(weight * mean for mean in to_host(means)), counts
        return (*kept, total) if kept else total


@named("line-search")
def along(
    rows: RowBlock,
    margins: Any = (),
    *,
    fit_intercept: bool,
    W: np.ndarray | None,
    D: np.ndarray,
    steps: tuple[float, ...],
    linearize: bool,
    hessian: bool,
) -> Any:
    """Keep the margins of D and the linearisation at the first step; send the values at all steps.

    The margins of W are given, or computed from W.
    """
    block = LinearBlock(rows, fit_intercept)
    ray = block.ray(W, D, steps, margins=margins, gradient=linearize)
    kept = (ray.margins, ray.curvature) if linearize else ((), ())
    return ray.direction_margins, *kept, _sums(block, ray, hessian)


@named("line-search")
def gradients(
    rows: RowBlock,
    margins: Any = (),
    *,
    fit_intercept: bool,
    W: np.ndarray | None,
    D: np.ndarray,
    steps: tuple[float, ...],
) -> Any:
    """As :func:`along`, and send the gradients at all steps."""
    *kept, (values, gradient, _) = along(
        rows, margins, fit_intercept=fit_intercept, W=W, D=D, steps=steps, linearize=True, hessian=False
    )
    direction_margins, first, _ = kept
    block = LinearBlock(rows, fit_intercept)
    others = tuple(
        to_host(block.ray(steps=(step - steps[0],), margins=first, direction_margins=direction_margins).gradient)
        for step in steps[1:]
    )
    return *kept, (values, (gradient, *others))


@named("line-search")
def more(rows: RowBlock, margins: Any, direction_margins: Any, *, fit_intercept: bool, steps: tuple[float, ...]) -> Any:
    """Send values at further steps."""
    block = LinearBlock(rows, fit_intercept)
    return to_host(block.ray(steps=steps, margins=margins, direction_margins=direction_margins, gradient=False).values)


@named("gradient")
def step(
    rows: RowBlock, margins: Any, direction_margins: Any, *, fit_intercept: bool, size: float, hessian: bool
) -> Any:
    """As :func:`at`, from known margins."""
    block = LinearBlock(rows, fit_intercept)
    ray = block.ray(steps=(size,), margins=margins, direction_margins=direction_margins)
    return ray.margins, ray.curvature, _sums(block, ray, hessian)


@named("hessian-product")
def hess_mul(rows: RowBlock, curvature: Any, *, fit_intercept: bool, V: np.ndarray) -> Any:
    """Send the product of the Hessian with V."""
    return to_host(LinearBlock(rows, fit_intercept).hess_mul(curvature, from_host(V, rows.X)))


@named("hessian-diag")
def hess_diag(rows: RowBlock, curvature: Any, *, fit_intercept: bool) -> Any:
    """Send the diagonal of the Hessian."""
    return to_host(LinearBlock(rows, fit_intercept).hess_diag(curvature))


def _mean_diagonal(loss: Loss, curvature: Any) -> Any:
    return sum(loss.hess_entry(curvature, k, k) for k in range(loss.n_outputs)) / loss.n_outputs


@named("gram-matrix")
def gram(rows: RowBlock, curvature: Any, *, fit_intercept: bool) -> Any:
    """Send the Gram matrix, weighted by the mean diagonal of the rows' Hessians."""
    return to_host(LinearBlock(rows, fit_intercept).grams(curvature, [_mean_diagonal])[0])


@named("row-sample")
def sample_rows(rows: RowBlock, index: int, *, fraction: float, seed: int) -> dict[int, dict[str, Any]]:
    """Send the columns of a stratified sample of the rows, keyed by the block's index."""
    part = stratified_sample(rows, index, fraction, seed)
    return {index: {name: to_host(getattr(part, name)) for name in ("X", "y", "weight", "offset")}}


@named("sampled-gram-matrix")
def sample_gram(rows: RowBlock, index: int, *, fit_intercept: bool, W: np.ndarray, fraction: float, seed: int) -> Any:
    """Send the Gram matrix of a row sample, weighted by the mean diagonal of the rows' Hessians."""
    n = max(1, math.ceil(fraction * rows.n_rows))
    block = LinearBlock(rows, fit_intercept)
    gram = sampled_gram(block, from_host(W, rows.X), n, _mean_diagonal, [seed, index])
    return to_host(gram).astype(host_dtype(rows.X.dtype), copy=False)


@named("sampled-hessians")
def output_hessians(
    rows: RowBlock, curvature: Any, index: int, *, fit_intercept: bool, fraction: float, seed: int
) -> Any:
    """Send the sampled diagonal blocks of the Hessian, and its whole diagonal."""
    n, block = max(1, math.ceil(fraction * rows.n_rows)), LinearBlock(rows, fit_intercept)
    grams = sampled_output_hessians(block, curvature, n, [seed, index])
    dtype = host_dtype(rows.X.dtype)
    return np.stack([to_host(g).astype(dtype, copy=False) for g in grams]), to_host(block.hess_diag(curvature))
