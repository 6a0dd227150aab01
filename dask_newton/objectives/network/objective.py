"""The objective of a multi-layer perceptron over blocks of rows; every public method that reads data is one pass.

    F(theta) = (1/S) sum_j s_j l(y_j, z_j(theta)) + R(w),      S = sum_j s_j

z_j are the margins of row j, see :mod:`~dask_newton.objectives.network.layers`; w are the weights of all
layers, or weights and biases. theta has shape (P, 1): W of a linear model with P rows and one column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dask_newton.blocks import Blocks, PerBlock
from dask_newton.losses import Loss
from dask_newton.objectives.base import Objective
from dask_newton.objectives.examine import examine
from dask_newton.objectives.network import kronecker, passes
from dask_newton.objectives.network.block import Remembered
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.points import Point, Ray
from dask_newton.objectives.rows import sampling
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import Penalty

__all__ = ["Curvature", "NetworkObjective"]

_NOTHING: PerBlock[Any] = PerBlock(())


@dataclass(frozen=True, eq=False)
class NetworkObjective(Objective):
    """F over the rows of ``data``.

    Attributes
    ----------
    blocks, data, index, weights, loss, penalty, precision, share
        As in :class:`~dask_newton.objectives.base.Objective`.
    layers : Layers
        The network.
    penalize_bias : bool
        Whether R includes the biases.
    n_rows : tuple of int
        Number of rows of each block.
    scale : ndarray, shape (P, 1)
        Divides the entries of the gradient before they are compared with a tolerance: 1 for labels; for numeric targets
        the typical size of a gradient.
    null : ndarray, shape (P, 1)
        Random parameters, where solvers start. For numeric targets the last biases are those of the best constant.
    keep : bool
        Whether the blocks keep activations between passes.
    """

    blocks: Blocks
    data: PerBlock[RowBlock]
    index: PerBlock[int]
    weights: np.ndarray
    layers: Layers
    loss: Loss
    penalty: Penalty
    penalize_bias: bool
    n_rows: tuple[int, ...]
    precision: float
    scale: np.ndarray
    null: np.ndarray
    keep: bool
    share: float = 1.0

    @classmethod
    def from_blocks(
        cls,
        blocks: Blocks,
        data: PerBlock[Any],
        layers: Layers,
        penalty: Penalty | Callable[[float], Penalty],
        *,
        penalize_bias: bool = False,
        seed: int = 0,
        initialisation: str = "glorot",
        cache_limit: float = 2**31,
    ) -> NetworkObjective:
        """Check the blocks (one pass) and drop those without weight.

        Parameters
        ----------
        blocks, data
            The engine and the rows.
        layers : Layers
            The network.
        penalty : Penalty or callable
            R, or a function that returns it, given S, the sum of the weights.
        penalize_bias : bool
            Whether R includes the biases.
        seed, initialisation
            Of the start, see :meth:`Layers.start`.
        cache_limit : float
            Bytes of activations that all blocks together may keep, so that curvature products need no forward pass. If
            they would take more, none are kept.

        Raises
        ------
        ValueError
            If a block holds NaN, infinity or negative weights, if its arrays differ in length, if no block has any
            weight, or if the numbers of features and outputs differ from those of the network.
        """
        rows = examine(blocks, data)
        first = rows.found[0]
        loss, ends = first.loss, (first.n_features, first.loss.n_outputs)
        if ends != (layers.sizes[0], layers.sizes[-1]):
            raise ValueError(
                f"The network has {layers.sizes[0]} inputs and {layers.sizes[-1]} outputs, but there are {ends[0]} "
                f"features, and {loss} has {ends[1]} outputs."
            )
        total, n_rows = math.fsum(rows.weights), tuple(block.n_rows for block in rows.found)
        if not isinstance(penalty, Penalty):
            penalty = penalty(total)
        null, scale = layers.start(seed, initialisation), 1.0
        if loss.numeric:
            mean, offset, square = rows.targets()
            layers.of(null)[-1][1][...] += loss.null_margin(mean) - offset
            # The scale is that of the variation, which may be small beside the mean.
            scale = loss.gradient_scale(square - float(np.mean(mean**2)) if loss.quadratic else square)
        # Activations and deltas, and the curvature of the loss, which is no wider than the outputs.
        size = sum(n_rows) * (2 * sum(layers.sizes[1:]) * (4 if first.precision > 1e-10 else 8))
        shape = (layers.n_parameters, 1)
        return cls(
            rows.blocks,
            rows.data,
            rows.index,
            rows.weights,
            layers,
            loss,
            penalty,
            penalize_bias,
            n_rows,
            first.precision,
            np.full(shape, scale or 1.0),
            null,
            size <= cache_limit,
        )

    def __post_init__(self) -> None:
        self.penalty.check((len(self.penalised(self.null)), 1))

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(P, 1)."""
        return (self.layers.n_parameters, 1)

    @property
    def _block_options(self) -> dict[str, Any]:
        return {"layers": self.layers}

    def penalised(self, W: np.ndarray) -> np.ndarray:
        """Return the parameters that are penalised (a view)."""
        return W if self.penalize_bias else W[: self.layers.n_weights]

    def value(self, W: np.ndarray) -> float:
        """Return F(W), at a third of the cost of :meth:`at`."""
        return float(self.values((W,))[0])

    def values(self, points: Sequence[np.ndarray]) -> np.ndarray:
        """Return F at several points; inf where it overflows."""
        sums = self._pass(passes.values, self.data, points=tuple(points))
        return self._values(points, sums)

    def at(self, W: np.ndarray) -> Point:
        """Linearise at W: value, gradient, and what curvature products need."""
        kept, sums = self._pass(passes.at, self.data, keep=1, W=W, remember=self.keep)
        return self._point(W, kept, *sums)

    def at_with_factors(self, W: np.ndarray) -> tuple[Point, kronecker.Factors]:
        """As :meth:`at`, with the Kronecker factors of every layer."""
        kept, (sums, packed) = self._pass(passes.at_with_factors, self.data, keep=1, W=W, remember=self.keep)
        return self._point(W, kept, *sums), kronecker.unpack(packed, self.total_weight)

    def along(self, point: Point, D: np.ndarray, steps: Sequence[float], *, linearize: bool = True) -> Ray:
        """Evaluate F at ``W + a D``; with ``linearize``, also linearise at the first step size."""
        if not linearize:
            return self._values_along(point, D, steps)
        kept, (values, gradient) = self._pass(
            passes.along, self.data, keep=1, W=point.W, D=D, steps=tuple(steps), remember=self.keep
        )
        first = self._point(point.W + steps[0] * D, kept, values[:1], gradient)
        return self._ray(point, D, steps, values, _NOTHING, first)

    def more(self, point: Point, ray: Ray, steps: Sequence[float]) -> Ray:
        """Evaluate F at further step sizes."""
        return self._values_along(point, ray.D, steps)

    def step(self, point: Point, ray: Ray, size: float) -> Point:
        """Linearise at ``W + size D``."""
        return self.at(point.W + size * ray.D)

    def hess_mul(self, point: Point, V: np.ndarray) -> np.ndarray:
        """Return the Hessian of the differentiable part at the point, times V of shape (P, 1)."""
        return self.curvature(point).hess_mul(V)

    def gauss_newton_mul(self, point: Point, V: np.ndarray) -> np.ndarray:
        """Return the Gauss-Newton matrix, with the penalty's Hessian, at the point, times V of shape (P, b)."""
        return self.curvature(point).gauss_newton_mul(V)

    def curvature(self, point: Point) -> Curvature:
        """Return the curvature at a point over all rows; no pass, because it belongs to the point."""
        return Curvature(self, self.data, point.curvature, self.total_weight)

    def sampled_curvature(self, point: Point, fraction: float, seed: int, at_least: int = 1) -> Curvature:
        """Return the curvature at a point over a random sample of the rows of every block.

        There is no pass if the sample has all rows.

        Parameters
        ----------
        point : Point
        fraction : float
            Of the rows of a block.
        seed : int
        at_least : int
            The least number of rows of a block, if it has as many.
        """
        if fraction >= 1 or at_least >= max(self.n_rows):
            return self.curvature(point)
        share = sum(min(n, max(at_least, math.ceil(fraction * n))) for n in self.n_rows) / sum(self.n_rows)
        data, kept, weight = self._pass(
            passes.sample_at,
            self.data,
            self.index,
            keep=2,
            share=share,
            W=point.W,
            fraction=fraction,
            seed=seed,
            at_least=at_least,
            remember=self.keep,
        )
        return Curvature(self, data, kept, weight, share) if weight else self.curvature(point)

    def sample(self, fraction: float, seed: int) -> NetworkObjective:
        """Return the objective over a random sample of the rows of every block, drawn without replacement."""
        n_rows = tuple(max(1, math.ceil(fraction * n)) for n in self.n_rows)
        share = self.share * sum(n_rows) / sum(self.n_rows)
        data, weights = self.blocks.map_reduce(
            sampling.sample, self.data, self.index, keep=1, share=share, fraction=fraction, seed=seed
        )
        if not any(weights.values()):
            return self
        weight = np.array([weights[i] for i in sorted(weights)])
        return replace(self, data=data, weights=weight, n_rows=n_rows, share=share)

    def batch_gradient(self, W: np.ndarray, batch: int, n_batches: int, seed: Sequence[int]) -> np.ndarray:
        """Estimate the gradient of F from one batch of a random division of the rows of every block.

        The mean of the estimates from all batches is the gradient.

        Parameters
        ----------
        W : ndarray, shape (P, 1)
        batch, n_batches : int
            The batch, and the number of batches.
        seed : sequence of int
            Seed of the division, the same for all batches.
        """
        total = self._pass(
            passes.batch_gradient,
            self.data,
            self.index,
            share=1 / n_batches,
            W=W,
            batch=batch,
            n_batches=n_batches,
            seed=tuple(seed),
        )
        gradient = np.zeros(self.shape) if total is None else n_batches / self.total_weight * total
        self.penalised(gradient)[...] += self.smooth.grad(self.penalised(W))
        return gradient

    def _values_along(self, point: Point, D: np.ndarray, steps: Sequence[float]) -> Ray:
        sums = self._pass(passes.values_along, self.data, W=point.W, D=D, steps=tuple(steps))
        return self._ray(point, D, steps, sums, _NOTHING, None)

    def _point(self, W: np.ndarray, kept: PerBlock[Any], values: np.ndarray, gradient: np.ndarray) -> Point:
        value = float(values[0]) / self.total_weight + self.penalty.value(self.penalised(W))
        return Point(W, value, self._gradient(W, gradient), _NOTHING, kept)


