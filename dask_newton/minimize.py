"""The loop of all solvers: step, record, save, stop."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from dask_newton.blocks import Meter
from dask_newton.checkpoint import Checkpoint, Keeper, OpenCheckpoint, open_checkpoint
from dask_newton.history import History
from dask_newton.objectives.base import Objective
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.solvers import Info, Solver, State, Status
from dask_newton.solvers.named import named_solver

__all__ = ["BUDGETS", "Result", "minimize"]

logger = logging.getLogger(__name__)

BUDGETS = (Status.MAX_ITER, Status.MAX_ROUNDS, Status.MAX_BYTES, Status.MAX_SECONDS)

_ADVICE = {
    **{budget: f"raise {budget}, loosen tol, scale the features, or choose another solver" for budget in BUDGETS},
    Status.LINE_SEARCH_FAILED: "no step decreases the objective: tol is below the accuracy of the data (use float64 "
    "data), or the features are badly scaled",
    Status.NEGATIVE_CURVATURE: "the solver met negative curvature; use a solver for non-convex objectives",
    Status.STATIONARY: "norm(grad F), which the solver decreases, has a stationary point here, and F has none; use a "
    "solver that decreases F, such as 'dino', or start elsewhere",
    Status.SETTLED: "the split variables agree and the augmented Lagrangian no longer changes, which are the solver's "
    "own criteria; lower its tolerances, or continue from here with another solver, such as 'gn-cg'",
    Status.DIVERGED: "the iterates diverge: the classes may be separable, so that there is no optimum (add a penalty), "
    "or the steps may be too long (lower the learning rate or raise mu, where the solver has one)",
    Status.NAN: "NaN or infinity occurred; scale the features",
}


@dataclass(frozen=True, eq=False)
class Result:
    """Where a run ended.

    Attributes
    ----------
    W : ndarray, shape (q, K)
        Coefficients, the intercept as last row.
    value : float
        F(W).
    gradient_norm : float
        The certificate: ``max|grad F(W)|``, or the largest entry of the smallest subgradient.
    status : Status
    n_iter : int
    history : History
    state : State or None
        Everything needed to continue, see ``minimize(state=...)``. Estimators drop it, as it may hold blocks of a
        cluster.
    convex : bool
        Whether the objective is convex. If so, a point with zero gradient is the optimum; if not, it is a stationary
        point, and there may be a better one elsewhere.
    """

    W: np.ndarray
    value: float
    gradient_norm: float
    status: Status
    n_iter: int
    history: History
    state: State | None
    convex: bool = True

    @property
    def converged(self) -> bool:
        """Whether the certificate reached the tolerance."""
        return self.status is Status.CONVERGED


def minimize(
    problem: Objective,
    solver: str | Solver[Any],
    start: np.ndarray | None = None,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    max_rounds: int | None = None,
    max_bytes: float | None = None,
    max_seconds: float | None = None,
    state: State | None = None,
    callbacks: Sequence[Callable[[dict[str, Any], State], bool | None]] = (),
    checkpoint: OpenCheckpoint | Checkpoint | str | os.PathLike[str] | None = None,
) -> Result:
    """Minimise an objective.

    Parameters
    ----------
    problem : Objective
        Such as one made by :func:`dask_newton.make_problem`.
    solver : str or Solver
        A name listed in :doc:`/solvers`, for the solver with its defaults, or a solver object such as
        ``GIANT(cg_max_iter=20)``.
    start : ndarray of shape (q, K), optional
        By default ``problem.null``: the best constant model for regression, zeros for classification, random weights
        for networks.
    max_iter : int
        Largest number of iterations.
    tol : float
        Stop when the certificate, the largest entry of the gradient of the mean objective, is at most this.
    max_rounds, max_bytes, max_seconds : float, optional
        Further budgets: communication rounds, bytes sent up and down, and seconds of this run, as counted in the
        history. They are checked between iterations, so the last iteration may exceed them. A run that continues from a
        checkpoint counts iterations, rounds and bytes from the start of the first run, and seconds from its own start.
    state : State, optional
        Continue from the state of an earlier result instead of from ``start``.
    callbacks : sequence of callable
        Each is called with the record of every iteration, to which it may add entries, and with the state. The run ends
        if one returns True.
    checkpoint : Checkpoint or path, optional
        Where to save the run. If a run was saved there before, continue it instead of beginning at ``start``; its
        history is continued as well.

    Returns
    -------
    Result

    Warns
    -----
    ConvergenceWarning
        If the certificate did not reach ``tol``; the message has its value and advice. Also if F is not convex and
        ended above its value at the start, as a small gradient is then one of a saddle, a maximum or a plateau.

    Raises
    ------
    UnsupportedError
        If the solver cannot minimise this objective.
    ValueError
        If the name of the solver is unknown, ``start`` does not have the shape of the coefficients, or the objective is
        not finite there.
    CheckpointError
        If the checkpoint is damaged, or was saved by a run of another problem or solver.
    """
    solver = named_solver(solver, network=isinstance(problem, NetworkObjective))
    solver.check(problem)
    history = History(solver.name)
    ledger = _Ledger(history, problem.blocks.meter, (max_iter, max_rounds, max_bytes, max_seconds))
    keeper = None if checkpoint is None else Keeper(open_checkpoint(checkpoint), problem, solver, history)
    looking: list[Callable[..., bool | None]] = [*callbacks, *([] if keeper is None else [keeper])]

    def record(iteration: int, state: State, info: Info) -> Status | None:
        """Record an iteration; return the reason if a budget or a callback ends the run."""
        row = ledger.write(iteration, state, info)
        logger.debug("%s %s", solver.name, row)
        if any([callback(row, state) for callback in looking]):
            return Status.STOPPED
        return ledger.spent(row)

    if keeper is not None and keeper.saved is not None:
        if state is not None:
            raise ValueError("state and checkpoint both hold a run to continue; give one of them.")
        state = keeper.restore(keeper.saved)
        ledger.go_on()
        iteration, ended = history[-1]["iteration"], ledger.spent(history[-1])
    else:
        if state is None:
            state = _start(problem, solver, start)
        iteration, ended = 0, record(0, state, Info())
    while ended is None and not (state.residual <= tol) and state.status is Status.RUNNING:
        iteration += 1
        state, info = solver.step(problem, state)
        ended = record(iteration, state, info)
    if keeper is not None:
        keeper.save(state)
    if state.residual <= tol:
        status = Status.CONVERGED
    else:
        status = ended if ended and state.status is Status.RUNNING else state.status
    value, residual = state.value, state.residual
    if not np.isfinite(residual) and status is not Status.NAN:
        point = problem.at(state.W)
        value, residual = value if np.isfinite(value) else point.value, problem.residual(state.W, point.gradient)
        status = Status.CONVERGED if residual <= tol else status
    if status is Status.CONVERGED and problem.has_no_optimum(value):
        status = Status.DIVERGED
    if not problem.convex and value > history.records[0]["objective"]:
        warnings.warn(
            f"{solver.name} ended at a larger objective than it began with, {value:.6g} instead of "
            f"{history.records[0]['objective']:.6g}. Advice: use a solver that decreases the objective, such as 'dino' "
            "or 'newton-cg', or start elsewhere.",
            ConvergenceWarning,
            stacklevel=2,
        )
    if status is Status.STOPPED:
        logger.info("%s was stopped by a callback after %d iterations.", solver.name, iteration)
    elif status is not Status.CONVERGED:
        lasting = keeper is not None and status is Status.MAX_SECONDS
        again = "run it again, to continue from the checkpoint; or " if lasting else ""
        warnings.warn(
            f"{solver.name} stopped without converging ({status.value}) after {iteration} iterations: the largest "
            f"gradient entry is {residual:.3g}, tol is {tol:.3g}. Advice: {again}{_ADVICE[status]}.",
            ConvergenceWarning,
            stacklevel=2,
        )
    if status is Status.CONVERGED and not problem.convex:
        logger.info(
            "%s found a stationary point. The objective is not convex, so there may be a better one elsewhere.",
            solver.name,
        )
    return Result(state.W, value, residual, status, iteration, history, state, problem.convex)


def _start(problem: Objective, solver: Solver[Any], start: np.ndarray | None) -> State:
    """Return the initial state."""
    start = np.array(problem.null if start is None else start, dtype=np.float64)
    if start.shape != problem.shape:
        raise ValueError(
            f"start has the shape {start.shape}; this problem has coefficients of the shape {problem.shape}, "
            "one row per feature (the last row is the intercept, if any) and one column per output."
        )
    state: State = solver.init(problem, start)
    if state.status is Status.NAN:
        raise ValueError("The objective is not finite at the starting point; scale the features or start at zero.")
    return state


class _Ledger:
    """Writes the records of a run, and checks its budgets.

    Parameters
    ----------
    history : History
    meter : Meter
    limits : tuple
        Budgets of iterations, rounds, bytes and seconds; None is no limit.
    """

    def __init__(self, history: History, meter: Meter, limits: tuple[float | None, ...]) -> None:
        self.history, self.meter, self.limits = history, meter, limits
        self.began, self.earlier, self.first = time.perf_counter(), 0.0, meter.snapshot()

    def go_on(self) -> None:
        """Continue the counts of the last record, which is of an earlier run."""
        last = self.history[-1]
        self.first = {key: count - last[key] for key, count in self.first.items()}
        self.earlier = last["seconds"]

    def write(self, iteration: int, state: State, info: Info) -> dict[str, Any]:
        """Record an iteration."""
        row = {
            "iteration": iteration,
            "objective": state.value,
            "gradient_norm": state.residual if np.isfinite(state.residual) else float("nan"),
            "step_size": info.step_size,
            "inner_iterations": info.inner_iterations,
            **{key: count - self.first[key] for key, count in self.meter.snapshot().items()},
            "seconds": self.earlier + time.perf_counter() - self.began,
            "note": info.note,
            **(info.extra or {}),
        }
        self.history.records.append(row)
        return row

    def spent(self, row: dict[str, Any]) -> Status | None:
        """Return the budget that a record exhausts, if any; seconds are those of this run."""
        used = (row["iteration"], row["rounds"], row["bytes_up"] + row["bytes_down"], row["seconds"] - self.earlier)
        budgets = zip(BUDGETS, used, self.limits, strict=True)
        return next((name for name, n, limit in budgets if limit is not None and n >= limit), None)
