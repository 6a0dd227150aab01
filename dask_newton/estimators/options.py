"""From parameters of an estimator to solvers, with their options, and penalties."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from dask_newton.penalties import L1, L2, ElasticNet, NoPenalty, Penalty
from dask_newton.solvers import SOLVERS, Solver

__all__ = ["elastic_net", "make_solver", "with_options"]


def elastic_net(strength: float, l1_ratio: float) -> Penalty:
    """Return ``strength (l1_ratio norm1(w) + (1 - l1_ratio) / 2 norm(w)^2)``, by the simplest class for it."""
    if strength == 0:
        return NoPenalty()
    if l1_ratio == 0:
        return L2(strength)
    return L1(strength) if l1_ratio == 1 else ElasticNet(strength * l1_ratio, strength * (1 - l1_ratio))


def make_solver(name: str | Solver, options: dict[str, Any] | None) -> Solver | None:
    """Return the solver of a name with its options set; None for 'auto'.

    Raises
    ------
    ValueError
        If the name or an option is not known; the message has the nearest one that is.
    """
    if isinstance(name, Solver):
        return with_options(name, options or {})
    if name == "auto":
        if options:
            raise ValueError("solver_options need a named solver; solver='auto' chooses its own.")
        return None
    if name not in SOLVERS:
        raise ValueError(f"solver={name!r} is not known; {_nearest(str(name), ['auto', *sorted(SOLVERS)])}")
    return with_options(SOLVERS[name](), options or {})


def with_options(solver: Any, options: dict[str, Any]) -> Solver:
    """Return a solver with some options set."""
    known = [field.name for field in dataclasses.fields(solver)]
    for option in options:
        if option not in known:
            raise ValueError(f"solver {solver.name!r} has no option {option!r}; {_nearest(option, known)}")
    return dataclasses.replace(solver, **options)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.4)
    return (f"did you mean {close[0]!r}? " if close else "") + f"Known are {', '.join(known)}."
