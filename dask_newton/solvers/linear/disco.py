"""DiSCO: distributed self-concordant optimisation (Zhang and Xiao, ICML 2015, arXiv 1501.00263).

    g = grad F(W)                                   (one pass)
    H v = g  by conjugate gradients on the driver   (one pass per product), preconditioned with
    M = H_1 + mu I                                  (H_1: Hessian of the mean objective of one block; no pass)
    delta = sqrt(<v, H v>)
    W -= v / (1 + delta)

In the paper the leading machine holds the block of H_1. Here its rows are sent to the driver once, so M is available at
every W. An iteration of k products has 2 + 2 k rounds. Damped Newton steps need no line search; that 1 / (1 + delta) is
the right length supposes a self-concordant F, which the mean of the losses is nearly, and their sum is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dask_newton.inner import CG, preconditioners
from dask_newton.inner.preconditioners import Factor
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError, require_linear, require_smooth
from dask_newton.solvers.work import Work
from dask_newton.storage.registry import stored

__all__ = ["DiSCO", "DiSCOState"]

_PRECONDITIONERS = ("none", "first-block")
_DRIVER_ENTRIES = 2**25  # of X, in the rows that come to the driver


@stored("solver-state/disco")
@dataclass(frozen=True, eq=False)
class DiSCOState(PointState):
    """W and the block that preconditions.

    Attributes
    ----------
    first : LinearObjective or None
        The mean objective of that block, in this process.
    """

    first: LinearObjective | None


@stored("solver/disco")
@dataclass(frozen=True)
class DiSCO(Solver[DiSCOState]):
    """Damped Newton steps by distributed conjugate gradients, preconditioned with the Hessian of one block.

    Parameters
    ----------
    rtol : float
        Relative residual at which conjugate gradients stop.
    max_cg : int
        Maximum number of products with the Hessian per step.
    preconditioner : {'first-block', 'none'}
        'first-block' is M above, of the block with the largest weight, the first of them if there are several. Of a
        block with more than 2^25 entries a sample of the rows is taken.
    mu : float or None
        Added to the diagonal of M: about how much the Hessian of the block differs from that of all rows. By default
        a hundredth of the mean of the diagonal of H_1.
    max_dim : int
        Largest number of coefficients for which M is factored. Above it, CG on the driver solves with M.
    """

    rtol: float = 1e-4
    max_cg: int = 200
    preconditioner: str = "first-block"
    mu: float | None = None
    max_dim: int = 2000
    name = "disco"
    summary = "damped Newton steps by conjugate gradients, preconditioned with one block (Zhang and Xiao 2015)"
    suited_to = "many features, if one block represents the whole data"
    patience = 8

    def check(self, problem: LinearObjective) -> None:
        """Refuse other models, losses that are not convex, penalties that are not smooth, and unknown options."""
        require_linear(problem, self.name)
        require_smooth(problem, self.name)
        if not problem.loss.convex:
            raise UnsupportedError(
                f"solver 'disco' needs a convex loss and got {problem.loss}; use solver='newton-cg'."
            )
        if self.preconditioner not in _PRECONDITIONERS:
            raise UnsupportedError(
                f"preconditioner={self.preconditioner!r} is not known to solver 'disco'; "
                f"choose one of {_PRECONDITIONERS}."
            )

    def work(self, problem: LinearObjective) -> Work | None:
        """Assume that the preconditioner saves half of the conjugate gradient iterations of damped steps."""
        iterations, products = 8.0, 50.0
        passes, local, driver = 1 + iterations + products, 0.0, iterations * problem.size**3 / 3
        if problem.size > self.max_dim:  # the preconditioner takes conjugate gradients on one block
            local, driver = 200 * products / problem.blocks.n_blocks, 0.0
        return Work(iterations, passes, passes + local, passes * problem.size, passes * problem.size, driver=driver)

    def init(self, problem: LinearObjective, start: np.ndarray) -> DiSCOState:
        """Linearise at the start, and bring the rows of the preconditioner to the driver."""
        first = None
        if self.preconditioner == "first-block":
            heaviest = int(np.argmax(problem.weights))
            entries = problem.n_stored * problem.weights[heaviest] / problem.total_weight
            first = problem.sample_here(min(1.0, _DRIVER_ENTRIES / max(entries, 1.0)), 0, only=(heaviest,))
        return DiSCOState.at(problem, problem.at(start), first=first)

    def step(self, problem: LinearObjective, state: DiSCOState) -> tuple[DiSCOState, Info]:
        """Solve for the Newton direction and take a damped step."""
        point = state.point
        found = CG(self.rtol, self.max_cg).solve(
            lambda V: problem.hess_mul(point, V), point.gradient, self._preconditioner(problem, state)
        )
        # The residual of CG is orthogonal to its iterate, so that <v, H v> = <v, g> and takes no further product.
        delta = math.sqrt(max(0.0, float(np.vdot(found.x, point.gradient))))
        note, size = found.status if found.status in ("npc", "nan") else "", 1 / (1 + delta)
        info = Info(size, found.n_iter, note, {"decrement": delta})
        if found.status == "nan":
            return DiSCOState.at(problem, point, Status.NAN, first=state.first), info
        new = DiSCOState.at(problem, problem.at(point.W - size * found.x), first=state.first)
        if new.status is Status.NAN:
            return DiSCOState.at(problem, point, Status.NAN, first=state.first), info
        return new, info

    def _preconditioner(self, problem: LinearObjective, state: DiSCOState) -> preconditioners.Map | None:
        first, W = state.first, state.W
        if first is None:
            return None
        explicit = problem.size <= self.max_dim
        point = first.at(W, hessian=explicit)
        diagonal = first.hess_diag(point)
        mu = 1e-2 * float(diagonal.mean()) if self.mu is None else self.mu
        if explicit:
            assert point.hessian is not None
            return preconditioners.joint(Factor.of(point.hessian, mu))
        inner, scaled = CG(1e-8, 1000), preconditioners.jacobi(diagonal + mu)
        return lambda r: inner.solve(lambda V: first.hess_mul(point, V) + mu * V, r, scaled).x
