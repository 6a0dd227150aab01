"""dlADMM: layers one after the other, backward and forward (Wang, Yu, Chen, Zhao, KDD 2019).

    minimise  sum_j s_j l(y_j, z_j) + S R(W) + (nu/2) sum_{l<L} (norm(Z_l - M_l)^2 + norm(A_l - f(Z_l))^2)
    with      Z_L = M_L,   M_l = A_{l-1} W_l + 1 b_l',   A_0 = X,   z_j the rows of Z_L,   rows weighted by s,
    L_rho   = all that + <U, Z_L - M_L> + (rho/2) norm(Z_L - M_L)^2

    Z_L;  b_L;  W_L;     for l = L-1, ..., 1:  A_l;  Z_l;  b_l;  W_l
                         for l = 1, ..., L-1:  W_l;  b_l;  Z_l;  A_l;     W_L;  b_L;  Z_L
    U <- U + rho (Z_L - M_L)                                  ( = -grad_Z sum_j s_j l(y_j, z_j), by the last Z_L)

Each variable goes to the minimiser of L_rho, for weights with a proximal term ('fast'), or makes a gradient step of
exact length. Weights come from moments of the rows, on the driver, so that an iteration is 2 L - 1 passes: one for each
hidden layer on the way back and on the way forth, and one for the output layer, which ends an iteration and begins the
next.
The papers' step for b_l is that for a bias of each row; here it is the best bias for all.

For rho > 2 max(l''), L_rho decreases (Property 2 of the paper), from the start if U begins as that gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.blocks import PerBlock
from dask_newton.objectives.base import Objective
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.solvers.base import Info, Status, require_option
from dask_newton.solvers.layerwise import dladmm_passes as passes
from dask_newton.solvers.layerwise.base import Layerwise, LayerwiseState, flat, layer_penalties, stacked
from dask_newton.solvers.layerwise.dladmm_passes import Fit
from dask_newton.solvers.layerwise.inputs import gain
from dask_newton.solvers.layerwise.moments import sent
from dask_newton.solvers.layerwise.weights import LayerPenalty, Moments, exact_bias, gradient_weights
from dask_newton.storage.registry import stored

__all__ = ["DLADMM", "DLADMMState"]


@stored("solver-state/dladmm")
@dataclass(frozen=True, eq=False)
class DLADMMState(LayerwiseState):
    """The state after the first Z_L of the coming iteration.

    Attributes
    ----------
    columns : tuple of PerBlock
        Of every layer, the variables of the tiles of each block: activations and margins, in the last margins and dual.
    """

    columns: tuple[PerBlock[Any], ...]


@stored("solver/dladmm")
@dataclass(frozen=True)
class DLADMM(Layerwise[DLADMMState]):
    """dlADMM.

    Parameters
    ----------
    dual_init : {'zero', 'gradient'}
        U at the start: nothing, or minus the gradient of the losses, with which the theory holds from the first
        iteration. Where rho is small, the latter makes the first margins go far.
    """

    dual_init: str = "zero"
    name = "dladmm"
    summary = "ADMM with variables for every layer, swept backward and forward (Wang et al. 2019)"
    suited_to = "baseline; 2 L - 1 passes per iteration for L layers"
    reference_start = 1.0

    def check(self, problem: Objective) -> None:
        """Refuse other models, losses and penalties without a solver for their sub-problems, options out of range."""
        super().check(problem)
        require_option(self, "dual_init", self.dual_init in ("zero", "gradient"), "'zero' or 'gradient'")

    def init(self, problem: NetworkObjective, start: np.ndarray) -> DLADMMState:
        """Pass forward, and find the first margins of the outputs."""
        nu, rho = self._scaled(problem)
        *columns, sums = problem.blocks.map_reduce(
            passes.start,
            problem.data,
            keep=problem.layers.n_layers,
            layers=problem.layers,
            theta=start,
            rho=rho,
            gradient_dual=self.dual_init == "gradient",
            accelerated=self._accelerated,
        )
        moments, squares, numbers = sent(sums, {})
        value, lagrangian, _ = _summary(problem, start, numbers, np.zeros(2), nu, rho)
        status = Status.RUNNING if np.isfinite(value) else Status.NAN
        return DLADMMState(start, value, np.inf, status, 0, nu, rho, lagrangian, squares, moments, tuple(columns))

    def step(self, problem: NetworkObjective, state: DLADMMState) -> tuple[DLADMMState, Info]:
        """Sweep backward and forward."""
        nu, rho, k = state.nu, state.rho, state.iteration + 1
        parts, columns, squares = stacked(problem.layers, state.W), list(state.columns), dict(state.squares)
        penalties, last, fits = layer_penalties(problem), problem.layers.n_layers - 1, np.zeros(2)

        def weights(i: int, C: np.ndarray, *, backward: bool) -> None:
            parts[i] = self._layer(Moments(squares[i], C), parts[i], rho if i == last else nu, penalties[i], backward)

        def sweep(fn: Any, i: int) -> tuple[dict[int, Moments], np.ndarray]:
            """Run a pass over a hidden layer."""
            weight = rho if i + 1 == last else nu
            B = gain(parts[i + 1][:-1], weight, nu) if self.steps == "fast" else None
            columns[i], sums = problem.blocks.map_reduce(
                fn,
                problem.data,
                columns[i],
                columns[i + 1],
                *columns[max(i - 1, 0) : i],
                keep=1,
                layers=problem.layers,
                fit=Fit(i, parts[i], parts[i + 1], B, nu, rho, weight, self._first),
            )
            moments, known, numbers = sent(sums, squares)
            squares.update(known)
            return moments, numbers

        C = state.moments[last].C
        weights(last, C, backward=True)
        for i in reversed(range(last)):
            C = sweep(passes.backward, i)[0][i].C
            weights(i, C, backward=True)
        weights(0, C, backward=False)
        for i in range(last):
            moments, numbers = sweep(passes.forward, i)
            weights(i + 1, moments[i + 1].C, backward=False)
            fits += numbers
        theta, evaluate = flat(problem.layers, parts), k % self.evaluate_every == 0
        next_nu, next_rho = self._schedule(problem, k, nu, rho)
        columns[last], sums = problem.blocks.map_reduce(
            passes.turn,
            problem.data,
            columns[last],
            *columns[max(last - 1, 0) : last],
            keep=1,
            layers=problem.layers,
            V=parts[last],
            theta=theta if evaluate else None,
            rho=rho,
            next_rho=next_rho,
            accelerated=self._accelerated,
        )
        moments, _, numbers = sent(sums, squares)
        value, lagrangian, extra = _summary(problem, theta, numbers, fits, nu, rho)
        status = Status.RUNNING if np.isfinite(lagrangian) else Status.NAN
        new = DLADMMState(
            theta,
            value if evaluate else np.nan,
            np.inf,
            status,
            k,
            next_nu,
            next_rho,
            lagrangian,
            squares,
            moments,
            tuple(columns),
        )
        return new, Info(extra=extra)

    def _layer(self, moments: Moments, V: np.ndarray, k: float, penalty: LayerPenalty, backward: bool) -> np.ndarray:
        """Return new weights and biases; on the way back biases are the first."""
        if self.steps == "fast" or not backward:
            return self._weights(moments, V, k, penalty)
        return gradient_weights(moments, exact_bias(moments, V, k, penalty), k, penalty, self._first)


def _summary(
    problem: NetworkObjective, theta: np.ndarray, numbers: np.ndarray, fits: np.ndarray, nu: float, rho: float
) -> tuple[float, float, dict[str, float]]:
    """Return F, the augmented Lagrangian, and what the history shows."""
    loss, product, gap, composed = map(float, numbers)
    penalty = problem.penalty.value(problem.penalised(theta))
    lagrangian = loss + problem.total_weight * penalty + nu / 2 * float(fits.sum()) + product + rho / 2 * gap
    extra = {"lagrangian": lagrangian, "primal_residual": math.sqrt(gap)}
    return composed / problem.total_weight + penalty, lagrangian, extra
