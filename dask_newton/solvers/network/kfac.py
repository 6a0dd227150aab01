"""K-FAC: natural gradients by Kronecker factors (Martens and Grosse 2015), with exact products for their length.

    A_l, D_l = the factors of layer l over all rows, see :mod:`~dask_newton.objectives.network.kronecker`
    V_l  = -(A_l + pi_l gamma I)^{-1} (grad_l F) (D_l + gamma / pi_l I)^{-1},      gamma = sqrt(lam + l2)
    pi_l = sqrt(mean of the diagonal of A_l / mean of the diagonal of D_l)
    step = a V + b (last step),   the minimiser over (a, b) of the model  <g, .> + <., (G + lam I) .> / 2
    W   += step   if F decreases, else the last step is forgotten
    lam follows the ratio of the decrease of F to that of the model, see :mod:`~dask_newton.solvers.parts.damping`

G is the Gauss-Newton matrix over all rows. Two passes per iteration: one for the products of G with both directions,
one for F, its gradient and the factors where the step leads. The inverses are made on the driver. A_l and D_l are
symmetric, so that half of their entries are sent.

The factors are those of the gradients at the labels that there are (the empirical Fisher matrix). The length of the
step does not depend on them, and with labels drawn from the model, as in the paper, it took as many iterations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.objectives.network.kronecker import Factors
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.solvers.base import (
    Info,
    PointState,
    Solver,
    Status,
    require_convex_loss,
    require_network,
    require_option,
    require_smooth,
)
from dask_newton.solvers.parts.damping import next_damping, require_damping
from dask_newton.storage.registry import stored

__all__ = ["KFAC", "KFACState"]


@stored("solver-state/kfac")
@dataclass(frozen=True, eq=False)
class KFACState(PointState):
    """W and what the next step starts from.

    Attributes
    ----------
    factors : tuple of (ndarray, ndarray)
        A_l and D_l.
    damping : float
        lam.
    previous : ndarray of shape (P, 1) or None
        The last step.
    failures : int
        How many of the last steps moved nowhere.
    """

    factors: Factors
    damping: float
    previous: np.ndarray | None
    failures: int


@stored("solver/kfac")
@dataclass(frozen=True)
class KFAC(Solver[KFACState]):
    """Kronecker-factored approximate curvature.

    Parameters
    ----------
    damping : float
        lam at the start.
    damping_rule : {'nielsen', 'martens'}
        How lam follows the ratio.
    max_failures : int
        Steps without a decrease after which the run ends.
    """

    damping: float = 0.1
    damping_rule: str = "nielsen"
    max_failures: int = 12
    name = "kfac"
    summary = "natural gradients by Kronecker factors (Martens and Grosse 2015), of optimal length"
    suited_to = "layers of up to some thousand units; two passes per iteration"

    def check(self, problem: NetworkObjective) -> None:
        """Refuse other models, penalties that are not smooth, losses that are not convex, and options out of range."""
        require_smooth(problem, self.name)
        require_convex_loss(require_network(problem, self.name), self.name)
        require_damping(self)
        require_option(self, "max_failures", self.max_failures >= 1, "at least 1")

    def init(self, problem: NetworkObjective, start: np.ndarray) -> KFACState:
        """Linearise at the start."""
        point, factors = problem.at_with_factors(start)
        return KFACState.at(problem, point, factors=factors, damping=self.damping, previous=None, failures=0)

    def step(self, problem: NetworkObjective, state: KFACState) -> tuple[KFACState, Info]:
        """Precondition, find the best combination with the last step, and go there if F decreases."""
        point, lam, g = state.point, state.damping, state.point.gradient
        V = _direction(problem, g, state.factors, lam)
        if state.previous is not None:
            V = np.concatenate([V, state.previous], axis=1)
        product = problem.gauss_newton_mul(point, V)
        lengths = np.linalg.lstsq(V.T @ (product + lam * V), -V.T @ g, rcond=None)[0]
        step = V @ lengths
        change = float(np.vdot(g, step) + 0.5 * np.vdot(step, product @ lengths))
        new, factors = problem.at_with_factors(point.W + step)
        moved = new.value <= point.value + 4 * problem.precision * abs(point.value)
        ratio = (new.value - point.value) / change if change < 0 and np.isfinite(new.value) else np.nan
        damping = next_damping(self.damping_rule, lam, ratio)
        info = Info(float(moved), V.shape[1], "" if moved else "no step", {"damping": lam, "ratio": float(ratio)})
        if moved:
            return KFACState.at(problem, new, factors=factors, damping=damping, previous=step, failures=0), info
        failures = state.failures + 1
        status = Status.LINE_SEARCH_FAILED if failures >= self.max_failures else Status.RUNNING
        state = KFACState.at(
            problem, point, status, factors=state.factors, damping=damping, previous=None, failures=failures
        )
        return state, info


def _direction(problem: NetworkObjective, g: np.ndarray, factors: Factors, lam: float) -> np.ndarray:
    """Return V."""
    direction = np.zeros_like(g)
    gamma = np.sqrt(lam + float(problem.ridge().max()))
    layers = zip(problem.layers.of(g), problem.layers.of(direction), factors, strict=True)
    for (W, b), (V, c), (A, D) in layers:
        pi = np.sqrt(max(np.mean(np.diag(A)), 1e-12) / max(np.mean(np.diag(D)), 1e-12))
        half = np.linalg.solve(A + pi * gamma * np.eye(len(A)), np.vstack([W, b]))
        whole = -np.linalg.solve(D + gamma / pi * np.eye(len(D)), half.T).T
        V[...], c[...] = whole[:-1], whole[-1]
    return direction
