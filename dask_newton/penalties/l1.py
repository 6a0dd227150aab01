"""l1 penalty and elastic net.

    L1:          R(w) = sum_j lam_j abs(w_j)                       prox(w, t) = S(w, t lam)
    elastic net: R(w) = sum_j lam1_j abs(w_j) + lam2_j w_j^2 / 2   prox(w, t) = S(w, t lam1) / (1 + t lam2)

with the soft threshold S(v, t) = sign(v) max(abs(v) - t, 0). Strengths are numbers, or arrays with a number for
each coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.penalties.base import NormPenalty, Penalty, SmoothPenalty
from dask_newton.penalties.l2 import L2, NoPenalty
from dask_newton.penalties.norms import Norms
from dask_newton.penalties.strengths import ByValue, Strength, broadcast, require_shape, strength
from dask_newton.storage.registry import stored

__all__ = ["L1", "ElasticNet"]


@stored("penalty/l1")
@dataclass(frozen=True, eq=False, repr=False)
class L1(ByValue, NormPenalty):
    """``R(w) = sum(lam * abs(w))``.

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

    def norms(self, shape: tuple[int, int]) -> Norms:
        """Return the norms of groups of one coefficient."""
        return Norms(np.broadcast_to(broadcast(self.lam), shape).ravel())

    def split(self) -> tuple[SmoothPenalty, Penalty | None]:
        """Return no smooth part and the penalty itself."""
        return NoPenalty(), self


@stored("penalty/elastic-net")
@dataclass(frozen=True, eq=False, repr=False)
class ElasticNet(ByValue, Penalty):
    """``R(w) = sum(lam1 * abs(w)) + sum(lam2 * w**2) / 2``.

    Parameters
    ----------
    lam1, lam2 : float, or array of shape (n_features,) or (n_features, n_outputs)
        Strengths of the l1 and of the l2 part.
    """

    lam1: Strength
    lam2: Strength

    def __post_init__(self) -> None:
        for name in ("lam1", "lam2"):
            object.__setattr__(self, name, strength(getattr(self, name), name))

    def check(self, shape: tuple[int, int]) -> None:
        """Raise ValueError if the strengths have another shape than the coefficients."""
        require_shape(self.lam1, "lam1", shape)
        require_shape(self.lam2, "lam2", shape)

    def value(self, w: np.ndarray) -> float:
        """Return R(w)."""
        return L1(self.lam1).value(w) + L2(self.lam2).value(w)

    def prox(self, w: np.ndarray, step: float) -> np.ndarray:
        """Return ``S(w, step lam1) / (1 + step lam2)``."""
        return L2(self.lam2).prox(L1(self.lam1).prox(w, step), step)

    def split(self) -> tuple[SmoothPenalty, Penalty | None]:
        """Return the l2 and the l1 part."""
        return L2(self.lam2), L1(self.lam1)
