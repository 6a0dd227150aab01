"""The pre-activations of a hidden layer, entry by entry.

    Z = argmin  norm(Z - M)^2 + norm(Q - f(Z))^2 + c norm(Z - Z_k)^2

f linear on either side of 0, with the slope a on the left: each half line is a convex quadratic, whose minimisers are

    z- = min(0, (m + a q + c z_k) / (1 + a^2 + c)),      z+ = max(0, (m + q + c z_k) / (2 + c)).

The one with the smaller value of all three terms is the global minimiser. (The papers' code leaves the third out of the
comparison; where that changes the choice, the objective may rise.)

Smooth f: 8 steps of Newton's method from Z_k, with the Gauss-Newton curvature where the true one is small, each
halved until it decreases the objective enough. The result is never above Z_k, which is all that the theory asks for;
where q is near the range of f the objective is convex, and the result its minimiser. For tanh, where it need not be,
two more starts are tried.
"""

from __future__ import annotations

from typing import Any

from dask_newton.arrays import namespace
from dask_newton.objectives.network.activations import Activation, Tanh

__all__ = ["hidden_margins"]

Array = Any

_STEPS = 8
_HALVINGS = 6


def hidden_margins(f: Activation, M: Array, Q: Array, Z: Array, c: float, *, compare_all: bool = True) -> Array:
    """Return the minimiser.

    Parameters
    ----------
    f : Activation
    M, Q, Z : Array, shape (n_rows, n_units)
        Z is Z_k.
    c : float
        0 or positive.
    compare_all : bool
        Whether the comparison of z- with z+ has all terms. Without, it is that of the papers' code.
    """
    if f.leak is not None:
        return _two_sided(f.leak, M, Q, Z, c, compare_all)
    best = _newton(f, M, Q, Z, Z, c)
    xp = namespace(M)
    # With |f''| <= 0.77 the objective is convex where |q - f| < (1 + c) / 0.77.
    if isinstance(f, Tanh) and not bool(xp.all(xp.abs(Q) < (1 + c) / 0.77 - 1)):
        bounded = xp.where(Q > 0.95, 0 * Q + 0.95, xp.where(Q < -0.95, 0 * Q - 0.95, Q))
        for start in ((M + c * Z) / (1 + c), xp.log((1 + bounded) / (1 - bounded)) / 2):
            other = _newton(f, M, Q, Z, start, c)
            best = xp.where(_value(f, other, M, Q, Z, c) < _value(f, best, M, Q, Z, c), other, best)
    return best


def _two_sided(leak: float, M: Array, Q: Array, Z: Array, c: float, compare_all: bool) -> Array:
    xp = namespace(M)
    base = M + c * Z if c else M
    minus = (base + leak * Q if leak else base) / (1 + leak**2 + c)
    plus = (base + Q) / (2 + c)
    minus, plus = xp.minimum(minus, 0.0), xp.maximum(plus, 0.0)
    # Objectives without what both have in common: of a quadratic, s z^2 - 2 r z, with s and r as above.
    if compare_all:
        left = minus * ((1 + leak**2 + c) * minus - 2 * (base + leak * Q if leak else base))
        right = plus * ((2 + c) * plus - 2 * (base + Q))
    else:
        left = minus * ((1 + leak**2) * minus - 2 * (M + leak * Q))
        right = plus * (2 * plus - 2 * (M + Q))
    right_is_better = xp.astype(right < left, M.dtype)  # products take a fifth of the time of where
    return plus * right_is_better + minus * (1 - right_is_better)


def _value(f: Activation, z: Array, M: Array, Q: Array, Z: Array, c: float) -> Array:
    return (z - M) ** 2 + (Q - f.value(z)) ** 2 + c * (z - Z) ** 2


def _newton(f: Activation, M: Array, Q: Array, Z: Array, z: Array, c: float) -> Array:
    xp = namespace(M)
    small = float(xp.finfo(M.dtype).eps) ** 0.5
    value = _value(f, z, M, Q, Z, c)
    for _ in range(_STEPS):
        a = f.value(z)
        derivative, ratio = f.derivative(a), f.derivative_ratio(a)
        # Half of the first and second derivatives.
        g = z - M - (Q - a) * derivative + c * (z - Z)
        safe = 1 + c + derivative**2
        curvature = safe if ratio is None else safe - (Q - a) * ratio * derivative
        step = -g / xp.where(curvature >= (1 + c) / 2, curvature, safe)
        # A step so small is Newton's last; it changes the value by less than its rounding.
        last = xp.abs(step) <= small * (1 + xp.abs(z))
        trial = z + step
        new = _value(f, trial, M, Q, Z, c)
        for _ in range(_HALVINGS):
            good = last | (new <= value + 1e-4 * g * step)
            if bool(xp.all(good)):
                break
            step = xp.where(good, step, step / 2)
            trial = z + step
            new = _value(f, trial, M, Q, Z, c)
        better = last | (new <= value)
        z, value = xp.where(better, trial, z), xp.where(better, new, value)
        if bool(xp.all(last)):
            break
    return z
