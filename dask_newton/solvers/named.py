"""Look up solvers and their options by name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from dask_newton.solvers import NETWORK_SOLVERS, SOLVERS
from dask_newton.solvers.base import Solver

__all__ = ["named_solver", "solver_classes", "with_options"]


def solver_classes(*, network: bool) -> dict[str, type[Solver]]:
    """Return all solvers by name; those for networks first, or those for linear models, where a name is in both."""
    return {**SOLVERS, **NETWORK_SOLVERS} if network else {**NETWORK_SOLVERS, **SOLVERS}


def named_solver(solver: str | Solver[Any], also: Iterable[str] = (), *, network: bool = False) -> Solver[Any]:
    """Return the solver of a name, with its defaults; a solver itself is returned as it is.

    Parameters
    ----------
    solver : str or Solver
    also : iterable of str
        Further names known to the caller, for the message.
    network : bool
        Whether the solver is for a network, where that matters.

    Raises
    ------
    ValueError
        If the name is not known; the message has the nearest one that is.
    """
    if isinstance(solver, Solver):
        return solver
    every = solver_classes(network=network)
    if solver not in every:
        usual = sorted(every if network else SOLVERS)
        nearest = _nearest(str(solver), [*also, *sorted(every)], [*also, *usual])
        raise ValueError(f"solver={solver!r} is not known; {nearest}")
    return every[solver]()


def with_options(solver: Any, options: dict[str, Any]) -> Solver[Any]:
    """Return a solver with some options set.

    Raises
    ------
    ValueError
        If an option is not known; the message has the nearest one that is.
    """
    known = [field.name for field in dataclasses.fields(solver)]
    for option in options:
        if option not in known:
            raise ValueError(f"solver {solver.name!r} has no option {option!r}; {_nearest(option, known, known)}")
    return dataclasses.replace(solver, **options)


def _nearest(name: str, names: list[str], listed: list[str]) -> str:
    """Name the closest match among ``names`` and list those in ``listed``."""
    close = difflib.get_close_matches(name, names, 1, 0.4)
    return (f"did you mean {close[0]!r}? Known" if close else "known") + f" are {', '.join(listed)}."
