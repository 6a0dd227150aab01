"""The l1-penalised quadratic model of one output, on the driver.

    minimise over u   <g, u - w> + (u - w)' M (u - w) / 2 + sum_j t_j abs(u_j)

by FISTA with restart (O'Donoghue and Candes 2015) in variables scaled to a unit diagonal of M, on a working set: the
entries that are not zero, or whose gradient is too large for them to stay so. The set grows until none is left outside.
"""

from __future__ import annotations

import numpy as np

__all__ = ["quadratic_l1"]


def quadratic_l1(
    M: np.ndarray, g: np.ndarray, w: np.ndarray, t: np.ndarray, *, rtol: float = 0.05, max_iter: int = 500
) -> np.ndarray:
    """Minimise the penalised model.

    Parameters
    ----------
    M : ndarray, shape (q, q)
        Symmetric, with a positive diagonal.
    g, w : ndarray, shape (q,)
        Gradient and point of the model.
    t : ndarray, shape (q,)
        Weights of the l1 norm; 0 for an entry that is not penalised.
    rtol : float
        Reduction of the proximal gradient at which to stop.
    max_iter : int
        Iterations on each working set.

    Returns
    -------
    ndarray, shape (q,), float64
        With exact zeros.
    """
    scale = 1 / np.sqrt(np.diagonal(M).astype(np.float64))
    v0, g0, weights = w / scale, g * scale, t * scale
    v, gradient = v0.copy(), g0
    enough = rtol * _violation(v, gradient, weights)
    for _ in range(5):
        inside = np.flatnonzero((v != 0) | (np.abs(gradient) > weights))
        A = M[np.ix_(inside, inside)] * scale[inside, None] * scale[inside]
        # What entries outside have moved since w acts on those inside as a constant.
        moved = v - v0
        moved[inside] = 0
        constant = g0[inside] + _product(M, moved, scale)[inside]
        v[inside] = _fista(A, constant, v[inside], v0[inside], weights[inside], enough, max_iter)
        gradient = g0 + _product(M, v - v0, scale)
        if _violation(v, gradient, weights) <= 2 * enough:
            break
    return v * scale


def _product(M: np.ndarray, v: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the scaled M times v, which is mostly zeros."""
    some = np.flatnonzero(v)
    return (M[:, some] @ (v[some] * scale[some]).astype(M.dtype)) * scale if len(some) else np.zeros(len(v))


def _violation(v: np.ndarray, gradient: np.ndarray, t: np.ndarray) -> float:
    return float(np.max(np.abs(v - _soft(v - gradient, t)), initial=0.0))


def _soft(v: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.sign(v) * np.maximum(np.abs(v) - t, 0.0)


def _fista(
    A: np.ndarray, constant: np.ndarray, v: np.ndarray, v0: np.ndarray, t: np.ndarray, enough: float, max_iter: int
) -> np.ndarray:
    L, y, momentum = _largest_eigenvalue(A), v, 1.0
    for _ in range(max_iter):
        gradient = constant + A @ (y - v0)
        new = _soft(y - gradient / L, t / L)
        if np.max(np.abs(new - y), initial=0.0) * L <= enough:
            return new
        if np.dot(y - new, new - v) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        y = new + (momentum - 1) / following * (new - v)
        v, momentum = new, following
    return v


def _largest_eigenvalue(A: np.ndarray) -> float:
    """Return an upper estimate by power iteration; never more than the largest row sum, which is a bound."""
    x = np.ones(len(A))
    for _ in range(20):
        x = A @ x
        norm = float(np.linalg.norm(x))
        if norm == 0:
            return 1.0
        x /= norm
    return min(1.1 * norm, float(np.abs(A).sum(axis=1).max()))
