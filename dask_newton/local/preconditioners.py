"""Preconditioners: symmetric positive definite maps r -> M r, applied without communication.

    jacobi    M = diag(H)^{-1}
    gram      M = (X' diag(d) X / S + lam2 I)^{-1} on each output, from one Cholesky factor of size q
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg

__all__ = ["Map", "factor", "gram", "jacobi"]

Map = Callable[[np.ndarray], np.ndarray]


def jacobi(diagonal: np.ndarray) -> Map:
    """Return division by the diagonal of the Hessian, shape (q, K), kept away from zero."""
    safe = np.maximum(diagonal, 1e-12 * diagonal.max())
    return lambda r: r / safe


def factor(matrix: np.ndarray) -> np.ndarray:
    """Return the lower Cholesky factor of a symmetric positive semidefinite matrix, shifted as far as it needs.

    The shift makes columns that are constant zero, or the same as others, harmless.
    """
    mean = np.trace(matrix) / len(matrix) or 1.0
    for shift in (0.0, 1e-10, 1e-8, 1e-6, 1e-4):
        try:
            return scipy.linalg.cholesky(matrix + shift * mean * np.eye(len(matrix)), lower=True)
        except scipy.linalg.LinAlgError:
            continue
    raise ValueError("The Gram matrix of the features is not positive semidefinite; are there NaN or infinity in X?")


def gram(lower: np.ndarray) -> Map:
    """Return the solution with one factor for every column of r, shape (q, K)."""
    return lambda r: scipy.linalg.cho_solve((lower, True), r, check_finite=False)
