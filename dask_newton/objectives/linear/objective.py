"""The objective of a regularised linear model over blocks of rows; every public method that reads data is one pass.

    F(W) = (1/S) sum_j s_j l(y_j, [x_j 1] W + o_j) + R(w),      S = sum_j s_j,    W = [w; b']

w (n_features, K) is penalised; the intercept b, the last row of W, is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dask_newton.arrays import stored
from dask_newton.blocks import Blocks, PerBlock, SerialBlocks
from dask_newton.losses import Loss
from dask_newton.objectives.examine import examine
from dask_newton.objectives.linear import hessians, passes
from dask_newton.objectives.linear.penalised import Penalised
from dask_newton.objectives.points import Point, Ray
from dask_newton.objectives.rows import sampling
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import NoPenalty, Penalty

__all__ = ["Ray", "LinearObjective", "Point"]


@dataclass(frozen=True, eq=False)
class LinearObjective(Penalised):
    """F over the rows of ``data``.

    Attributes
    ----------
    blocks, data, index, weights, loss, penalty, shape, precision, share
        As in :class:`~dask_newton.objectives.base.Objective`.
    column_squares : ndarray, shape (q,)
        Diagonal of ``[X 1]' diag(s) [X 1] / S``.
    fit_intercept : bool
        Whether the last row of W is an intercept.
    n_rows : int
        Number of rows in all.
    n_stored : int
        Number of stored entries of X; less than n_rows n_features if X is sparse.
    smallest_weight : float
        The smallest sample weight that is not zero.
    scale : ndarray, shape (q, 1)
        Divides the entries of the gradient before they are compared with a tolerance: 1 for labels. For numeric
        targets it is the typical entry ``rms(x_j) rms(y)`` (for Tweedie losses rms(y) to the power 2 - p), so that the
        units of the data do not matter.
    null : ndarray, shape (q, K)
        Where solvers start: the best model without features; zeros without an intercept.
    """

    blocks: Blocks
    data: PerBlock[RowBlock]
    index: PerBlock[int]
    weights: np.ndarray
    column_squares: np.ndarray
    loss: Loss
    penalty: Penalty
    shape: tuple[int, int]
    fit_intercept: bool
    n_rows: int
    n_stored: int
    precision: float
    smallest_weight: float
    scale: np.ndarray
    null: np.ndarray
    share: float = 1.0

    # After so many updates the margins are computed from X again. This limits the drift of rounding errors, and keeps
    # their recipe, up to two passes a step, shorter than the interval between anchors.
    MAX_AGE = 4

    @classmethod
    def from_blocks(
        cls,
        blocks: Blocks,
        data: PerBlock[RowBlock],
        penalty: Penalty | Callable[[float], Penalty],
        *,
        fit_intercept: bool = True,
    ) -> LinearObjective:
        """Check the blocks (one pass) and drop those without weight.

        Parameters
        ----------
        blocks, data
            The engine and the rows.
        penalty : Penalty or callable
            R, or a function that returns it, given S, the sum of the weights.
        fit_intercept : bool
            Whether the last row of W is an intercept.

        Raises
        ------
        ValueError
            If a block holds NaN, infinity or negative weights, if its arrays differ in length, or if no block has any
            weight.
        """
        rows = examine(blocks, data)
        found, total = rows.found, math.fsum(rows.weights)
        first, squares = found[0], rows.squares[: found[0].n_features + fit_intercept] / total
        shape = (len(squares), first.loss.n_outputs)
        if not isinstance(penalty, Penalty):
            penalty = penalty(total)
        scale, null = np.ones((shape[0], 1)), np.zeros(shape)
        if first.loss.numeric:
            mean, offset, square = rows.targets()
            scale = np.sqrt(squares)[:, None] * first.loss.gradient_scale(square)
            scale[scale == 0] = 1.0
            if fit_intercept:
                null[-1] = first.loss.null_margin(mean) - offset
        return cls(
            rows.blocks,
            rows.data,
            rows.index,
            rows.weights,
            squares,
            first.loss,
            penalty,
            shape,
            fit_intercept,
            sum(block.n_rows for block in found),
            sum(block.n_stored for block in found),
            first.precision,
            min(block.smallest_weight for block in found),
            scale,
            null,
        )

    @property
    def _block_options(self) -> dict[str, Any]:
        return {"fit_intercept": self.fit_intercept}

    @property
    def curvature_bound(self) -> float | None:
        """A bound of the curvature of the mean loss from the trace of ``[X 1]' diag(s) [X 1] / S``, or None."""
        bound = self.loss.curvature_bound
        return None if bound is None else bound * float(self.column_squares.sum())

    @property
    def convex(self) -> bool:
        """Whether the loss is convex."""
        return self.loss.convex

    def has_no_optimum(self, value: float) -> bool:
        """Whether a value of F shows that F has no minimum.

        Without a penalty there is none if the classes are separable. If the total loss is less than what one
        misclassified sample would contribute, all samples are classified correctly, and scaling W up decreases F.
        """
        if not isinstance(self.penalty, NoPenalty) or self.loss.decided_below is None:
            return False
        return value * self.total_weight < self.loss.decided_below * self.smallest_weight

    def value(self, W: np.ndarray) -> float:
        """Return F(W), at half the cost of :meth:`at`."""
        values = self._pass(passes.value, self.data, W=W)
        return float(values[0]) / self.total_weight + self.penalty.value(self.penalised(W))

    def at(self, W: np.ndarray, *, hessian: bool = False) -> Point:
        """Linearise at W: value, gradient, what later products need, and on request the Hessian."""
        *kept, sums = self._pass(passes.at, self.data, keep=2, W=W, hessian=hessian)
        return self._point(W, sums, kept, 0)

    def along(
        self, point: Point, D: np.ndarray, steps: Sequence[float], *, linearize: bool = True, hessian: bool = False
    ) -> Ray:
        """Evaluate F at ``W + a D``; with ``linearize``, also linearise at the first step size."""
        columns, W, age = self._margins(point)
        direction_margins, *kept, sums = self._pass(
            passes.along,
            *columns,
            keep=3,
            W=W,
            D=D,
            steps=tuple(steps),
            linearize=linearize,
            hessian=hessian,
        )
        first = self._point(point.W + steps[0] * D, sums, kept, age) if linearize else None
        return self._ray(point, D, steps, sums[0], direction_margins, first)

    def gradients_along(self, point: Point, D: np.ndarray, steps: Sequence[float]) -> tuple[Ray, list[np.ndarray]]:
        """As :meth:`along`, with the gradients at all step sizes."""
        columns, W, age = self._margins(point)
        direction_margins, *kept, (values, sums) = self._pass(
            passes.gradients, *columns, keep=3, W=W, D=D, steps=tuple(steps)
        )
        gradients = [self._gradient(point.W + a * D, total) for a, total in zip(steps, sums, strict=True)]
        first = self._point(point.W + steps[0] * D, (values, sums[0], None), kept, age)
        return self._ray(point, D, steps, values, direction_margins, first), gradients

    def more(self, point: Point, ray: Ray, steps: Sequence[float]) -> Ray:
        """Evaluate F at further step sizes; X is not read."""
        margins = ray.direction_margins
        values = self._pass(passes.more, self.data, point.margins, margins, share=0.0, steps=tuple(steps))
        return self._ray(point, ray.D, steps, values, margins, None)

    def step(self, point: Point, ray: Ray, size: float, *, hessian: bool = False) -> Point:
        """Linearise at ``W + size D`` from known margins: one product with X instead of two."""
        W = point.W + size * ray.D
        if point.age >= self.MAX_AGE:
            return self.at(W, hessian=hessian)
        *kept, sums = self._pass(
            passes.step, self.data, point.margins, ray.direction_margins, keep=2, size=size, hessian=hessian
        )
        return self._point(W, sums, kept, point.age + 1)

    def hess_mul(self, point: Point, V: np.ndarray) -> np.ndarray:
        """Return the Hessian of the differentiable part at the point, times V of shape (q, K) or (q, K, b)."""
        product = self._pass(passes.hess_mul, self.data, point.curvature, V=V) / self.total_weight
        self.penalised(product)[...] += self.smooth.hess_mul(self.penalised(V))
        return product

    def average(
        self, point: Point, method: Callable[..., Any], *columns: PerBlock[Any], keep: int = 0, **vectors: np.ndarray
    ) -> Any:
        """Average the results of a method that each block applies to the Hessian of its mean objective.

        Parameters
        ----------
        point : Point
        method : callable
            ``method(H, *values, **vectors)``, where ``H(v)`` is the product. It gets a value of each column, and the
            vectors, which are broadcast, on the device of the block. It returns ``keep`` values that stay with the
            block, followed by two tuples, ``means`` and ``counts``.

        Returns
        -------
        (column, ..., means, counts)
            The kept values, the means over blocks, weighted by their sample weights, and the sums of the counts.
        """
        result = self._pass(
            passes.Average(method),
            self.data,
            point.curvature,
            *columns,
            keep=keep,
            share=1.0,
            ridge=self.smooth.hess_diag,
            **vectors,
        )
        *kept, (means, counts) = result if keep else (result,)
        return (*kept, tuple(mean / self.total_weight for mean in means), counts)

    def hess_diag(self, point: Point) -> np.ndarray:
        """Return the diagonal of the Hessian of the differentiable part, shape (q, K)."""
        return self._pass(passes.hess_diag, self.data, point.curvature) / self.total_weight + self.ridge()

    def gram(self, point: Point) -> np.ndarray:
        """Return ``[X 1]' diag(s d) [X 1] / S`` with d the mean diagonal of each row's Hessian, plus the l2 term.

        One q x q matrix then stands for the Hessian blocks of all outputs.
        """
        gram = self._pass(passes.gram, self.data, point.curvature) / self.total_weight
        return gram + np.diag(self.ridge().mean(axis=1))

    def sample(self, fraction: float, seed: int) -> LinearObjective:
        """Return the objective over a random sample of the rows of every block, drawn without replacement."""
        share = fraction * self.share
        data, weights = self.blocks.map_reduce(
            sampling.sample, self.data, self.index, keep=1, share=share, fraction=fraction, seed=seed
        )
        if not any(weights.values()):
            return self
        rows, weight = math.ceil(fraction * self.n_rows), np.array([weights[i] for i in sorted(weights)])
        return replace(self, data=data, weights=weight, n_rows=rows, share=share)

    def sample_here(self, fraction: float, seed: int, only: Sequence[int] | None = None) -> LinearObjective:
        """Return the objective over such a sample, copied to this process: one pass now, none on the cluster later.

        ``only`` are the blocks from which it is drawn; by default all.
        """
        columns = (self.data, self.index)
        blocks, data, index = (self.blocks, *columns) if only is None else self.blocks.select(only, *columns)
        share = fraction * blocks.n_blocks / self.blocks.n_blocks
        rows = blocks.map_reduce(passes.sample_rows, data, index, share=share, fraction=fraction, seed=seed)
        parts = [RowBlock(**rows[i], loss=self.loss) for i in sorted(rows)]
        parts = [part for part in parts if part.total_weight > 0]
        if not parts:
            return self
        blocks = SerialBlocks(len(parts))
        return replace(
            self,
            blocks=blocks,
            data=blocks.place(parts),
            index=blocks.place(range(len(parts))),
            weights=np.array([part.total_weight for part in parts]),
            n_rows=sum(part.n_rows for part in parts),
            n_stored=sum(stored(part.X).size for part in parts),
        )

    def sampled_gram(self, W: np.ndarray, fraction: float, seed: int) -> np.ndarray:
        """Estimate :meth:`gram` at W, without its l2 term, from a row sample of every block, in the precision of X."""
        sums = self._pass(passes.sample_gram, self.data, self.index, share=fraction, W=W, fraction=fraction, seed=seed)
        return sums / sums.dtype.type(self.total_weight)

    def sampled_output_hessians(self, point: Point, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Estimate the diagonal blocks of the Hessian, and compute its exact diagonal; both without the l2 term.

        Returns
        -------
        blocks : ndarray, shape (K, q, q)
            From ``fraction`` of the rows of every block, drawn for each output in proportion to their weight in it.
        diagonal : ndarray, shape (q, K)
        """
        hessians, diagonal = self._pass(
            passes.output_hessians, self.data, point.curvature, self.index, fraction=fraction, seed=seed
        )
        return hessians / hessians.dtype.type(self.total_weight), diagonal / self.total_weight

    def _margins(self, point: Point) -> tuple[tuple[PerBlock[Any], ...], np.ndarray | None, int]:
        """Return the columns of a pass along a ray, W if its margins must be computed again, and the new age."""
        if point.age >= self.MAX_AGE:  # with the margins of the direction, in one read of X
            return (self.data,), point.W, 1
        return (self.data, point.margins), None, point.age + 1

    def _point(self, W: np.ndarray, sums: tuple[Any, ...], kept: Sequence[PerBlock[Any]], age: int) -> Point:
        values, gradient, packed = sums
        value = float(values[0]) / self.total_weight + self.penalty.value(self.penalised(W))
        hessian = None
        if packed is not None:
            hessian = hessians.unpack_hessian(packed / self.total_weight, self.shape, self.loss)
            hessian[np.diag_indices(self.size)] += self.ridge().ravel()
        margins, curvature = kept
        return Point(W, value, self._gradient(W, gradient), margins, curvature, age, hessian)
