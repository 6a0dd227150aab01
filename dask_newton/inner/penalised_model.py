"""A quadratic model with a penalty that is a sum of norms, on the host: of the driver, or of a block.

    minimise over u   <g, u - w> + (u - w)' M (u - w) / 2 + sum_g t_g norm(u_g)

in variables scaled to a unit diagonal of M, on a working set: the groups that are not zero, or whose gradient is too
large for them to stay so. The set grows until none is left outside. Inside, bursts of FISTA with restart (O'Donoghue
and Candes 2015) find the support, and Newton steps on the support, one of which is exact for the l1 norm, the rest.
Where M is known by its products only, conjugate gradients find these steps, and there is no working set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.inner.cg import CG
from dask_newton.inner.preconditioners import Factor

__all__ = ["minimize_by_products", "minimize_model"]

Part = tuple[np.ndarray, np.ndarray]
_BURST = 100  # iterations of FISTA between Newton steps: about what a factorisation costs
_SETTLED = 10  # iterations of FISTA that hardly change the support, before conjugate gradients take over
_HARDLY = 0.002  # of the support
_LARGEST_FACTOR = 2000  # rows; beyond, FISTA goes on alone


def minimize_model(
    parts: Sequence[Part], g: np.ndarray, w: np.ndarray, norms: Any, *, rtol: float = 0.05, max_iter: int = 500
) -> np.ndarray:
    """Minimise a penalised model whose matrix is known.

    Parameters
    ----------
    parts : sequence of (index, matrix)
        M is block diagonal: each matrix, symmetric with a positive diagonal, has the rows and columns ``index``.
    g, w : ndarray, shape (n,)
        Gradient and point of the model.
    norms : Norms
        Of all n entries.
    rtol : float
        Reduction of the proximal gradient at which to stop.
    max_iter : int
        Iterations of FISTA on each working set.

    Returns
    -------
    ndarray, shape (n,), float64
        With exact zeros.
    """
    if norms.labels is not None:
        return _solve(parts, g, w, norms, rtol, max_iter)
    u = np.empty_like(w, dtype=np.float64)
    for index, M in parts:  # in groups of one they have nothing to do with each other
        u[index] = _solve([(np.arange(len(index)), M)], g[index], w[index], norms.take(index), rtol, max_iter)
    return u


def minimize_by_products(
    product: Callable[[np.ndarray], np.ndarray],
    diagonal: np.ndarray,
    g: np.ndarray,
    w: np.ndarray,
    norms: Any,
    *,
    rtol: float,
    max_iter: int,
) -> np.ndarray:
    """Minimise a penalised model of whose matrix only products and the diagonal are known, by ``max_iter`` of them.

    See :func:`minimize_model`. A tenth of ``max_iter`` more products give the largest eigenvalue.
    """
    scale = _scale(diagonal, norms)
    model = _Model(lambda d: scale * product(scale * d), g * scale, w / scale, norms.scaled(scale))
    L = 1.2 * _power_iteration(model.product, len(g), max(5, max_iter // 10))
    enough, walk, settled = _enough(model, rtol), _Walk.at(model.v0), _SETTLED
    left, walked, converged = max_iter, 0, False
    while left > 0 and not converged:
        walk, n_iter, converged = _fista(model, walk, L, enough, left, settled)
        left, walked = left - n_iter, walked + n_iter
        if left > 2 and not converged:  # not more of them than of FISTA's, lest they are in vain
            new, n_products = _conjugate_step(model, walk.v, enough, min(left - 2, max(walked, 2 * _SETTLED)))
            walk = walk if new is None else _Walk.at(new)
            left, settled = left - n_products, 2 * settled
    return walk.v * scale


@dataclass(frozen=True)
class _Model:
    """A model in scaled variables.

    Attributes
    ----------
    product : callable
        Product with the scaled matrix.
    g0, v0 : ndarray
        Gradient and point.
    norms : Norms
    """

    product: Callable[[np.ndarray], np.ndarray]
    g0: np.ndarray
    v0: np.ndarray
    norms: Any

    def gradient(self, v: np.ndarray) -> np.ndarray:
        return self.g0 + self.product(v - self.v0)

    def value(self, v: np.ndarray, gradient: np.ndarray) -> float:
        """Return the model at a point with this gradient."""
        return float(np.dot(self.g0 + gradient, v - self.v0)) / 2 + float(self.norms.value(v))

    def violation(self, v: np.ndarray, gradient: np.ndarray) -> float:
        return float(np.max(np.abs(v - self.norms.prox(v - gradient, 1.0)), initial=0.0))


def _scale(diagonal: np.ndarray, norms: Any) -> np.ndarray:
    return 1 / np.sqrt(norms.largest(np.where(diagonal > 0, diagonal, 1.0)))


def _enough(model: _Model, rtol: float) -> float:
    rounding = 1e-15 * float(np.max(np.abs(model.g0), initial=0.0))
    return max(rtol * model.violation(model.v0, model.g0), rounding)


def _solve(parts: Sequence[Part], g: np.ndarray, w: np.ndarray, norms: Any, rtol: float, max_iter: int) -> np.ndarray:
    diagonal = np.empty(len(g))
    for index, M in parts:
        diagonal[index] = np.diagonal(M)
    scale = _scale(diagonal, norms)
    model = _Model(lambda d: scale * _sparse_product(parts, scale * d), g * scale, w / scale, norms.scaled(scale))
    v, gradient = model.v0.copy(), model.g0
    enough = _enough(model, rtol)
    for _ in range(5):
        inside = np.flatnonzero(model.norms.free | (model.norms.size(v) > 0) | model.norms.exceeded(gradient))
        # What entries outside have moved since w acts on those inside as a constant.
        moved = v - model.v0
        moved[inside] = 0
        v[inside] = _solve_inside(
            _restrict(parts, inside, scale),
            (model.g0 + model.product(moved))[inside],
            model.v0[inside],
            v[inside],
            model.norms.take(inside),
            enough,
            max_iter,
        )
        gradient = model.gradient(v)
        if model.violation(v, gradient) <= 2 * enough:
            break
    return v * scale


def _sparse_product(parts: Sequence[Part], d: np.ndarray) -> np.ndarray:
    """Return M times d, which is mostly zeros."""
    product = np.zeros(len(d))
    for index, M in parts:
        some = np.flatnonzero(d[index])
        if len(some):
            product[index] = M[:, some] @ d[index[some]].astype(M.dtype)
    return product


def _restrict(parts: Sequence[Part], inside: np.ndarray, scale: np.ndarray) -> list[Part]:
    """Return the parts of the scaled matrix on some entries."""
    where = np.full(len(scale), -1)
    where[inside] = np.arange(len(inside))
    restricted = []
    for index, M in parts:
        some = np.flatnonzero(where[index] >= 0)
        s = scale[index[some]]
        restricted.append((where[index[some]], M[np.ix_(some, some)] * s[:, None] * s))
    return restricted


def _solve_inside(
    parts: Sequence[Part], g0: np.ndarray, v0: np.ndarray, v: np.ndarray, norms: Any, enough: float, max_iter: int
) -> np.ndarray:
    def product(d: np.ndarray) -> np.ndarray:
        result = np.empty(len(d))
        for index, A in parts:
            result[index] = A @ d[index]
        return result

    model, done = _Model(product, g0, v0, norms), 0
    L = max((_largest_eigenvalue(A) for _, A in parts), default=1.0)
    while done < max_iter:
        walk, _, converged = _fista(model, _Walk.at(v), L, enough, min(_BURST, max_iter - done))
        v = walk.v
        done += _BURST
        if converged:
            break
        v, converged = _newton(parts, model, v, enough)
        if converged:
            break
    return v


@dataclass(frozen=True)
class _Walk:
    """Where FISTA is: the point, the one from which the next step goes, and the momentum."""

    v: np.ndarray
    y: np.ndarray
    momentum: float

    @classmethod
    def at(cls, v: np.ndarray) -> _Walk:
        return cls(v, v, 1.0)


def _fista(
    model: _Model, walk: _Walk, L: float, enough: float, max_iter: int, settled: int | None = None
) -> tuple[_Walk, int, bool]:
    """Go on; return where that leads, the iterations, and whether the proximal gradient is at most ``enough`` there.

    It ends as well when ``settled`` iterations in a row have hardly changed the support.
    """
    v, y, momentum, same = walk.v, walk.y, walk.momentum, 0
    for k in range(1, max_iter + 1):
        new = model.norms.prox(y - model.gradient(y) / L, 1 / L)
        if np.max(np.abs(new - y), initial=0.0) * L <= enough:
            return _Walk.at(new), k, True
        same = same + 1 if np.sum((new != 0) != (v != 0)) <= _HARDLY * np.sum(new != 0) else 0
        if np.dot(y - new, new - v) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        y = new + (momentum - 1) / following * (new - v)
        v, momentum = new, following
        if same == settled:
            return _Walk(v, y, momentum), k, False
    return _Walk(v, y, momentum), max_iter, False


def _newton(parts: Sequence[Part], model: _Model, v: np.ndarray, enough: float) -> tuple[np.ndarray, bool]:
    """Do Newton steps on the support while they help; return the point, and whether it is good enough."""
    gradient = model.gradient(v)
    violation = model.violation(v, gradient)
    while violation > enough:
        on = np.flatnonzero(model.norms.free | (model.norms.size(v) > 0))
        if not 0 < len(on) <= _LARGEST_FACTOR:
            return v, False
        H = model.norms.take(on).hessian(v[on])
        for index, A in _restrict(parts, on, np.ones(len(v))):
            H[np.ix_(index, index)] += A
        new = v.copy()
        new[on] -= Factor.of(H).solve((gradient + model.norms.grad(v))[on])
        new = model.norms.cut(new, v)
        gradient = model.gradient(new)
        after = model.violation(new, gradient)
        if not after < violation:
            return v, False
        v, violation = new, after
    return v, True


def _conjugate_step(model: _Model, v: np.ndarray, enough: float, most: int) -> tuple[np.ndarray | None, int]:
    """Do a Newton step on the support, found by products; return the point, None if it is no better, and the number."""
    gradient = model.gradient(v)
    on = model.norms.free | (model.norms.size(v) > 0)
    slope = np.where(on, gradient + model.norms.grad(v), 0.0)
    size = float(np.linalg.norm(slope))
    if size <= enough:
        return None, 1

    def product(d: np.ndarray) -> np.ndarray:
        return np.where(on, model.product(d) + model.norms.hess_mul(v, d), 0.0)

    found = CG(0.3 * enough / size, most).solve(product, -slope)
    new = model.norms.cut(v + found.x, v)
    better = model.value(new, model.gradient(new)) < model.value(v, gradient)
    return new if better else None, found.n_products + 2


def _largest_eigenvalue(A: np.ndarray) -> float:
    """Return an upper estimate by power iteration; never more than the largest row sum, which is a bound."""
    estimate = 1.1 * _power_iteration(lambda x: A @ x, len(A), 20)
    return min(estimate, float(np.abs(A).sum(axis=1).max(initial=1e-300)))


def _power_iteration(product: Callable[[np.ndarray], np.ndarray], n: int, steps: int) -> float:
    """Return a lower bound of the largest eigenvalue, near it; 1 for a matrix of zeros."""
    # A vector of ones would not do: that of a softmax may map it to zero.
    x, norm = np.random.default_rng(0).standard_normal(n), 1.0
    for _ in range(steps):
        x = product(x)
        norm = float(np.linalg.norm(x))
        if norm == 0:
            return 1.0
        x /= norm
    return norm
