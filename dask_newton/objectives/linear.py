"""The objective of a regularised linear model over blocks of rows; every public method is exactly one pass.

    F(W) = (1/S) sum_j s_j l(y_j, [x_j 1] W + o_j) + R(w),      S = sum_j s_j,    W = [w; b']

w (n_features, K) is penalised, the intercept b, the last row of W, is not. W is one element of a Euclidean space; no
reshaping is needed anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, namespace, to_host
from dask_newton.blocks import Blocks, PerBlock
from dask_newton.losses import Loss
from dask_newton.objectives.linear_block import LinearBlock, Ray
from dask_newton.penalties import Penalty, SmoothPenalty

__all__ = ["Along", "LinearObjective", "Point"]


@dataclass(frozen=True, eq=False)
class Point:
    """The objective linearised at W.

    Attributes
    ----------
    W : ndarray, shape (q, K)
    value : float
        F(W), with the whole penalty.
    gradient : ndarray, shape (q, K)
        Of the differentiable part of F.
    margins, curvature : PerBlock
        Remembered by row: Hessian products and line searches need no exponential and no third product with X.
    age : int
        Steps since the margins were last computed from X, to stop the drift of their rounding errors.
    hessian : ndarray of shape (q K, q K) or None
        The Hessian of the differentiable part, rows as ``W.ravel()``, if it was asked for.
    """

    W: np.ndarray
    value: float
    gradient: np.ndarray
    margins: PerBlock[Any]
    curvature: PerBlock[Any]
    age: int = 0
    hessian: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Along:
    """The objective at ``W + a D`` for several step sizes a.

    Attributes
    ----------
    D : ndarray, shape (q, K)
    steps : tuple of float
    values : ndarray, shape (n_steps,)
        F at each step; inf where it overflows.
    slopes : PerBlock
        Margins of D, by row.
    first : Point or None
        The point at the first step, if its gradient was computed along with the values.
    """

    D: np.ndarray
    steps: tuple[float, ...]
    values: np.ndarray
    slopes: PerBlock[Any]
    first: Point | None


@dataclass(frozen=True, eq=False)
class LinearObjective:
    """F over the rows of ``data``.

    Attributes
    ----------
    blocks : Blocks
        The engine.
    data : PerBlock of LinearBlock
        No block is empty.
    weights : ndarray, shape (n_blocks,)
        Sum of sample weights of each block; all positive.
    loss, penalty
        l and R.
    shape : (int, int)
        Shape (q, K) of the coefficients.
    fit_intercept : bool
        Whether the last row of W is an intercept.
    n_rows : int
        Number of rows in all.
    precision : float
        Rounding unit of the arithmetic on the blocks.
    """

    blocks: Blocks
    data: PerBlock[LinearBlock]
    weights: np.ndarray
    loss: Loss
    penalty: Penalty
    shape: tuple[int, int]
    fit_intercept: bool
    n_rows: int
    precision: float
    smooth: SmoothPenalty = field(init=False)
    nonsmooth: Penalty | None = field(init=False)

    # Margins are added to at most so many times before they are computed from X again.
    MAX_AGE = 10

    def __post_init__(self) -> None:
        smooth, nonsmooth = self.penalty.split()
        object.__setattr__(self, "smooth", smooth)
        object.__setattr__(self, "nonsmooth", nonsmooth)

    @classmethod
    def from_blocks(
        cls, blocks: Blocks, data: PerBlock[LinearBlock], penalty: Penalty | Callable[[float], Penalty]
    ) -> LinearObjective:
        """Look at the blocks (one pass) and drop those without weight.

        Parameters
        ----------
        blocks, data
            The engine and the rows.
        penalty : Penalty or callable
            R, or a function that makes it from S, the sum of the weights.

        Raises
        ------
        ValueError
            If a block holds NaN, infinity or negative weights, if its arrays differ in length, or if no block has any
            weight.
        """
        facts = blocks.gather(blocks.map_blocks(_facts, data))
        for i, fact in enumerate(facts):
            if fact.problem:
                raise ValueError(f"Block {i} of the data {fact.problem}")
        used = [i for i, fact in enumerate(facts) if fact.weight > 0]
        if not used:
            raise ValueError("All sample weights are zero, or there are no rows; there is nothing to fit.")
        if len(used) < blocks.n_blocks:
            blocks, data = blocks.select(used, data)
        first = facts[used[0]]
        weights = np.array([facts[i].weight for i in used])
        if not isinstance(penalty, Penalty):
            penalty = penalty(math.fsum(weights))
        return cls(
            blocks, data, weights, first.loss, penalty, first.shape,
            first.fit_intercept, sum(facts[i].n_rows for i in used), first.precision,
        )

    @property
    def total_weight(self) -> float:
        """S, the sum of all sample weights."""
        return math.fsum(self.weights)

    @property
    def size(self) -> int:
        """Number of coefficients, q K."""
        return self.shape[0] * self.shape[1]

    def penalised(self, W: np.ndarray) -> np.ndarray:
        """Return w, the rows of W that the penalty sees (a view)."""
        return W[:-1] if self.fit_intercept else W

    def residual(self, W: np.ndarray, gradient: np.ndarray) -> float:
        """Return the certificate of optimality.

        ``max|grad F(W)|``, or, where R is not smooth, ``max|W - prox(W - grad F_smooth(W))|``.
        """
        if self.nonsmooth is None:
            return float(np.max(np.abs(gradient)))
        moved = W - gradient
        self.penalised(moved)[...] = self.nonsmooth.prox(self.penalised(moved), 1.0)
        return float(np.max(np.abs(W - moved)))

    def at(self, W: np.ndarray, *, hessian: bool = False) -> Point:
        """Linearise at W: value, gradient, what later products remember, and on request the Hessian."""
        *kept, sums = self.blocks.map_reduce(_at, self.data, keep=2, W=W, hessian=hessian)
        return self._point(W, sums, kept, 0)

    def along(
        self, point: Point, D: np.ndarray, steps: Sequence[float], *, linearize: bool = True, hessian: bool = False
    ) -> Along:
        """Evaluate F at ``W + a D``, and with ``linearize`` the whole point at the first step size."""
        slopes, *kept, sums = self.blocks.map_reduce(
            _along, self.data, point.margins, keep=3, D=D, steps=tuple(steps), linearize=linearize, hessian=hessian
        )
        first = self._point(point.W + steps[0] * D, sums, kept, point.age + 1) if linearize else None
        return Along(D, tuple(steps), self._values(point.W, D, steps, sums[0]), slopes, first)

    def more(self, point: Point, along: Along, steps: Sequence[float]) -> Along:
        """Evaluate F at further step sizes; X is not read."""
        values = self.blocks.map_reduce(_more, self.data, point.margins, along.slopes, steps=tuple(steps))
        return Along(along.D, tuple(steps), self._values(point.W, along.D, steps, values), along.slopes, None)

    def step(self, point: Point, along: Along, size: float, *, hessian: bool = False) -> Point:
        """Linearise at ``W + size D`` from remembered margins: one product with X instead of two."""
        W = point.W + size * along.D
        if point.age >= self.MAX_AGE:
            return self.at(W, hessian=hessian)
        *kept, sums = self.blocks.map_reduce(
            _step, self.data, point.margins, along.slopes, keep=2, size=size, hessian=hessian
        )
        return self._point(W, sums, kept, point.age + 1)

    def hess_mul(self, point: Point, V: np.ndarray) -> np.ndarray:
        """Return the Hessian of the differentiable part at the point, times V of shape (q, K) or (q, K, b)."""
        product = self.blocks.map_reduce(_hess_mul, self.data, point.curvature, V=V) / self.total_weight
        self.penalised(product)[...] += self.smooth.hess_diag * self.penalised(V)
        return product

    def fill_null_space(self, hessian: np.ndarray) -> np.ndarray:
        """Give a Hessian curvature along directions that F does not see and the gradient has no part in.

        For a shift-invariant loss these are equal coefficients for all outputs, in rows of W without an l2 penalty.
        Solutions of ``H x = g`` stay the same, and H can be factorised.
        """
        if not self.loss.shift_invariant:
            return hessian
        q, K = self.shape
        filled = hessian.reshape(q, K, q, K).copy()
        for row in range(q - 1 if self.smooth.hess_diag else 0, q if self.fit_intercept or not self.smooth.hess_diag else 0):
            filled[row, :, row, :] += max(np.trace(filled[row, :, row, :]), 1e-300) / K**2
        return filled.reshape(hessian.shape)

    def hess_diag(self, point: Point) -> np.ndarray:
        """Return the diagonal of the Hessian of the differentiable part, shape (q, K)."""
        diagonal = self.blocks.map_reduce(_hess_diag, self.data, point.curvature) / self.total_weight
        self.penalised(diagonal)[...] += self.smooth.hess_diag
        return diagonal

    def gram(self, point: Point) -> np.ndarray:
        """Return ``[X 1]' diag(s d) [X 1] / S`` with d the mean diagonal of each row's Hessian, plus the l2 term.

        With it, one q x q matrix stands for the Hessian blocks of all outputs.
        """
        gram = self.blocks.map_reduce(_gram, self.data, point.curvature) / self.total_weight
        diagonal = np.arange(self.shape[0] - self.fit_intercept)
        gram[diagonal, diagonal] += self.smooth.hess_diag
        return gram

    def sample(self, fraction: float, seed: int) -> LinearObjective:
        """Return the objective over a random sample of the rows of every block, drawn without replacement."""
        index = self.blocks.place(range(self.blocks.n_blocks))
        data, weights = self.blocks.map_reduce(
            _sample, self.data, index, keep=1, fraction=fraction, seed=seed, n_blocks=self.blocks.n_blocks
        )
        return replace(self, data=data, weights=weights)

    def _values(self, W: np.ndarray, D: np.ndarray, steps: Sequence[float], sums: np.ndarray) -> np.ndarray:
        w, d = self.penalised(W), self.penalised(D)
        values = sums / self.total_weight + np.array([self.penalty.value(w + step * d) for step in steps])
        return np.where(np.isnan(values), np.inf, values)

    def _point(self, W: np.ndarray, sums: tuple[Any, ...], kept: Sequence[PerBlock[Any]], age: int) -> Point:
        values, gradient, packed = sums
        gradient = gradient / self.total_weight
        self.penalised(gradient)[...] += self.smooth.grad(self.penalised(W))
        value = float(values[0]) / self.total_weight + self.penalty.value(self.penalised(W))
        hessian = None
        if packed is not None:
            hessian = _unpack_hessian(packed / self.total_weight, self.shape)
            diagonal = np.arange(self.penalised(W).size)
            hessian[diagonal, diagonal] += self.smooth.hess_diag
        return Point(W, value, gradient, *kept, age, hessian)


# What a pass does on one block. Module-level functions, so that they travel by name.


@dataclass(frozen=True)
class _Facts:
    n_rows: int
    weight: float
    problem: str
    shape: tuple[int, int]
    fit_intercept: bool
    loss: Loss
    precision: float


def _facts(block: LinearBlock) -> _Facts:
    weight = block.total_weight if block.n_rows else 0.0
    return _Facts(
        block.n_rows, weight, _problem(block), block.shape, block.fit_intercept, block.loss, block.precision
    )


def _problem(block: LinearBlock) -> str:
    """Say what is wrong with a block, or nothing."""
    arrays = {name: getattr(block, name) for name in ("X", "y", "weight", "offset")}
    lengths = {name: a.shape[0] for name, a in arrays.items() if a is not None}
    if len(set(lengths.values())) > 1:
        return f"has arrays of different lengths, {lengths}; chunk them alike along the rows."
    bad = [name for name, a in arrays.items() if not _finite(a)]
    if bad:
        return f"contains NaN or infinity in {' and '.join(bad)}; impute or drop those rows before fit."
    xp = namespace(block.X)
    if block.weight is not None and block.n_rows and bool(xp.any(block.weight < 0)):
        return "contains negative sample weights; weights must be zero or positive."
    return ""


def _finite(a: Any) -> bool:
    if a is None or a.shape[0] == 0:
        return True
    xp = namespace(a)
    # The sum is finite if all entries are; only if it is not is a look at every entry needed.
    if not xp.isdtype(a.dtype, "real floating") or bool(xp.isfinite(xp.sum(a))):
        return True
    return bool(xp.all(xp.isfinite(a)))


def _sums(block: LinearBlock, ray: Ray, hessian: bool) -> tuple[Any, ...]:
    """Return what a block adds to the values, the gradient and, on request, the packed Hessian."""
    return (*to_host((ray.values, ray.gradient)), _packed_hessian(block, ray.curvature) if hessian else None)


def _at(block: LinearBlock, *, W: np.ndarray, hessian: bool) -> Any:
    ray = block.ray(W)
    return ray.margins, ray.curvature, _sums(block, ray, hessian)


def _along(
    block: LinearBlock, margins: Any, *, D: np.ndarray, steps: tuple[float, ...], linearize: bool, hessian: bool
) -> Any:
    ray = block.ray(None, D, steps, margins=margins, gradient=linearize)
    kept = (ray.margins, ray.curvature) if linearize else ((), ())
    return ray.slopes, *kept, _sums(block, ray, hessian)


def _more(block: LinearBlock, margins: Any, slopes: Any, *, steps: tuple[float, ...]) -> Any:
    return to_host(block.ray(steps=steps, margins=margins, slopes=slopes, gradient=False).values)


def _step(block: LinearBlock, margins: Any, slopes: Any, *, size: float, hessian: bool) -> Any:
    ray = block.ray(steps=(size,), margins=margins, slopes=slopes)
    return ray.margins, ray.curvature, _sums(block, ray, hessian)


def _hess_mul(block: LinearBlock, curvature: Any, *, V: np.ndarray) -> Any:
    return to_host(block.hess_mul(curvature, from_host(V, block.X)))


def _pairs(K: int) -> list[tuple[int, int]]:
    return [(k, j) for k in range(K) for j in range(k, K)]


@dataclass(frozen=True)
class _Entry:
    k: int
    j: int

    def __call__(self, loss: Loss, curvature: Any) -> Any:
        return loss.hess_entry(curvature, self.k, self.j)


def _packed_hessian(block: LinearBlock, curvature: Any) -> np.ndarray:
    """Return the upper triangles of the Hessian blocks of all pairs of outputs, packed."""
    upper = np.triu_indices(block.shape[0])
    grams = block.grams(curvature, [_Entry(k, j) for k, j in _pairs(block.loss.n_outputs)])
    return np.stack([to_host(gram)[upper] for gram in grams])


def _unpack_hessian(packed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    q, K = shape
    hessian, upper = np.empty((q, K, q, K)), np.triu_indices(q)
    for row, (k, j) in zip(packed, _pairs(K), strict=True):
        gram = np.empty((q, q))
        gram[upper] = row
        gram.T[upper] = row
        hessian[:, k, :, j] = hessian[:, j, :, k] = gram
    return hessian.reshape(q * K, q * K)


def _hess_diag(block: LinearBlock, curvature: Any) -> Any:
    return to_host(block.hess_diag(curvature))


def _mean_diagonal(loss: Loss, curvature: Any) -> Any:
    return sum(loss.hess_entry(curvature, k, k) for k in range(loss.n_outputs)) / loss.n_outputs


def _gram(block: LinearBlock, curvature: Any) -> Any:
    return to_host(block.grams(curvature, [_mean_diagonal])[0])


def _sample(block: LinearBlock, index: int, *, fraction: float, seed: int, n_blocks: int) -> Any:
    n = max(1, math.ceil(fraction * block.n_rows))
    rows = np.random.default_rng([seed, index]).choice(block.n_rows, n, replace=False, shuffle=False)
    part = block.take(np.sort(rows))
    return part, np.where(np.arange(n_blocks) == index, part.total_weight, 0.0)
