"""AIDE: accelerated InexactDANE (Reddi, Konecny, Richtarik, Poczos, Smola, arXiv 1608.06879, Algorithm 2).

    W+   ~ argmin  F(.) + (tau / 2) norm(. - Y)^2                    (some steps of InexactDANE, from W)
    zeta+: the positive root of  z^2 + (zeta^2 - q) z - zeta^2 = 0,      q = lam / (lam + tau)
    beta = zeta (1 - zeta) / (zeta^2 + zeta+)
    Y    = W+ + beta (W+ - W)

lam is the strong convexity of F. The gradient of the proximal objective is g + tau (W - Y), and its local problems gain
(tau / 2) norm(V - W)^2, so InexactDANE can be used unchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.solvers.base import Info, Solver, Status, require_linear, require_option, require_smooth
from dask_newton.solvers.linear.dane import DANEState, accept, require_weights
from dask_newton.solvers.linear.inexact_dane import InexactDANE, require_svrg
from dask_newton.storage.registry import stored

__all__ = ["AIDE", "AIDEState"]


@stored("solver-state/aide")
@dataclass(frozen=True, eq=False)
class AIDEState(DANEState):
    """W, the point with momentum, and the sequence that sets the momentum.

    Attributes
    ----------
    Y : ndarray, shape (q, K)
    zeta : float
    """

    Y: np.ndarray
    zeta: float


@stored("solver/aide")
@dataclass(frozen=True)
class AIDE(Solver[AIDEState]):
    """Accelerated InexactDANE.

    Parameters
    ----------
    tau : float or None
        Weight of the proximal term that accelerates; None is the mean strength of the l2 penalty.
    zeta : float
        First zeta, in (0, 1).
    lam : float or None
        Strong convexity; None is the smallest strength of the l2 penalty.
    inner_iterations : int
        Iterations of InexactDANE in each of AIDE.
    eta, mu, steps, batch_size, learning_rate, seed
        Of InexactDANE.
    """

    tau: float | None = None
    zeta: float = 0.5
    lam: float | None = None
    inner_iterations: int = 1
    eta: float = 1.0
    mu: float = 0.0
    steps: int = 50
    batch_size: int = 128
    learning_rate: float | None = None
    seed: int = 0
    name = "aide"
    summary = "inexact-dane, accelerated (Reddi et al. 2016)"
    suited_to = "baseline; convergence is not guaranteed"

    def check(self, problem: LinearObjective) -> None:
        """Refuse other models, penalties that are not smooth, and options out of range."""
        require_linear(problem, self.name)
        require_smooth(problem, self.name)
        require_weights(self)
        require_svrg(self)
        for option in ("tau", "lam"):
            value = getattr(self, option)
            require_option(self, option, value is None or value >= 0, "zero or positive, or None")
        require_option(self, "zeta", 0 < self.zeta < 1, "in (0, 1)")
        require_option(self, "inner_iterations", self.inner_iterations >= 1, "at least 1")

    def init(self, problem: LinearObjective, start: np.ndarray) -> AIDEState:
        """Linearise at the start, without momentum."""
        return AIDEState.at(problem, problem.at(start), iteration=0, Y=start, zeta=self.zeta)

    def step(self, problem: LinearObjective, state: AIDEState) -> tuple[AIDEState, Info]:
        """Do some steps of InexactDANE on the proximal objective, and move Y."""
        tau, lam = self._weights(problem)
        point, info = state.point, Info()
        carried: dict[str, Any] = {"iteration": state.iteration + 1, "Y": state.Y, "zeta": state.zeta}
        for k in range(self.inner_iterations):
            gradient = self.eta * (point.gradient + tau * (point.W - state.Y))
            move = self._inner.move(
                problem, point, gradient, self.mu + tau, state.iteration * self.inner_iterations + k
            )
            new = None if move.failed else accept(problem, point, move.P)
            info = replace(move.info, inner_iterations=info.inner_iterations + move.info.inner_iterations)
            if new is None:
                return AIDEState.at(problem, state.point, Status.DIVERGED, **carried), info
            point = new
        zeta = next_zeta(state.zeta, lam / (lam + tau) if lam else 0.0)
        beta = state.zeta * (1 - state.zeta) / (state.zeta**2 + zeta)
        carried |= {"Y": point.W + beta * (point.W - state.point.W), "zeta": zeta}
        return AIDEState.at(problem, point, **carried), replace(info, extra={**(info.extra or {}), "momentum": beta})

    def _weights(self, problem: LinearObjective) -> tuple[float, float]:
        ridge = problem.penalised(problem.ridge())
        tau = float(np.mean(ridge)) if self.tau is None else self.tau
        return tau, float(np.min(ridge)) if self.lam is None else self.lam

    @property
    def _inner(self) -> InexactDANE:
        return InexactDANE(
            eta=self.eta,
            mu=self.mu,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )


def next_zeta(zeta: float, q: float) -> float:
    """Return the positive root of ``z^2 + (zeta^2 - q) z - zeta^2 = 0``."""
    b = zeta**2 - q
    return (-b + math.sqrt(b * b + 4 * zeta**2)) / 2
