"""The inputs of a layer, which are the outputs of the layer before, row by row.

    P = argmin  (k/2) norm(T - b - P W)^2 + (r/2) norm(P - V)^2

exact       P (k W W' + r I) = k (T - b) W' + r V. With the gain B = k W' (k W W' + r I)^-1 this is

                P = V + (T - b - V W) B,

            two products with rows and no system to solve there. B is the same for all rows, so it is made once; it
            equals (k W'W + r I)^-1 k W', and the smaller of the two systems is solved.
gradient    P = P_k - g / tau for each row, with g = k e W' + r (p - v), e = p W + b - t, and the exact line search
            along it, tau = r + k norm(g W)^2 / norm(g)^2. It needs no sum over rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from dask_newton.arrays import namespace

__all__ = ["exact_inputs", "gain", "gradient_inputs"]

Array = Any


def gain(W: np.ndarray, k: float, r: float) -> np.ndarray:
    """Return B of weights W of shape (n_in, n_out), on the driver."""
    n_in, n_out = W.shape
    square = W @ W.T if n_in <= n_out else W.T @ W
    square *= k
    square.ravel()[:: len(square) + 1] += r
    factor = scipy.linalg.cho_factor(square, overwrite_a=True, check_finite=False)
    solved = scipy.linalg.cho_solve(factor, W if n_in <= n_out else W.T, check_finite=False)
    return k * (solved.T if n_in <= n_out else solved)


def exact_inputs(V: Array, T: Array, W: Array, b: Array, B: Array) -> Array:
    """Return the minimiser."""
    error = V @ W
    error += b
    return V + (T - error) @ B


def gradient_inputs(
    P: Array, M: Array, V: Array, T: Array, W: Array, k: float, r: float, first: float | None = None
) -> Array:
    """Return a step along the negative gradient from P.

    Parameters
    ----------
    P, V : Array, shape (n_rows, n_in)
    M, T : Array, shape (n_rows, n_out)
        M is ``P W + b``.
    W : Array, shape (n_in, n_out)
    k, r : float
    first : float, optional
        Use the first of tau = first, 2 first, 4 first, ... that is large enough, as the papers' code does with 10 or 1,
        instead of the exact tau.
    """
    xp = namespace(P)
    G = k * ((M - T) @ W.T) + r * (P - V)
    size, along = xp.sum(G**2, axis=1), xp.sum((G @ W) ** 2, axis=1)
    tau = r + k * along / xp.where(size > 0, size, 0 * size + 1)
    if first is not None:
        powers = xp.ceil(xp.log2(tau / first))
        tau = first * 2 ** xp.where(powers > 0, powers, 0 * powers)
    return P - G / tau[:, None]
