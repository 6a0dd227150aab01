"""The interface of a penalty R(w): its value, its proximal operator and its differentiable part.

Penalties are functions of the driver's float64 coefficients, shape (n_features, n_outputs). The
intercept is never penalised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from dask_newton.penalties.norms import Norms
from dask_newton.penalties.strengths import Strength

__all__ = ["NormPenalty", "Penalty", "SmoothPenalty"]


class Penalty(ABC):
    """A convex penalty."""

    @abstractmethod
    def value(self, w: np.ndarray) -> float:
        """Return R(w)."""

    @abstractmethod
    def prox(self, w: np.ndarray, step: float) -> np.ndarray:
        """Return ``argmin_u R(u) + norm(u - w)**2 / (2 step)``."""

    @abstractmethod
    def split(self) -> tuple[SmoothPenalty, Penalty | None]:
        """Return the differentiable part, and the rest or None."""

    def check(self, shape: tuple[int, int]) -> None:  # noqa: B027  (most penalties take any shape)
        """Raise ValueError if the penalty does not fit coefficients of shape (n_features, n_outputs)."""


class SmoothPenalty(Penalty):
    """A differentiable penalty whose Hessian is a diagonal of non-negative constants."""

    @abstractmethod
    def grad(self, w: np.ndarray) -> np.ndarray:
        """Return the gradient."""

    @property
    @abstractmethod
    def hess_diag(self) -> Strength:
        """The diagonal of the Hessian: a number, or an array that broadcasts against (n_features, n_outputs)."""

    def hess_mul(self, v: np.ndarray) -> np.ndarray:
        """Return the Hessian times v, of shape (n_features, n_outputs), or for b vectors (n_features, n_outputs, b)."""
        diagonal = np.asarray(self.hess_diag)
        return (diagonal[..., None] if v.ndim == 3 and diagonal.ndim else diagonal) * v

    def split(self) -> tuple[SmoothPenalty, Penalty | None]:
        """Return the penalty itself and None."""
        return self, None


class NormPenalty(Penalty):
    """A sum of norms over a partition of the coefficients; it sets whole groups exactly to zero."""

    @abstractmethod
    def norms(self, shape: tuple[int, int]) -> Norms:
        """Return the norms for flattened coefficients of a shape."""

    def value(self, w: np.ndarray) -> float:
        """Return R(w)."""
        return self.norms(w.shape).value(w.ravel())

    def prox(self, w: np.ndarray, step: float) -> np.ndarray:
        """Shrink every group towards zero by ``step`` times its strength."""
        return self.norms(w.shape).prox(w.ravel(), step).reshape(w.shape)
