"""Parameters of estimators that stand for solvers and penalties."""

from __future__ import annotations

import dataclasses
from typing import Any

from dask_newton.penalties import L1, L2, ElasticNet, NoPenalty, Penalty
from dask_newton.solvers import Solver
from dask_newton.solvers.named import named_solver, with_options
from dask_newton.solvers.relay import Relay

__all__ = ["elastic_net", "has_option", "make_solver", "seeded"]


def elastic_net(strength: float, l1_ratio: float) -> Penalty:
    """Return ``strength (l1_ratio norm1(w) + (1 - l1_ratio) / 2 norm(w)^2)``, in the simplest class."""
    if strength == 0:
        return NoPenalty()
    if l1_ratio == 0:
        return L2(strength)
    return L1(strength) if l1_ratio == 1 else ElasticNet(strength * l1_ratio, strength * (1 - l1_ratio))


def make_solver(name: str | Solver, options: dict[str, Any] | None, *, network: bool = False) -> Solver | None:
    """Return the solver of a name with its options; None for 'auto'. Some names mean another solver for networks.

    Raises
    ------
    ValueError
        If the name or an option is unknown; the message suggests the closest one.
    """
    if name == "auto":
        if options:
            raise ValueError("solver_options need a named solver; solver='auto' sets its own options.")
        return None
    return with_options(named_solver(name, also=["auto"], network=network), options or {})


def seeded(solver: Solver[Any], seed: int) -> Solver[Any]:
    """Return a solver, or a relay of solvers, with the seed set where samples are drawn."""
    if isinstance(solver, Relay):
        stages = [dataclasses.replace(stage, solver=seeded(stage.solver, seed)) for stage in solver.stages]
        return dataclasses.replace(solver, stages=tuple(stages))
    return with_options(solver, {"seed": seed}) if has_option(solver, "seed") else solver


def has_option(solver: Any, option: str) -> bool:
    """Whether a solver has an option with that name."""
    return option in {field.name for field in dataclasses.fields(solver)}
