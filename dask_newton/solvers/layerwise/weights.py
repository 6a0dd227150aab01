"""The weights and biases of a layer, from sums over its rows: on the driver, in float64.

    minimise  (k/2) sum_j s_j norm(p_j W + b - t_j)^2 + R(W, b),      R = sum(ridge * V^2) / 2 + sum(lasso * abs(V))

With V = [W; b'] and rows [p_j, 1] all that is needed are the moments S = sum s [p, 1]'[p, 1] and C = sum s [p, 1]' t:
the gradient of the first term is k (S V - C). So one sum over the rows serves any number of steps.

proximal    V = argmin of all that plus (m/2) norm(V - V_k)^2, m = kappa k trace(S) / (n_in + 1): one Cholesky
            factorisation, or, with l1 terms or ridges that differ between units, the model of ``local``. Without the
            proximal term V would be large along directions in which the inputs hardly vary.
gradient    W = W_k - g / theta for each unit (column), by the exact line search theta = k g'S g / norm(g)^2; with l1
            terms a soft threshold, theta doubled until the model majorises.
bias        b = the weighted mean of t - p W, where R is free of b: the papers' step 1/nu is right only for a bias of
            each row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from dask_newton.inner.penalised_model import minimize_model
from dask_newton.penalties import Norms
from dask_newton.storage.registry import stored

__all__ = ["LayerPenalty", "Moments", "exact_bias", "gradient_weights", "proximal_weights"]


@stored("solver-part/layer-moments")
@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the rows of a layer's inputs and targets.

    Attributes
    ----------
    S : ndarray, shape (n_in + 1, n_in + 1)
    C : ndarray, shape (n_in + 1, n_out)
    """

    S: np.ndarray
    C: np.ndarray


@dataclass(frozen=True, eq=False)
class LayerPenalty:
    """R of one layer.

    Attributes
    ----------
    ridge, lasso : ndarray, shape (n_in + 1, n_out), or (n_in + 1, 1) where they are the same for all units
        Strengths, 0 where there is none.
    """

    ridge: np.ndarray
    lasso: np.ndarray


def proximal_weights(moments: Moments, V: np.ndarray, k: float, kappa: float, penalty: LayerPenalty) -> np.ndarray:
    """Return the minimiser with the proximal term; its objective is never above that of V."""
    S, C, ridge = moments.S, moments.C, penalty.ridge
    m = kappa * k * np.trace(S) / len(S)
    if penalty.lasso.any() or np.ptp(ridge, axis=1).any():
        return _penalised(k * S, k * (S @ V - C) + ridge * V, V, m, penalty)
    A = k * S
    A.ravel()[:: len(A) + 1] += m + ridge[:, 0]
    factor = scipy.linalg.cho_factor(A, overwrite_a=True, check_finite=False)
    return scipy.linalg.cho_solve(factor, k * C + m * V, overwrite_b=True, check_finite=False)


def _penalised(A: np.ndarray, G: np.ndarray, V: np.ndarray, m: float, penalty: LayerPenalty) -> np.ndarray:
    """Minimise unit by unit; units have nothing to do with each other."""
    new = np.empty_like(V)
    ridge, lasso = np.broadcast_to(penalty.ridge, V.shape), np.broadcast_to(penalty.lasso, V.shape)
    for j in range(V.shape[1]):
        M = A.copy()
        M.ravel()[:: len(M) + 1] += m + ridge[:, j]
        norms = Norms(lasso[:, j])
        new[:, j] = minimize_model([(np.arange(len(M)), M)], G[:, j], V[:, j], norms, rtol=1e-3)
    return new


def gradient_weights(
    moments: Moments, V: np.ndarray, k: float, penalty: LayerPenalty, first: float | None = None
) -> np.ndarray:
    """Return a gradient step for W; b stays.

    With ``first``, one theta for all units: the first of first, 2 first, 4 first, ... that is large enough, as in the
    papers' code, where it is 10 or 1.
    """
    ridge, lasso = penalty.ridge[:-1], penalty.lasso[:-1]
    S = moments.S[:-1, :-1]
    G = k * (moments.S @ V - moments.C)[:-1] + ridge * V[:-1]

    def curvature(D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``d'H d`` and ``norm(d)^2`` of each column, or of all together."""
        product, size = (k * (S @ D) + ridge * D) * D, D * D
        both = (product.sum(axis=0), size.sum(axis=0))
        return both if first is None else (both[0].sum(keepdims=True), both[1].sum(keepdims=True))

    along, size = curvature(G)
    theta = np.where(size > 0, along / np.where(size > 0, size, 1.0), 1.0)
    if first is not None:
        theta = first * 2.0 ** np.maximum(np.ceil(np.log2(np.maximum(theta, 1e-300) / first)), 0)
    new = V.copy()
    while True:
        moved = V[:-1] - G / theta
        new[:-1] = np.sign(moved) * np.maximum(np.abs(moved) - lasso / theta, 0.0)
        if not lasso.any():
            return new
        along, size = curvature(new[:-1] - V[:-1])
        short = along > theta * size * (1 + 1e-12)
        if not short.any():
            return new
        theta = np.where(short, 2 * theta, theta)


def exact_bias(moments: Moments, V: np.ndarray, k: float, penalty: LayerPenalty) -> np.ndarray:
    """Return V with the biases that are best for its weights."""
    S, C, new = moments.S, moments.C, V.copy()
    best = k * (C[-1] - S[-1, :-1] @ V[:-1])
    best = np.sign(best) * np.maximum(np.abs(best) - penalty.lasso[-1], 0.0)
    new[-1] = best / (k * S[-1, -1] + penalty.ridge[-1])
    return new
