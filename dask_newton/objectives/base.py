"""The interface of an objective, as solvers and ``minimize`` use it.

    F(W) = (1/S) sum_j s_j l_j(W) + R(w),      S = sum_j s_j,      w = the part of W that is penalised

W is an element of a Euclidean space, with shape (q, K). Every method that reads data is exactly one pass.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Self, cast

import numpy as np

from dask_newton.blocks import Blocks, PerBlock
from dask_newton.losses import Loss
from dask_newton.objectives.points import Point, Ray
from dask_newton.penalties import NormPenalty, Norms, Penalty, SmoothPenalty

__all__ = ["Objective"]


class Objective(ABC):
    """A penalised mean of losses over blocks of rows.

    Attributes
    ----------
    blocks : Blocks
        The engine.
    data : PerBlock of RowBlock
        The rows; no block is empty.
    index : PerBlock of int
        A number for each block, the seed of its random streams.
    weights : ndarray, shape (n_blocks,)
        Sum of the sample weights of each block; all are positive.
    loss : Loss
        l.
    penalty : Penalty
        R.
    shape : (int, int)
        Shape (q, K) of W.
    precision : float
        Rounding unit of the arithmetic on the blocks.
    scale : ndarray, shape (q, 1)
        Divides the entries of the gradient before they are compared with a tolerance.
    null : ndarray, shape (q, K)
        Where solvers start.
    share : float
        The fraction of the rows that this objective covers: 1, except for samples.
    """

    blocks: Blocks
    data: PerBlock[Any]
    index: PerBlock[int]
    weights: np.ndarray
    loss: Loss
    penalty: Penalty
    shape: tuple[int, int]
    precision: float
    scale: np.ndarray
    null: np.ndarray
    share: float = 1.0

    @abstractmethod
    def penalised(self, W: np.ndarray) -> np.ndarray:
        """Return w, the rows of W that are penalised: the first ones (a view)."""

    @abstractmethod
    def value(self, W: np.ndarray) -> float:
        """Return F(W)."""

    @abstractmethod
    def at(self, W: np.ndarray) -> Point:
        """Linearise at W: value, gradient, and what later products need."""

    @abstractmethod
    def along(self, point: Point, D: np.ndarray, steps: Sequence[float], *, linearize: bool = True) -> Ray:
        """Evaluate F at ``W + a D``; with ``linearize``, also linearise at the first step size."""

    @abstractmethod
    def more(self, point: Point, ray: Ray, steps: Sequence[float]) -> Ray:
        """Evaluate F at further step sizes."""

    @abstractmethod
    def step(self, point: Point, ray: Ray, size: float) -> Point:
        """Linearise at ``W + size D``."""

    @abstractmethod
    def hess_mul(self, point: Point, V: np.ndarray) -> np.ndarray:
        """Return the Hessian of the differentiable part at the point, times V of the shape of W."""

    @abstractmethod
    def sample(self, fraction: float, seed: int) -> Self:
        """Return the objective over a random sample of the rows of every block, drawn without replacement."""

    @property
    def total_weight(self) -> float:
        """S, the sum of all sample weights."""
        return math.fsum(self.weights)

    @property
    def convex(self) -> bool:
        """Whether F is known to be convex, so that a gradient of zero is the optimum."""
        return False

    def has_no_optimum(self, value: float) -> bool:
        """Whether a value of F shows that F has no minimum."""
        return False

    def describe(self) -> dict[str, Any]:
        """Describe what is minimised, without rows and arrays, so that two objectives can be told apart."""
        held = {field.name: getattr(self, field.name) for field in dataclasses.fields(cast("Any", self))}
        words = {name: repr(x) for name, x in held.items() if not isinstance(x, Blocks | PerBlock | np.ndarray)}
        return {"objective": type(self).__name__, **words, "shape": str(self.shape), "weights": self.weights.tolist()}

    @cached_property
    def smooth(self) -> SmoothPenalty:
        """The differentiable part of R."""
        return self.penalty.split()[0]

    @cached_property
    def nonsmooth(self) -> Penalty | None:
        """The rest of R, or None."""
        return self.penalty.split()[1]

    @property
    def size(self) -> int:
        """Number of coefficients, q K."""
        return self.shape[0] * self.shape[1]

    @property
    def _block_options(self) -> dict[str, Any]:
        """What the blocks of this family take besides the rows; an option of every pass."""
        return {}

    def _pass(self, fn: Callable[..., Any], *columns: PerBlock[Any], share: float = 1.0, **options: Any) -> Any:
        """Run a pass over blocks of this model, which reads a share of the rows of this objective."""
        return self.blocks.map_reduce(fn, *columns, share=share * self.share, **self._block_options, **options)

    def _gradient(self, W: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Return the gradient of the differentiable part of F from the sum of the gradients of the losses."""
        gradient = total / self.total_weight
        self.penalised(gradient)[...] += self.smooth.grad(self.penalised(W))
        return gradient

    def _ray(
        self,
        point: Point,
        D: np.ndarray,
        steps: Sequence[float],
        sums: np.ndarray,
        direction_margins: PerBlock[Any],
        first: Point | None,
    ) -> Ray:
        """Return the ray from a point, given the sums of the losses at the steps."""
        return Ray(D, tuple(steps), self._values((point.W + a * D for a in steps), sums), direction_margins, first)

    def _values(self, points: Iterable[np.ndarray], sums: np.ndarray) -> np.ndarray:
        """Return F at several points from the sums of the losses there; inf where it overflows."""
        values = sums / self.total_weight + np.array([self.penalty.value(self.penalised(W)) for W in points])
        return np.where(np.isnan(values), np.inf, values)

    def ridge(self) -> np.ndarray:
        """Return the diagonal of the Hessian of the differentiable part of R, shape (q, K); 0 where W is free."""
        ridge = np.zeros(self.shape)
        self.penalised(ridge)[...] = self.smooth.hess_diag
        return ridge

    def norms(self) -> Norms:
        """Return the non-smooth part of R as norms of ``W.ravel()``; entries that are not in w are free."""
        assert isinstance(self.nonsmooth, NormPenalty)
        rows, K = self.penalised(np.empty(self.shape)).shape
        return self.nonsmooth.norms((rows, K)).extend(self.size - rows * K)

    def directional_derivative(self, point: Point, D: np.ndarray) -> float:
        """Return ``<g, D>``, plus the change of the non-smooth norms from W to W + D."""
        if self.nonsmooth is None:
            return float(np.vdot(point.gradient, D))
        # Near the optimum the two all but cancel, entry by entry.
        return float(np.dot(point.gradient.ravel() + self.norms().chord(point.W.ravel(), D.ravel()), D.ravel()))

    def residual(self, W: np.ndarray, gradient: np.ndarray) -> float:
        """Return the certificate of optimality: the largest entry of the gradient of F, after division by ``scale``.

        If R has a sum of norms, the gradient is the smallest subgradient. For any other R that is not smooth it is
        ``W - prox(W - grad F_smooth(W))``, which is never larger, and small wherever W is.
        """
        if isinstance(self.nonsmooth, NormPenalty):
            gradient = self.norms().subgradient(W.ravel(), gradient.ravel()).reshape(W.shape)
        elif self.nonsmooth is not None:
            gradient = W - self.proximal_point(W, gradient)
        return float(np.max(np.abs(gradient) / self.scale))

    def proximal_point(self, W: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return ``prox(W - grad F_smooth(W))``, the end of a proximal gradient step of length one."""
        moved = W - gradient
        if self.nonsmooth is not None:
            self.penalised(moved)[...] = self.nonsmooth.prox(self.penalised(moved), 1.0)
        return moved
