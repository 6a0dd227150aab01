"""The contract of a penalty R(w): its value, its proximal operator and its differentiable part.

Penalties are functions of the driver's float64 coefficients, shape (n_features, n_outputs). They never see the
intercept, which no penalty of this library touches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

__all__ = ["Penalty", "SmoothPenalty"]


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
        """Return the differentiable part and what remains, None if nothing does."""


class SmoothPenalty(Penalty):
    """A differentiable penalty whose Hessian is a diagonal of non-negative constants."""

    @abstractmethod
    def grad(self, w: np.ndarray) -> np.ndarray:
        """Return the gradient."""

    @property
    @abstractmethod
    def hess_diag(self) -> float:
        """The diagonal of the Hessian."""

    def split(self) -> tuple[SmoothPenalty, Penalty | None]:
        """Return the penalty itself and None."""
        return self, None