@dataclass(frozen=True, eq=False)
class Curvature:
    """The curvature of F at a point, over all rows or over a sample of them; every product is one pass.

    Attributes
    ----------
    problem : NetworkObjective
    data : PerBlock of RowBlock
        The rows.
    remembered : PerBlock of Remembered
    weight : float
        Sum of the sample weights of these rows.
    share : float
        The fraction of the rows of the objective that they are.
    """

    problem: NetworkObjective
    data: PerBlock[RowBlock]
    remembered: PerBlock[Remembered]
    weight: float
    share: float = 1.0

    def hess_mul(self, V: np.ndarray) -> np.ndarray:
        """Return the Hessian of the differentiable part times V, of shape (P, 1)."""
        return self._product(V, exact=True)

    def gauss_newton_mul(self, V: np.ndarray) -> np.ndarray:
        """Return the Gauss-Newton matrix, with the Hessian of the penalty, times V, of shape (P, b)."""
        return self._product(V, exact=False)

    def _product(self, V: np.ndarray, exact: bool) -> np.ndarray:
        F = self.problem
        sums = F._pass(passes.product, self.data, self.remembered, share=self.share, V=V, exact=exact)
        product = sums / self.weight
        F.penalised(product)[...] += F.smooth.hess_mul(F.penalised(V))
        return product
