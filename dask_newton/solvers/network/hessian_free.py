"""What the Hessian-free solvers for networks share (Martens 2010; He, Mudigere, Smelyanskiy, Takac 2016, Alg. 2).

    g   = grad F(W)                                                    (known from the last pass)
    C_k = the curvature of F over part of the rows of every block      (one pass, none for all rows)
    solve (C_k + lam I) d = -g inexactly, from x_0 = decay d_{k-1}     (one pass per product); collect candidates
    d   = the candidate with the smallest F(W + d)                     (one pass)
    W  += a d,  a in {1, 1/2, ..., 2^-9} by Armijo's rule              (one pass for a = 1, with the next g; two more
                                                                        where that is too long)
    rho = (F(W + a d) - F(W)) / (a <g, d> + a^2 <d, C_k d> / 2)    (one pass if the inner solver did not know C_k d)
    lam follows rho, see :mod:`~dask_newton.solvers.parts.damping`           (Levenberg and Marquardt)

If no step will do, W stays where it is, lam grows and the next solve starts at zero; after some failures the run ends.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.objectives.points import Point
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
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.storage.registry import stored

__all__ = ["Candidates", "HessianFree", "HessianFreeState"]


@stored("solver-part/hf-candidates")
@dataclass(frozen=True, eq=False)
class Candidates:
    """What an inner solver found.

    Attributes
    ----------
    directions : list of (ndarray, float)
        Each d, of shape (P, 1), with ``<d, A d>``, which is nan where it is not known.
    n_products : int
        Products with A.
    negative : int
        Directions of negative curvature that were met.
    """

    directions: list[tuple[np.ndarray, float]]
    n_products: int
    negative: int


@stored("solver-state/hessian-free")
@dataclass(frozen=True, eq=False)
class HessianFreeState(PointState):
    """W and what the next step starts from.

    Attributes
    ----------
    damping : float
        lam.
    previous : ndarray of shape (P, 1) or None
        The last step, a d.
    iteration, failures : int
        Steps done, and how many of the last ones moved nowhere.
    exact : bool
        Whether the coming step uses the Hessian, or the Gauss-Newton matrix.
    """

    damping: float
    previous: np.ndarray | None
    iteration: int
    failures: int
    exact: bool


@dataclass(frozen=True)
class HessianFree(Solver[HessianFreeState]):
    """Inexact Newton for networks; the parameters of all its kinds.

    Attributes
    ----------
    starts_exact : bool
        Whether the first step uses the Hessian, or the Gauss-Newton matrix.

    Parameters
    ----------
    max_products : int
        Products with the curvature per step at most.
    damping : float
        lam at the start.
    damping_rule : {'nielsen', 'martens'}
        How lam follows rho.
    decay : float
        How much of the last step the inner solver starts from; 0 for none.
    curvature_fraction, curvature_rows : float, int
        The curvature is that of this fraction of every block's rows, drawn anew for each step, and of at least so many
        of them. The gradient and F are always those of all rows.
    max_candidates : int
        Directions that are compared at most, the last ones found.
    max_failures : int
        Steps without a decrease after which the run ends.
    seed : int
        Of the samples.
    line_search : LineSearch
    """

    max_products: int = 40
    damping: float = 1.0
    damping_rule: str = "nielsen"
    decay: float = 0.95
    curvature_fraction: float = 0.1
    curvature_rows: int = 256
    max_candidates: int = 8
    max_failures: int = 8
    seed: int = 0
    line_search: LineSearch = field(default=LineSearch(max_halvings=9))
    starts_exact: ClassVar[bool]

    def check(self, problem: Objective) -> None:
        """Refuse other models, penalties that are not smooth, losses that are not convex, and options out of range."""
        require_smooth(problem, self.name)
        require_convex_loss(require_network(problem, self.name), self.name)
        require_option(self, "max_products", self.max_products >= 1, "at least 1")
        require_damping(self)
        require_option(self, "decay", 0 <= self.decay <= 1, "in [0, 1]")
        require_option(self, "curvature_fraction", 0 <= self.curvature_fraction <= 1, "in [0, 1]")
        require_option(self, "curvature_rows", self.curvature_rows >= 1, "at least 1")
        require_option(self, "max_candidates", self.max_candidates >= 1, "at least 1")
        require_option(self, "max_failures", self.max_failures >= 1, "at least 1")

    def init(self, problem: NetworkObjective, start: np.ndarray) -> HessianFreeState:
        """Linearise at the start."""
        return HessianFreeState.at(
            problem,
            problem.at(start),
            damping=self.damping,
            previous=None,
            iteration=0,
            failures=0,
            exact=self.starts_exact,
        )

    def step(self, problem: NetworkObjective, state: HessianFreeState) -> tuple[HessianFreeState, Info]:
        """Find candidates, take the best, search along it, adapt the damping."""
        point, lam, g = state.point, state.damping, state.point.gradient
        model = problem.sampled_curvature(
            point, self.curvature_fraction, self.seed + state.iteration, self.curvature_rows
        )
        product = model.hess_mul if state.exact else model.gauss_newton_mul
        start = None if state.previous is None or self.decay == 0 else self.decay * state.previous
        found = self._solve(lambda v: product(v) + lam * v, -g, start)
        d, curvature = self._best(problem, point, found)
        more = bool(np.isnan(curvature))
        if more:
            curvature = float(np.vdot(d, product(d) + lam * d))
        new, size = self.line_search.search(problem, point, d)
        carried: dict[str, Any] = {
            "iteration": state.iteration + 1,
            "failures": 0 if new else state.failures + 1,
            "exact": self._exact(state.exact, found.negative > 0),
            "previous": size * d if new else None,
        }
        ratio = np.nan
        if new is not None:
            change = size * np.vdot(g, d) + 0.5 * size**2 * (curvature - lam * np.vdot(d, d))
            ratio = float((new.value - point.value) / change) if change < 0 else np.nan
        damping = next_damping(self.damping_rule, lam, ratio)
        status = Status.LINE_SEARCH_FAILED if carried["failures"] >= self.max_failures else Status.RUNNING
        note = ("" if new else "no step") or ("npc" if found.negative else "")
        info = Info(
            size,
            found.n_products + more,
            note,
            {"damping": lam, "ratio": ratio, "exact": float(state.exact), "negative": float(found.negative)},
        )
        return HessianFreeState.at(problem, new or point, status, damping=damping, **carried), info

    def _exact(self, exact: bool, negative: bool) -> bool:
        """Whether the coming step uses the Hessian, after one that did or not and met negative curvature or not."""
        return self.starts_exact

    def _best(self, problem: NetworkObjective, point: Point, found: Candidates) -> tuple[np.ndarray, float]:
        """Return the candidate that descends and has the smallest F, with its curvature; -g if there is none."""
        g = point.gradient
        descending = [(d, c) for d, c in found.directions if np.all(np.isfinite(d)) and np.vdot(g, d) < 0]
        descending = descending[-self.max_candidates :]
        if not descending:
            return -g, np.nan
        if len(descending) == 1:
            return descending[0]
        return descending[int(np.argmin(problem.values([point.W + d for d, _ in descending])))]

    @abstractmethod
    def _solve(self, matvec: Callable[[np.ndarray], np.ndarray], b: np.ndarray, start: np.ndarray | None) -> Candidates:
        """Solve ``A x = b`` inexactly."""
