"""The two local least squares problems of DINO and DINGO (Crane and Roosta 2019, 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dask_newton.inner import CG, LSMR, SquaredCG
from dask_newton.inner.base import Array, Operator, dot
from dask_newton.solvers.base import require_linear, require_option, require_smooth

__all__ = ["LeastSquares", "require_least_squares"]


@dataclass(frozen=True)
class LeastSquares:
    """The two local problems of DINO, which are also those of DINGO.

    Attributes
    ----------
    lsmr : LSMR
    squared : SquaredCG
    """

    lsmr: LSMR
    squared: SquaredCG

    @classmethod
    def of(cls, phi: float, rtol: float, max_iter: int) -> LeastSquares:
        """Return both with the same options."""
        return cls(LSMR(rtol, max_iter, phi), SquaredCG(CG(rtol, max_iter), phi))

    def correct(self, H: Operator, v: Array, target: Array, least: float) -> tuple[Array | None, int]:
        """Add as much of ``(H^2 + phi^2 I)^{-1} target`` to v as ``<v, target> >= least`` needs.

        Returns
        -------
        Array or None
            None if rounding leaves nothing to add, or products are not finite.
        int
            Iterations.
        """
        found = self.squared.solve(H, target)
        missing, gain = least - dot(v, target), dot(found.x, target)
        if found.status == "nan" or not (gain > 0 and math.isfinite(missing / gain)):
            return None, found.n_iter
        return v + (missing / gain) * found.x, found.n_iter


def require_least_squares(solver: Any, problem: Any) -> None:
    """Refuse other models, penalties that are not smooth, and options of the local problems out of range."""
    require_linear(problem, solver.name)
    require_smooth(problem, solver.name)
    require_option(solver, "theta", solver.theta > 0, "positive")
    require_option(solver, "phi", solver.phi > 0, "positive")
