"""A plan of several solvers: when one fails or stalls, the next continues from its last point.

    W_{k+1} = step of solver s at W_k;     s <- s + 1, and W stays, where the step failed or s is stalled

A solver has failed where its status says so: no step decreases F, negative curvature, NaN, divergence. With a rate

    r = (residual_k / residual_{k-p})^{1/p},    p = the solver's ``patience``,

it is stalled where r > 1/2 and the iterations still needed at this rate, log(tol / residual_k) / log(r), would take
``margin`` times the passes that the next solver is expected to take from the beginning. For GIANT p is 2: if the
gradient does not halve per iteration, the blocks are too small or too different. The first condition is that
of a recommendation for GIANT, the second is ours: a slow solver is kept while it is still the faster one. As the
gradients of some methods go up and down, the smallest one of each half of the p iterations counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.solvers.base import Info, Solver, State, Status, UnsupportedError
from dask_newton.storage.registry import stored

__all__ = ["Stage", "Relay", "RelayState"]

_REASONS = {
    Status.LINE_SEARCH_FAILED: "found no step that decreases the objective",
    Status.NEGATIVE_CURVATURE: "met negative curvature",
    Status.DIVERGED: "diverged",
    Status.NAN: "met NaN",
}


@stored("solver-part/relay-stage")
@dataclass(frozen=True)
class Stage:
    """A solver of a plan.

    Attributes
    ----------
    solver : Solver
    passes : float
        Expected total number of passes.
    per_iteration : float
        Expected passes per iteration.
    """

    solver: Solver[Any]
    passes: float = 100.0
    per_iteration: float = 1.0


@stored("solver-state/relay")
@dataclass(frozen=True, eq=False)
class RelayState(State):
    """The state of the solver that runs, and what is known of its progress.

    Attributes
    ----------
    inner : State
    stage : int
        Which solver of the plan runs.
    first : float
        Residual at the start of the run.
    residuals : tuple of float
        Those of the last iterations of this solver.
    """

    inner: State
    stage: int
    first: float
    residuals: tuple[float, ...] = ()


@stored("solver/relay")
@dataclass(frozen=True)
class Relay(Solver[RelayState]):
    """Run solvers in sequence, each starting where the previous one stopped.

    Parameters
    ----------
    stages : tuple of Stage
        The plan.
    tol : float
        Target value of the certificate.
    slow : float
        Mean ratio of successive residuals above which a solver may be called stalled.
    margin : float
        A stalled solver is replaced if its remaining passes exceed ``margin`` times those of the next.
    name : str
        Name used in histories and messages.
    """

    stages: tuple[Stage, ...]
    tol: float = 1e-6
    slow: float = 0.5
    margin: float = 2.0
    name: str = "auto"  # type: ignore[misc]

    def check(self, problem: Objective) -> None:
        """Refuse what one of the solvers refuses, and an empty plan."""
        if not self.stages:
            raise UnsupportedError("a plan needs at least one stage; give one, or use solver='auto'.")
        for stage in self.stages:
            stage.solver.check(problem)

    def init(self, problem: Objective, start: np.ndarray) -> RelayState:
        """Begin with the first solver."""
        inner = self.stages[0].solver.init(problem, start)
        return self._state(inner, 0, inner.residual, (inner.residual,))

    def step(self, problem: Objective, state: RelayState) -> tuple[RelayState, Info]:
        """Do a step of the current solver, and switch to the next if it failed or stalled."""
        stage = self.stages[state.stage]
        inner, info = stage.solver.step(problem, state.inner)
        residuals = state.residuals
        if math.isfinite(inner.residual):  # consensus methods evaluate it only occasionally
            residuals = (*residuals, inner.residual)[-1 - stage.solver.patience :]
        new = self._state(inner, state.stage, state.first, residuals)
        reason = self._reason(problem, new)
        if reason is None:
            return new, info
        following = self.stages[state.stage + 1].solver
        sound = math.isfinite(inner.value) and not inner.value > state.value
        inner = following.init(problem, inner.W if sound else state.W)
        note = f"{stage.solver.name} {reason}; {following.name} goes on"
        info = replace(info, note="; ".join(filter(None, (info.note, note))))
        return self._state(inner, state.stage + 1, state.first, (inner.residual,)), info

    def running(self, state: RelayState) -> Solver[Any]:
        """Return the solver that runs."""
        return self.stages[state.stage].solver

    @staticmethod
    def _state(inner: State, stage: int, first: float, residuals: tuple[float, ...]) -> RelayState:
        return RelayState(inner.W, inner.value, inner.residual, inner.status, inner, stage, first, residuals)

    def _reason(self, problem: Objective, state: RelayState) -> str | None:
        """Say why the next solver should go on; None if this one should, or must."""
        if state.stage + 1 == len(self.stages) or state.residual <= self.tol:
            return None
        # With a gradient this small, values of F no longer differ beyond rounding: no solver can make progress.
        # If F decreases for ever, no solver finds an optimum.
        if state.residuals[-1] <= math.sqrt(problem.precision) * state.first or problem.has_no_optimum(state.value):
            return None
        if state.status is not Status.RUNNING:
            return _REASONS.get(state.status, f"ended with {state.status.value}")
        stage, following, seen = self.stages[state.stage], self.stages[state.stage + 1], len(state.residuals)
        if seen <= stage.solver.patience:
            return None
        half = seen // 2
        rate = (min(state.residuals[half:]) / min(state.residuals[:half])) ** (1 / (seen - half))
        if not rate > self.slow:
            return None
        left = math.log(self.tol / state.residuals[-1]) / math.log(rate) if rate < 1 and self.tol > 0 else math.inf
        if left * stage.per_iteration <= self.margin * following.passes:
            return None
        return f"stalled at a gradient of {state.residuals[-1]:.1e}"
