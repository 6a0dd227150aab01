"""Squared l2 penalty, R(w) = sum_j lam_j w_j^2 / 2, and its limit for lam = 0, no penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.penalties.base import SmoothPenalty
from dask_newton.penalties.strengths import ByValue, Strength, broadcast, require_shape, strength
from dask_newton.storage.registry import stored

__all__ = ["L2", "NoPenalty"]


@stored("penalty/l2")
@dataclass(frozen=True, eq=False, repr=False)
class L2(ByValue, SmoothPenalty):
    """``R(w) = sum(lam * w**2) / 2``, with ``prox(w, t) = w / (1 + t lam)``.

    Parameters
    ----------
    lam : float, or array of shape (n_features,) or (n_features, n_outputs)
        Strength; coefficients of strength zero are not penalised.
    """

    lam: Strength

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", strength(self.lam, "lam"))

    def check(self, shape: tuple[int, int]) -> None:
        """Raise ValueError if the strengths have another shape than the coefficients."""
        require_shape(self.lam, "lam", shape)

    def value(self, w: np.ndarray) -> float:
        """Return R(w)."""
        return 0.5 * float(np.vdot(w, self.grad(w)))

    def prox(self, w: np.ndarray, step: float) -> np.ndarray:
        """Return ``w / (1 + step lam)``."""
        return w / (1 + step * self.hess_diag)

    def grad(self, w: np.ndarray) -> np.ndarray:
        """Return ``lam w``."""
        return self.hess_diag * w

    @property
    def hess_diag(self) -> Strength:
        """``lam``."""
        return broadcast(self.lam)


@stored("penalty/no-penalty")
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
