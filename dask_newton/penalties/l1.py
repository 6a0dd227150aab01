"""l1 penalty and elastic net.

    L1:          R(w) = lam norm1(w)                              prox(w, t) = S(w, t lam)
    elastic net: R(w) = lam1 norm1(w) + (lam2 / 2) norm(w)^2      prox(w, t) = S(w, t lam1) / (1 + t lam2)

with the soft threshold S(v, t) = sign(v) max(abs(v) - t, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.penalties.base import Penalty, SmoothPenalty
from dask_newton.penalties.l2 import L2, NoPenalty

__all__ = ["L1", "ElasticNet"]


@dataclass(frozen=True)
class L1(Penalty):
    """``R(w) = lam norm1(w)``."""

    lam: float

    def value(self, w: np.ndarray) -> float:
        """Return R(w)."""
        return self.lam * float(np.abs(w).sum())

    def prox(self, w: np.ndarray, step: float) -> np.ndarray:
        """Return the soft threshold of ``w`` at ``step lam``."""
        return np.sign(w) * np.maximum(np.abs(w) - step * self.lam, 0.0)

    def split(self) -> tuple[SmoothPenalty, Penalty | None]:
        """Return no smooth part and the penalty itself."""
        return NoPenalty(), self


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """``R(w) = lam1 norm1(w) + (lam2 / 2) norm(w)**2``."""

    lam1: float
    lam2: float

    def value(self, w: np.ndarray) -> float:
        """Return R(w)."""
        return L1(self.lam1).value(w) + L2(self.lam2).value(w)

    def prox(self, w: np.ndarray, step: float) -> np.ndarray:
        """Return the soft threshold, shrunk."""
        return L1(self.lam1).prox(w, step) / (1 + step * self.lam2)

    def split(self) -> tuple[SmoothPenalty, Penalty | None]:
        """Return the l2 and the l1 part."""
        return L2(self.lam2), L1(self.lam1)
