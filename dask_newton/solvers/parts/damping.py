"""How the damping lam of Gauss-Newton and Newton steps follows the ratio rho of the decrease of F to that of the model.

    lam <- max(1/3, 1 - (2 rho - 1)^3) lam, or 2 lam where rho <= 0    (Nielsen 1999)
        or 3/2 lam if rho < 1/4, 2/3 lam if rho > 3/4                  (Martens 2010)

It stays between 1e-10 and 1e10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dask_newton.solvers.base import require_option

__all__ = ["DAMPING_RULES", "next_damping", "require_damping"]


def _martens(ratio: float) -> float:
    if ratio > 0.75:
        return 2 / 3
    return 1.0 if ratio >= 0.25 else 3 / 2


def _nielsen(ratio: float) -> float:
    return max(1 / 3, 1 - (2 * ratio - 1) ** 3) if ratio > 0 else 2.0


#: Name -> function that maps rho to the factor of the damping. A rho of nan is a model that predicted no decrease,
#: or no step.
DAMPING_RULES: dict[str, Callable[[float], float]] = {"martens": _martens, "nielsen": _nielsen}


def require_damping(solver: Any) -> None:
    """Refuse a ``damping`` that is not positive and a ``damping_rule`` that is not known."""
    require_option(solver, "damping", 0 < solver.damping < np.inf, "positive")
    known = solver.damping_rule in DAMPING_RULES
    require_option(solver, "damping_rule", known, f"one of {', '.join(DAMPING_RULES)}")


def next_damping(rule: str, lam: float, ratio: float) -> float:
    """Return lam for the coming step."""
    return float(np.clip(lam * DAMPING_RULES[rule](ratio), 1e-10, 1e10))
