"""``solver="auto"`` for networks."""

from __future__ import annotations

from typing import Any

from dask_newton.objectives.network import NetworkObjective
from dask_newton.solvers import GNCG, Solver

__all__ = ["usual_network_solver"]


def usual_network_solver(problem: NetworkObjective) -> tuple[Solver[Any], str]:
    """Return the solver for a network, and one sentence with the reason."""
    return GNCG(), "it needs the fewest rounds"
