"""Synchronous mini-batch SGD, the baseline of the papers (Crane and Roosta, arXiv 2006.03694, section 3).

    g_i = the gradient of block i's mean loss, over a part of its rows, drawn without replacement      (on every block)
    W  -= a ( sum_i omega_i g_i + grad R(W) ),    omega_i = S_i / S                                    (on the driver)

One pass per iteration. The iterates end up fluctuating around the optimum, closer for smaller a, and do not reach it.

A mini-batch does not give F. Every ``certify_every`` iterations the pass also evaluates all rows, at its input W:
so W is the point that the last pass was given, and the next one is carried along.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import to_host
from dask_newton.blocks import named
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.solvers.base import Info, Solver, State, Status, require_linear, require_option, require_smooth
from dask_newton.storage.registry import stored

__all__ = ["SGD", "SGDState"]


@stored("solver-state/sgd")
@dataclass(frozen=True, eq=False)
class SGDState(State):
    """W, the point after it, and the last point whose objective is known.

    Attributes
    ----------
    next : ndarray, shape (q, K)
    iteration : int
        Steps done.
    known : ndarray, shape (q, K)
    known_value : float
        F there.
    """

    next: np.ndarray
    iteration: int
    known: np.ndarray
    known_value: float


@stored("solver/sgd")
@dataclass(frozen=True)
class SGD(Solver[SGDState]):
    """Synchronous mini-batch stochastic gradient descent.

    Parameters
    ----------
    learning_rate : float or None
        a. None is one over a bound of the curvature: that of the loss times the mean squared norm of a row; for a loss
        whose curvature has no bound the trace of the batch's Hessian stands for it.
    fraction : float
        Fraction of every block's rows used in an iteration.
    certify_every : int
        Iterations between evaluations of F and its gradient over all rows, which ride on the pass.
    seed : int
        Seed of the mini-batches.
    """

    learning_rate: float | None = None
    fraction: float = 0.2
    certify_every: int = 10
    seed: int = 0
    name = "sgd"
    summary = "synchronous mini-batch stochastic gradient descent"
    suited_to = "baseline; the iterates only come near the optimum"

    def check(self, problem: LinearObjective) -> None:
        """Refuse other models, penalties that are not smooth, and options out of range."""
        require_linear(problem, self.name)
        require_smooth(problem, self.name)
        rate = self.learning_rate
        require_option(self, "learning_rate", rate is None or rate > 0, "positive, or None")
        require_option(self, "fraction", 0 < self.fraction <= 1, "in (0, 1]")
        require_option(self, "certify_every", self.certify_every >= 1, "at least 1")

    def init(self, problem: LinearObjective, start: np.ndarray) -> SGDState:
        """Evaluate the start."""
        point = problem.at(start)
        residual = problem.residual(start, point.gradient)
        status = Status.RUNNING if math.isfinite(point.value) and math.isfinite(residual) else Status.NAN
        return SGDState(start, point.value, residual, status, start, 0, start, point.value)

    def step(self, problem: LinearObjective, state: SGDState) -> tuple[SGDState, Info]:
        """Step along the negative mini-batch gradient."""
        W, S, k = state.next, problem.total_weight, state.iteration
        certify = k > 0 and k % self.certify_every == 0
        gradient, curvature, whole = problem.blocks.map_reduce(
            _batch_gradient,
            problem.data,
            problem.index,
            fit_intercept=problem.fit_intercept,
            W=W,
            iteration=k,
            certify=certify,
            options=self,
            trace=self.learning_rate is None and problem.curvature_bound is None,
            share=self.fraction + certify,
        )
        rate, penalty_gradient = self.learning_rate, problem.smooth.grad(problem.penalised(W))
        if rate is None:
            bound = curvature / S if problem.curvature_bound is None else problem.curvature_bound
            rate = 1 / max(bound + float(np.max(problem.ridge())), 1e-300)
        info = Info(step_size=rate)
        gradient = gradient / S
        problem.penalised(gradient)[...] += penalty_gradient
        value, residual, known, known_value = math.nan, math.inf, state.known, state.known_value
        fine = bool(np.all(np.isfinite(gradient)))
        if k == 0:
            value, residual = state.value, state.residual
        elif certify:
            total, full = whole
            value, full = float(total[0]) / S + problem.penalty.value(problem.penalised(W)), full / S
            problem.penalised(full)[...] += penalty_gradient
            residual = problem.residual(W, full)
            fine = fine and math.isfinite(residual) and value <= known_value + abs(known_value)
        if not fine:
            diverged = SGDState(known, known_value, math.inf, Status.DIVERGED, known, k + 1, known, known_value)
            return diverged, info
        if certify:
            known, known_value = W, value
        new = W - rate * gradient
        return SGDState(W, value, residual, Status.RUNNING, new, k + 1, known, known_value), info


@named("batch-gradient")
def _batch_gradient(
    rows: RowBlock,
    index: int,
    *,
    fit_intercept: bool,
    W: np.ndarray,
    iteration: int,
    certify: bool,
    options: SGD,
    trace: bool,
) -> tuple[np.ndarray, float, Any]:
    """Return estimates of a block's summed gradient and curvature, and, to certify, its true value and gradient."""
    size = math.ceil(options.fraction * rows.n_rows)
    batch = np.random.default_rng([options.seed, index, iteration]).choice(rows.n_rows, size, replace=False)
    part, factor = LinearBlock(rows.take(np.sort(batch)), fit_intercept), rows.n_rows / size
    at_part = part.ray(W)
    curvature = factor * part.curvature_trace(at_part.curvature) if trace else 0.0
    whole = None
    if certify:
        at_all = LinearBlock(rows, fit_intercept).ray(W)
        whole = to_host((at_all.values, at_all.gradient))
    return factor * to_host(at_part.gradient), curvature, whole
