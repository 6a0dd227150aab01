"""Newton-ADMM: consensus ADMM with inexact Newton steps on the blocks (Fang et al., SC 2020).

    minimise  sum_i phi_i(x_i) + R(z)   subject to x_i = z,        phi_i(x) = (1/S) sum_{j in block i} s_j l_j(x)

    x_i <- argmin phi_i(x) + (rho_i / 2) norm(z - x + y_i / rho_i)^2      (a Newton step, on the block)
    xr_i = a x_i + (1 - a) z                                              (over-relaxation)
    z   <- prox_R( sum_i (rho_i xr_i - y_i) / sum_i rho_i,  1 / sum_i rho_i )        (on the driver)
    y_i <- y_i + rho_i (z - xr_i)                                         (on the block, when it receives z)

One pass per iteration: z goes down, sum_i (rho_i xr_i - y_i) and a few numbers come up; x_i and y_i never leave the
block. A block finishes iteration k when it receives the z of iteration k, so residuals and objective are known one step
late, and W is the last z whose objective is known.

ADMM is quick to a few digits and slow beyond. With ``polish``, Newton-CG takes over from z once primal and dual
residual (Boyd et al. 2011, section 3.3.1) are small; for l1 and group penalties proximal Newton does, or, with too many
features for its matrices, Newton-CG on the support. Other penalties are left to ADMM.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dask_newton.blocks import PerBlock
from dask_newton.inner import CG, MINRES, LocalNewton
from dask_newton.objectives.linear.local import LocalLinear
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.local import LocalObjective
from dask_newton.penalties import NormPenalty
from dask_newton.solvers.admm.iteration import BlockState, PenaltyRule, Summary, XUpdate, update_block
from dask_newton.solvers.admm.matrix import Hessian
from dask_newton.solvers.admm.scalar import Balanced, Fixed
from dask_newton.solvers.admm.spectral import Spectral
from dask_newton.solvers.base import Info, Solver, State, Status, UnsupportedError, require_linear
from dask_newton.solvers.general.newton_cg import NewtonCG
from dask_newton.solvers.linear.prox_newton import ProxNewton
from dask_newton.solvers.linear.support_newton import SupportNewton
from dask_newton.solvers.work import Work
from dask_newton.storage.registry import stored

__all__ = ["NewtonADMM", "NewtonADMMState"]

_LOCAL_SOLVERS = {"newton-cg": CG, "newton-mr": MINRES}
# What the option ``penalty`` names, made of the other options.
_RULES: dict[str, Callable[[NewtonADMM], PenaltyRule[Any]]] = {
    "spectral": lambda o: Spectral(o.rho, o.curvature_floor, o.spectral_every, o.correlation),
    "residual_balancing": lambda o: Balanced(o.rho, o.curvature_floor),
    "fixed": lambda o: Fixed(o.rho, o.curvature_floor),
    "hessian": lambda o: Hessian(o.rho, o.sparse_polish.max_features),
}


@stored("solver-state/newton-admm")
@dataclass(frozen=True, eq=False)
class NewtonADMMState(State):
    """Consensus, and the sums that the next z-update needs.

    Attributes
    ----------
    z : ndarray, shape (q, K)
        Newest consensus.
    iteration : int
        ADMM iterations done.
    blocks : PerBlock of BlockState
        x_i, y_i and rho_i.
    first_primal : float
        r of the first iteration, against divergence.
    scaling : float
        Factor by which every rho_i is multiplied next (residual balancing).
    failures : int
        Iterations in a row in which every block failed, or some block met NaN; either ends the run at the third.
    matrix : ndarray of shape (K, q, q), or None
        The sum of matrix-valued rho_i.
    polish : State or None
        State of the method that took over.
    """

    z: np.ndarray
    iteration: int
    blocks: PerBlock[BlockState]
    first_primal: float = math.inf
    scaling: float = 1.0
    failures: int = 0
    matrix: np.ndarray | None = None
    polish: State | None = None


@stored("solver/newton-admm")
@dataclass(frozen=True)
class NewtonADMM(Solver[NewtonADMMState]):
    """Consensus ADMM with Newton steps.

    Parameters
    ----------
    penalty : {'spectral', 'residual_balancing', 'fixed', 'hessian'}
        How rho_i changes: by spectral estimates of the curvature of each block (Xu et al. 2017), by balancing
        normalised primal and dual residuals (Wohlberg 2017), or not at all. With 'hessian' it is a matrix, the Hessian
        of the block for each output, see :mod:`dask_newton.solvers.admm.matrix`: for blocks that have little in
        common, such as rows sorted by label.
    rho : float
        First rho_i, for the objective as a sum over samples (it is divided by S here). With 'hessian', what the Hessian
        is multiplied with.
    relaxation : float
        a, in [1, 1.8]; 1.6 often saves iterations.
    local_solver : {'newton-cg', 'newton-mr'}
        How blocks find Newton directions: by conjugate gradients, or by MINRES, which is for losses that are not
        convex (with rho_i large enough every local problem is).
    newton_steps, cg_max_iter, cg_rtol
        Work of a block per iteration: Newton steps, iterations of CG or MINRES, and where these stop. More is rarely
        worth it.
    spectral_every, correlation : int, float
        Iterations between spectral estimates, and the correlation below which one is not trusted.
    eps_rel : float
        Relative primal and dual residual at which ADMM has done its part.
    curvature_floor : float
        rho_i is kept above so many times the most negative curvature that its block has met.
    certify_every : int
        Iterations between evaluations of the gradient at z, which ride on the pass.
    polish : bool
        Whether to hand over at ``eps_rel``, or after ``polish_after`` iterations; else ADMM goes on alone.
    polish_after : int
    smooth_polish, sparse_polish : NewtonCG, ProxNewton
        To whom.
    """

    penalty: str = "spectral"
    rho: float = 1.0
    relaxation: float = 1.0
    local_solver: str = "newton-cg"
    newton_steps: int = 1
    cg_max_iter: int = 10
    cg_rtol: float = 1e-4
    spectral_every: int = 1
    correlation: float = 0.2
    eps_rel: float = 1e-4
    curvature_floor: float = 2.0
    certify_every: int = 10
    polish: bool = True
    polish_after: int = 60
    smooth_polish: NewtonCG = field(default=NewtonCG())
    sparse_polish: ProxNewton = field(default=ProxNewton())
    name = "newton-admm"
    summary = "consensus ADMM with Newton steps on the blocks (Fang et al. 2020), finished by Newton-CG"
    suited_to = "penalties that are not differentiable, with any number of features; or a few digits in few rounds"
    penalties = "none, l2, l1, elastic net, group lasso, and any other with a proximal operator"

    def check(self, problem: LinearObjective) -> None:
        """Refuse options out of range; every penalty will do."""
        require_linear(problem, self.name)
        self._check_options()
        self.rule.check(problem)

    def _check_options(self) -> None:
        """Refuse options out of range."""
        if self.penalty not in _RULES:
            raise UnsupportedError(
                f"penalty={self.penalty!r} is not known to solver 'newton-admm'; choose one of {tuple(_RULES)}."
            )
        if self.local_solver not in _LOCAL_SOLVERS:
            raise UnsupportedError(
                f"local_solver={self.local_solver!r} is not known to solver 'newton-admm'; choose one of "
                f"{tuple(_LOCAL_SOLVERS)}."
            )
        if not (self.rho > 0 and math.isfinite(self.rho)):
            raise UnsupportedError(f"rho={self.rho} must be a positive number.")
        if not 1 <= self.relaxation <= 1.8:
            raise UnsupportedError(f"relaxation={self.relaxation} must lie in [1, 1.8].")
        if not self.curvature_floor >= 0:
            raise UnsupportedError(f"curvature_floor={self.curvature_floor} must not be negative.")

    def work(self, problem: LinearObjective) -> Work | None:
        """Assume that ADMM has done its part after ``polish_after`` iterations, and count those of what finishes."""
        if not problem.loss.convex:
            return None
        if not isinstance(problem.nonsmooth, NormPenalty | None):
            iterations, rest = 300.0, 0.0
        else:
            iterations, rest = self.polish_after, 15.0
        passes, grams, driver = 1 + iterations + rest, 0.0, 0.0
        if isinstance(problem.nonsmooth, NormPenalty) and problem.shape[0] <= self.sparse_polish.max_features:
            finish = self.sparse_polish.work(problem)
            grams, driver = finish.grams / 2, finish.driver / 2
        return Work(
            iterations + 3,
            passes,
            iterations * (1 + self.newton_steps * self.cg_max_iter) + rest,
            passes * problem.size,
            passes * problem.size,
            grams=grams,
            driver=driver,
        )

    def init(self, problem: LinearObjective, start: np.ndarray) -> NewtonADMMState:
        """Set x_i = z = start and y_i = 0, and evaluate the start."""
        point = problem.at(start)
        residual = problem.residual(start, point.gradient)
        status = Status.RUNNING if math.isfinite(point.value) and math.isfinite(residual) else Status.NAN
        blocks = problem.blocks.place(self.rule.start(start, self._weights(problem), problem.total_weight))
        return NewtonADMMState(start, point.value, residual, status, start, 0, blocks)

    def _weights(self, problem: LinearObjective) -> Sequence[float]:
        """Return what rho is multiplied with for each block; it is for the sum over all samples here."""
        return [1.0] * problem.blocks.n_blocks

    def _local(self, problem: LinearObjective) -> Callable[[Any], LocalObjective]:
        """Return the function that makes phi_i from the rows of a block."""
        return functools.partial(LocalLinear.of_rows, fit_intercept=problem.fit_intercept, scale=problem.total_weight)

    def step(self, problem: LinearObjective, state: NewtonADMMState) -> tuple[NewtonADMMState, Info]:
        """Do one ADMM iteration, or one of the polishing method."""
        if state.polish is not None:
            return self._polish(problem, state)
        k = state.iteration + 1
        certify = k > 1 and (k - 1) % self.certify_every == 0
        rule = self.rule
        blocks, total = problem.blocks.map_reduce(
            update_block,
            problem.data,
            state.blocks,
            keep=1,
            z=state.z,
            k=k,
            scaling=state.scaling,
            certify=certify,
            rule=rule,
            x_update=XUpdate(self.local_newton, self.relaxation),
            make_local=self._local(problem),
        )
        summary = Summary.of(total)
        z, matrix = rule.consensus(problem, summary, state.z, state.matrix)
        m = problem.blocks.n_blocks
        state = self._judge(problem, state, summary, z, certify)
        primal, dual = math.sqrt(summary.primal_squared), math.sqrt(summary.dual_squared)
        scale_x = max(math.sqrt(summary.x_squared), math.sqrt(m) * float(np.linalg.norm(state.z)))
        scale_y = math.sqrt(summary.y_squared)
        known = k > 1
        small = known and primal <= self.eps_rel * scale_x and dual <= self.eps_rel * scale_y
        scaling = rule.scaling(primal / max(scale_x, 1e-300), dual / max(scale_y, 1e-300)) if known else 1.0
        info = Info(
            inner_iterations=summary.n_products / m,
            note=f"{summary.n_failed:.0f} of {m} blocks kept their x" if summary.n_failed else "",
            extra={
                "primal_residual": primal if known else math.nan,
                "dual_residual": dual if known else math.nan,
                "rho": summary.rho / m,
            },
        )
        first = primal if k == 2 else state.first_primal
        state = replace(state, z=z, iteration=k, blocks=blocks, first_primal=first, scaling=scaling, matrix=matrix)
        can_polish = self.polish and isinstance(problem.nonsmooth, NormPenalty | None)
        if state.status is Status.RUNNING and can_polish and (small or k >= self.polish_after):
            state = self._hand_over(problem, state)
        return state, info

    def _judge(
        self, problem: LinearObjective, state: NewtonADMMState, summary: Summary, z: np.ndarray, certify: bool
    ) -> NewtonADMMState:
        """Put what the blocks said of the z they received into the state."""
        residual, status = math.inf, Status.RUNNING
        value = summary.loss / problem.total_weight + problem.penalty.value(problem.penalised(state.z))
        if certify:
            assert summary.gradient is not None
            gradient = summary.gradient / problem.total_weight
            problem.penalised(gradient)[...] += problem.smooth.grad(problem.penalised(state.z))
            residual = problem.residual(state.z, gradient)
        # With one block and no penalty z is x, and all residuals are rounding.
        noise = 1e-8 * math.sqrt(summary.x_squared)
        failures = state.failures + 1 if summary.n_nan or summary.n_failed == problem.blocks.n_blocks else 0
        if not (np.all(np.isfinite(z)) and math.isfinite(value)) or (failures >= 3 and summary.n_nan):
            status = Status.NAN
        elif failures >= 3 or math.sqrt(summary.primal_squared) > 1e6 * max(state.first_primal, noise):
            status = Status.DIVERGED
        return replace(state, W=state.z, value=value, residual=residual, status=status, failures=failures)

    def _hand_over(self, problem: LinearObjective, state: NewtonADMMState) -> NewtonADMMState:
        polish = self._finish(problem).init(problem, state.z)
        return replace(
            state, W=polish.W, value=polish.value, residual=polish.residual, status=polish.status, polish=polish
        )

    def _polish(self, problem: LinearObjective, state: NewtonADMMState) -> tuple[NewtonADMMState, Info]:
        polish, info = self._finish(problem).step(problem, state.polish)
        state = replace(
            state, W=polish.W, value=polish.value, residual=polish.residual, status=polish.status, polish=polish
        )
        return state, replace(info, note=f"polish {info.note}".strip())

    def _finish(self, problem: LinearObjective) -> Any:
        if problem.nonsmooth is None:
            return self.smooth_polish
        return self.sparse_polish if problem.shape[0] <= self.sparse_polish.max_features else SupportNewton()

    @property
    def rule(self) -> PenaltyRule[Any]:
        """The rule that ``penalty`` names, with its options."""
        return _RULES[self.penalty](self)

    @property
    def local_newton(self) -> LocalNewton:
        """The method that the blocks run."""
        return LocalNewton(self.newton_steps, _LOCAL_SOLVERS[self.local_solver](self.cg_rtol, self.cg_max_iter))
