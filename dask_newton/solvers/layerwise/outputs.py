"""The margins of the output layer: the proximal operator of a loss, row by row.

    Z = argmin  sum_j l(y_j, z_j) + (c/2) norm(Z - M)^2

squared error      Z = (Y + c M) / (1 + c)
softmax            z = a - w with a = m + onehot(y)/c and c w = softmax(z). With t = log sum exp(z) the optimality of an
                   entry is w + log w = a - t - log c, so that w = omega(a - t - log c) with the Wright omega function,
                   and t is the root of one convex, decreasing function,

                       h(t) = c sum_k omega(a_k - t - log c) - 1,    h' = -c sum_k w_k / (1 + w_k).

                   Newton's method from t = max a - 1/c, where h >= 0, goes to it monotonically, in 5 to 8 steps for
                   any c. (A method for Z itself needs hundreds where c is small.)
one margin         Newton's method, with bisection where it leaves the bracket or does not halve its step, as
                   l' + c (z - m) is increasing
other losses       FISTA (Beck and Teboulle 2009) with the step 1/H, H the bound of l''

All but FISTA end at the rounding of float64, in which they compute whatever the margins have.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dask_newton.arrays import by_column, from_host, namespace
from dask_newton.losses import Loss, Softmax

__all__ = ["fista", "initial_margins", "proximal_margins", "supports", "wright_omega"]

Array = Any

_MAX_NEWTON = 40
_MAX_BRACKETED = 100
_MAX_FISTA = 500


def supports(loss: Loss) -> bool:
    """Whether the proximal operator of a loss is known here."""
    return loss.convex and (loss.n_outputs == 1 or loss.curvature_bound is not None)


def proximal_margins(loss: Loss, y: Array, M: Array, c: float, Z: Array, *, accelerated: bool = False) -> Array:
    """Return the minimiser.

    Parameters
    ----------
    loss : Loss
    y : Array
        Targets.
    M : Array, shape (n_rows, n_outputs)
    c : float
        Positive.
    Z : Array, shape (n_rows, n_outputs)
        Where iterations start.
    accelerated : bool
        Whether to use FISTA for every loss with a bounded second derivative, with its tolerance.
    """
    xp = namespace(M)
    y, centre = xp.astype(y, xp.float64), by_column(xp.astype(M, xp.float64))
    if accelerated or not (loss.quadratic or _is_softmax(loss) or loss.n_outputs == 1):
        found = fista(loss, y, centre, c, by_column(xp.astype(Z, xp.float64)))
    elif loss.quadratic:
        found = ((y[:, None] if y.ndim == 1 else y) + c * centre) / (1 + c)
    elif _is_softmax(loss):
        found = _softmax(_onehot(y, centre), centre, c)
    else:
        found = _bracketed(loss, y, centre, c, xp.astype(Z, xp.float64))
    return xp.astype(found, M.dtype)


def initial_margins(loss: Loss, y: Array, M: Array, c: float) -> Array:
    """Return margins to start from: 1 for the class of a row and -1 for others; for numbers the proximal margins."""
    if loss.numeric:
        return proximal_margins(loss, y, M, c, M)
    xp = namespace(M)
    return 2 * (_onehot(y, M) if loss.n_outputs > 1 else xp.astype(y[:, None], M.dtype)) - 1


def wright_omega(x: Array) -> Array:
    """Return w > 0 with ``w + log w = x``, to 4e-15 relatively, by Halley's method for log w."""
    xp = namespace(x)
    large = xp.where(x > 1, x, 0 * x + 2)
    v = xp.where(x > 1, xp.log(large - xp.log(large)), xp.where(x < -2, x, 0.5 * x - 0.6))
    for _ in range(3):
        w = xp.exp(v)
        g, slope = v + w - x, 1 + w
        v = v - g / (slope - g * w / (2 * slope))
    return xp.exp(v)


def _softmax(onehot: Array, M: Array, c: float) -> Array:
    xp = namespace(M)
    a = M + onehot / c
    top, size = xp.max(a, axis=1), xp.max(xp.abs(a), axis=1)
    t, shift = top - 1 / c, math.log(c)
    for _ in range(_MAX_NEWTON):
        w = wright_omega(a - (t + shift)[:, None])
        step = (c * xp.sum(w, axis=1) - 1) / (c * xp.sum(w / (1 + w), axis=1))
        t = t + step
        if bool(xp.all(xp.abs(step) <= 1e-14 * (1 + xp.abs(t) + size))):
            break
    return a - wright_omega(a - (t + shift)[:, None])


def _bracketed(loss: Loss, y: Array, M: Array, c: float, Z: Array) -> Array:
    """Solve ``l'(y, z) + c (z - m) = 0``; the root lies between m and ``m - l'(y, m) / c``, as l' is increasing."""
    xp = namespace(M)
    with np.errstate(over="ignore", invalid="ignore"):
        other = M - loss.linearize(y, M)[1] / c
        low, high = xp.where(other < M, other, M), xp.where(other < M, M, other)
        z, last = xp.where((Z > low) & (Z < high), Z, M), high - low
        for _ in range(_MAX_BRACKETED):
            _, gradient, curvature = loss.linearize(y, z)
            g = gradient + c * (z - M)
            low, high = xp.where(g < 0, z, low), xp.where(g > 0, z, high)
            step = -g / (loss.hess_entry(curvature, 0, 0)[:, None] + c)
            fast = (z + step >= low) & (z + step <= high) & (xp.abs(step) <= last / 2)
            step = xp.where(fast, step, (low + high) / 2 - z)
            z, last = z + step, xp.abs(step)
            if bool(xp.all(last <= 1e-15 * (1 + xp.abs(z)))):
                break
    return z


def fista(loss: Loss, y: Array, M: Array, c: float, Z: Array, *, tol: float = 1e-6) -> Array:
    """Return what FISTA finds from Z: a row ends where its objective changes by less than ``tol``, relatively.

    It returns the last proximal point, not the extrapolated one, which is worse.
    """
    xp, step = namespace(M), 1 / loss.curvature_bound  # type: ignore[operator]

    def value(z: Array) -> Array:
        return loss.value(y, z) + c / 2 * xp.sum((z - M) ** 2, axis=1)

    S, t, F, running = Z, 1.0, value(Z), None
    for _ in range(_MAX_FISTA):
        new = (c * M + Z / step - loss.linearize(y, Z)[1]) / (c + 1 / step)
        S_new = new if running is None else xp.where(running[:, None], new, S)
        t, last = (1 + math.sqrt(1 + 4 * t * t)) / 2, t
        Z, S = S_new + (last - 1) / t * (S_new - S), S_new
        F, F_last = value(S), F
        moving = xp.abs(F - F_last) > tol * xp.abs(F)
        running = moving if running is None else moving & running
        if not bool(xp.any(running)):
            break
    return S


def _is_softmax(loss: Loss) -> bool:
    return isinstance(loss, Softmax) and not loss.reference


def _onehot(y: Array, like: Array) -> Array:
    xp = namespace(like)
    classes = from_host(np.arange(like.shape[1]), y, y.dtype)
    return xp.astype(y[:, None] == classes[None, :], like.dtype)
