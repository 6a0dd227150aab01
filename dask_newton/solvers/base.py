"""The contract of a distributed solver.

A solver is a frozen dataclass of hyper-parameters; nothing is ever set on it. ``init`` returns the first state,
``step`` maps a state to the next one and reports what happened. States are frozen dataclasses of scalars, driver
arrays and :class:`~dask_newton.blocks.PerBlock` columns. They hold everything that is carried, so a run can stop and
resume. Solvers never loop, print, time or count; :func:`dask_newton.minimize` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.objectives.points import Point
from dask_newton.penalties import SmoothPenalty
from dask_newton.solvers.work import Work
from dask_newton.storage.registry import stored

__all__ = [
    "Info",
    "Solver",
    "State",
    "Status",
    "UnsupportedError",
    "require_convex_loss",
    "require_linear",
    "require_network",
    "require_option",
    "require_smooth",
]

S = TypeVar("S", bound="State")


class UnsupportedError(ValueError):
    """The solver cannot minimise this objective; the message names one that can."""


class Status(StrEnum):
    """How a run stands, or why it ended."""

    RUNNING = "running"
    CONVERGED = "converged"
    NO_CHANGE = "no_change"  # of the objective, or of a score on other rows: how the fit of a network ends
    MAX_ITER = "max_iter"
    MAX_ROUNDS = "max_rounds"
    MAX_BYTES = "max_bytes"
    MAX_SECONDS = "max_seconds"
    STOPPED = "stopped"
    LINE_SEARCH_FAILED = "ls_fail"
    NEGATIVE_CURVATURE = "npc"
    STATIONARY = "stationary_of_surrogate"
    SETTLED = "settled"
    DIVERGED = "diverged"
    NAN = "nan"


@dataclass(frozen=True, eq=False)
class State:
    """What every solver carries.

    Attributes
    ----------
    W : ndarray, shape (q, K)
        Coefficients.
    value : float
        F(W); nan while unknown.
    residual : float
        Certificate of optimality at W, see :meth:`Objective.residual`; inf while unknown.
    status : Status
    """

    W: np.ndarray
    value: float
    residual: float
    status: Status


@stored("solver-state/point")
@dataclass(frozen=True, eq=False)
class PointState(State):
    """The state of a solver that needs only the objective linearised at W."""

    point: Point

    @classmethod
    def at(cls, problem: Objective, point: Point, status: Status = Status.RUNNING, **more: Any) -> Any:
        """Return the state at a point."""
        residual = problem.residual(point.W, point.gradient)
        if not (np.isfinite(point.value) and np.isfinite(residual)):
            status = Status.NAN
        return cls(point.W, point.value, residual, status, point, **more)


@dataclass(frozen=True)
class Info:
    """What one step reports. It is recorded, never carried.

    Attributes
    ----------
    step_size : float
        Accepted step of the line search; nan where there is none.
    inner_iterations : float
        Iterations of the inner solver (for local solvers the mean over blocks).
    note : str
        Anything out of the ordinary, such as 'npc'; empty otherwise.
    extra : dict
        Further numbers that belong to one solver, such as ADMM's residuals.
    """

    step_size: float = float("nan")
    inner_iterations: float = 0
    note: str = ""
    extra: dict[str, float] | None = None


class Solver(ABC, Generic[S]):
    """A distributed algorithm: a sequence of passes.

    ``problem`` is an :class:`~dask_newton.objectives.base.Objective`, or one of the kind that ``check`` insists on.

    Attributes
    ----------
    name : str
        The name under which estimators find it.
    summary, suited_to : str
        What it does, and for which problems it is the right choice; for the tables of the documentation.
    penalties : str
        Which ones it supports; for the same tables.
    patience : int
        Iterations over which its progress can be judged, see :class:`~dask_newton.solvers.relay.Relay`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    suited_to: ClassVar[str]
    penalties: ClassVar[str] = "none, l2"
    patience: ClassVar[int] = 20

    @abstractmethod
    def check(self, problem: Any) -> None:
        """Raise :class:`UnsupportedError` if this solver cannot minimise the objective."""

    @abstractmethod
    def init(self, problem: Any, start: np.ndarray) -> S:
        """Return the state at ``start``."""

    @abstractmethod
    def step(self, problem: Any, state: S) -> tuple[S, Info]:
        """Return the next state and what happened."""

    def work(self, problem: LinearObjective) -> Work | None:
        """Return the expected work; None if it cannot be estimated, as without a convergence guarantee."""
        return None


def require_linear(problem: Objective, name: str) -> None:
    """Refuse objectives that are not those of linear models."""
    if not isinstance(problem, LinearObjective):
        raise UnsupportedError(
            f"solver {name!r} is for linear models and got a {type(problem).__name__}; use solver='lbfgs'."
        )


def require_network(problem: Objective, name: str) -> NetworkObjective:
    """Refuse objectives that are not those of networks."""
    if not isinstance(problem, NetworkObjective):
        raise UnsupportedError(
            f"solver {name!r} is for networks and got a {type(problem).__name__}; use solver='newton-admm'."
        )
    return problem


def require_convex_loss(network: NetworkObjective, name: str) -> None:
    """Refuse losses that are not convex in the margins."""
    if not network.loss.convex:
        raise UnsupportedError(
            f"solver {name!r} needs a loss that is convex in the margins and got {network.loss}; "
            "use solver='newton-cg'."
        )


def require_option(solver: Solver[Any], option: str, allowed: bool, what: str) -> None:
    """Refuse the value of an option that is not allowed; ``what`` says what it must be."""
    if not allowed:
        raise UnsupportedError(f"solver {solver.name!r} got {option}={getattr(solver, option)}; it must be {what}.")


def require_smooth(problem: Objective, name: str) -> None:
    """Refuse penalties that are not differentiable."""
    if not isinstance(problem.penalty, SmoothPenalty):
        raise UnsupportedError(
            f"solver {name!r} needs a differentiable penalty and got {problem.penalty}; use solver='newton-admm'."
        )
