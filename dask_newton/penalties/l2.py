"""Squared l2 penalty, R(w) = (lam / 2) norm(w)^2, and its limit for lam = 0, no penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.penalties.base import SmoothPenalty

__all__ = ["L2", "NoPenalty"]


@dataclass(frozen=True)
class L2(SmoothPenalty):
    """``R(w) = (lam / 2) norm(w)**2``, with ``prox(w, t) = w / (1 + t lam)``."""

    lam: float

    def value(self, w: np.ndarray) -> float:
        """Return R(w)."""
        return 0.5 * self.lam * float(np.vdot(w, w))

    def prox(self, w: np.ndarray, step: float) -> np.ndarray:
        """Return ``w / (1 + step lam)``."""
        return w / (1 + step * self.lam)

    def grad(self, w: np.ndarray) -> np.ndarray:
        """Return ``lam w``."""
        return self.lam * w

    @property
    def hess_diag(self) -> float:
        """``lam``."""
        return self.lam


@dataclass(frozen=True)
class NoPenalty(SmoothPenalty):
    """``R(w) = 0``."""

    def value(self, w: np.ndarray) -> float:
        """Return 0."""
        return 0.0

    def prox(self, w: np.ndarray, step: float) -> np.ndarray:
        """Return ``w``."""
        return w

    def grad(self, w: np.ndarray) -> np.ndarray:
        """Return zeros."""
        return np.zeros_like(w)

    @property
    def hess_diag(self) -> float:
        """0."""
        return 0.0
