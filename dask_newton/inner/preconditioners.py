"""Preconditioners: symmetric positive definite maps r -> M r on the driver, applied without communication.

jacobi    M = diag(H)^{-1}
shared    one factored q x q matrix for every output
outputs   a factored q x q matrix for each output
joint     a factored matrix for all q K coefficients
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from dask_newton.storage.registry import stored

__all__ = ["Factor", "Map", "jacobi", "joint", "outputs", "shared"]

Map = Callable[[np.ndarray], np.ndarray]


@stored("solver-part/factor")
@dataclass(frozen=True, eq=False)
class Factor:
    """A Cholesky factor of a matrix scaled to a unit diagonal, so that the units of the features do not matter.

    Attributes
    ----------
    lower : ndarray, shape (n, n)
        Factor of ``D A D``, in the precision of A.
    scale : ndarray, shape (n,)
        The diagonal of D.
    """

    lower: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray, ridge: np.ndarray | float = 0.0, diagonal: np.ndarray | None = None) -> Factor:
        """Factor ``matrix + diag(ridge)``, shifted as far as it needs.

        Parameters
        ----------
        matrix : ndarray, shape (n, n)
            Symmetric positive semidefinite.
        ridge : ndarray of shape (n,), or float
        diagonal : ndarray of shape (n,), optional
            What the diagonal should at least be. A matrix from a row sample knows too little of columns that are rarely
            not zero; without this its inverse would be far too large there.
        """
        exact = np.diagonal(matrix).astype(np.float64)
        exact = (exact if diagonal is None else np.maximum(exact, diagonal)) + ridge
        scale = 1 / np.sqrt(np.where(exact > 0, exact, 1.0))
        scaled = matrix * scale[:, None].astype(matrix.dtype)
        scaled *= scale.astype(matrix.dtype)
        shift = 1e-6 if matrix.dtype == np.float32 else 1e-12
        index = np.arange(len(scaled))
        while shift <= 1:
            scaled[index, index] = 1 + shift
            try:
                return cls(scipy.linalg.cholesky(scaled, lower=True, check_finite=False), scale)
            except scipy.linalg.LinAlgError:
                shift *= 100
        raise ValueError("The Hessian of a row sample cannot be factored; are there huge numbers in X?")

    def solve(self, r: np.ndarray) -> np.ndarray:
        """Return the inverse of the matrix times r, shape (n,) or (n, k), float64."""
        scale = self.scale if r.ndim == 1 else self.scale[:, None]
        right = (r * scale).astype(self.lower.dtype)
        return scipy.linalg.cho_solve((self.lower, True), right, overwrite_b=True, check_finite=False) * scale


def jacobi(diagonal: np.ndarray) -> Map:
    """Return division by the diagonal of the Hessian, shape (q, K), kept away from zero."""
    safe = np.maximum(diagonal, 1e-12 * diagonal.max())
    return lambda r: r / safe


def shared(factor: Factor) -> Map:
    """Return the solution with one factor for every column of r, shape (q, K)."""
    return factor.solve


def outputs(factors: Sequence[Factor]) -> Map:
    """Return the solution with a factor for each column of r, shape (q, K)."""
    return lambda r: np.stack([factor.solve(r[:, k]) for k, factor in enumerate(factors)], axis=1)


def joint(factor: Factor) -> Map:
    """Return the solution with one factor for all of r, shape (q, K), rows of the matrix as ``r.ravel()``."""
    return lambda r: factor.solve(r.ravel()).reshape(r.shape)
