"""pdADMM: layers in parallel (Wang, Chai, Cheng, Zhao, ICDM 2020, with the corrections of the authors' later version).

    minimise  sum_j s_j l(y_j, z_j) + S R(W)
              + (nu/2) (sum_l norm(Z_l - P_l W_l - 1 b_l')^2 + sum_{l<L} norm(Q_l - f(Z_l))^2)
    with      P_{l+1} = Q_l,   P_1 = X,      z_j the rows of Z_L,   rows weighted by s,
    L_rho   = all that + sum_{l<L} <U_l, P_{l+1} - Q_l> + (rho/2) norm(P_{l+1} - Q_l)^2

Every step is one of all layers at the same time, as L_rho is a sum over layers in the variables of each:

    P_l <- argmin L_rho                                          (a gradient step of each row in 'gradient')
    W_l, b_l <- argmin L_rho + proximal term                     (a gradient step of each unit, then the best b_l)
    Z_l <- argmin L_rho + (nu/2) norm(Z_l - Z_l^k)^2,   Z_L <- argmin L_rho
    Q_l <- (rho P_{l+1} + U_l + nu f(Z_l)) / (rho + nu)
    U_l <- U_l + rho (P_{l+1} - Q_l)                             ( = nu (Q_l - f(Z_l)), so that at the start U_l = 0)

The papers' Q_l is this one with nu = rho, and their step for b_l that for a bias of each row. Weights come from the
moments of the rows, so that an iteration is one pass: W_l, b_l on the driver; Z, Q, U and the next P where rows are.

Deep networks learn faster where they grow: the first hidden layers and the output layer alone, then all, the new ones
as identities, which relu lets pass.

For rho > max(4 nu max(f')^2, 2.56 nu), L_rho decreases (Lemma 1 of the paper). In practice it does for rho = nu.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dask_newton.blocks import PerBlock
from dask_newton.objectives.base import Objective
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.solvers.base import Info, Status, require_network, require_option
from dask_newton.solvers.layerwise import pdadmm_passes as passes
from dask_newton.solvers.layerwise.base import Layerwise, LayerwiseState, flat, layer_penalties, stacked
from dask_newton.solvers.layerwise.inputs import gain
from dask_newton.solvers.layerwise.moments import sent
from dask_newton.solvers.layerwise.pdadmm_layer import Steps
from dask_newton.solvers.layerwise.pdadmm_passes import Split
from dask_newton.storage.registry import stored

__all__ = ["PDADMM", "PDADMMState", "summary"]


@stored("solver-state/pdadmm")
@dataclass(frozen=True, eq=False)
class PDADMMState(LayerwiseState):
    """The state between the sums over rows and the weights.

    Attributes
    ----------
    splits : PerBlock
        Of every block, the variables of its tiles: P of the coming iteration, and Z, Q and U.
    """

    splits: PerBlock[tuple[Split, ...]]


@stored("solver/pdadmm")
@dataclass(frozen=True)
class PDADMM(Layerwise[PDADMMState]):
    """pdADMM.

    Parameters
    ----------
    absolute_tol, relative_tol, lagrangian_tol : float
        The run ends when the primal residual is at most ``absolute_tol`` for each entry of Q plus ``relative_tol``
        times the size of P or Q, and the augmented Lagrangian changes by at most ``lagrangian_tol``, relatively.
    first_layers : int or None
        Hidden layers to begin with, below the output layer; the others, which must be relu and of the same width, are
        identities until then and join after ``grow_after`` iterations. None is all.
    grow_after : int
    """

    absolute_tol: float = 1e-6
    relative_tol: float = 1e-4
    lagrangian_tol: float = 1e-5
    first_layers: int | None = None
    grow_after: int = 50
    name = "pdadmm"
    summary = "ADMM with variables for every layer, all layers in parallel (Wang et al. 2020)"
    suited_to = "baseline for networks of many layers; one pass per iteration"
    reference_start = 10.0

    def check(self, problem: Objective) -> None:
        """Refuse other models, losses and penalties without a solver for their sub-problems, options out of range."""
        super().check(problem)
        layers, n = require_network(problem, self.name).layers, self.first_layers
        alike = n is None or (n >= 1 and len(set(layers.sizes[n:-1])) <= 1 and layers.activation.leak == 0)
        require_option(self, "first_layers", alike, "None, or at least 1 with relu and equal widths from there on")
        require_option(self, "grow_after", self.grow_after >= 1, "at least 1")

    def init(self, problem: NetworkObjective, start: np.ndarray) -> PDADMMState:
        """Pass forward, and move the inputs of layers."""
        nu, rho = self._scaled(problem)
        n_new = self._n_new(problem, 0)
        layers, parts = _without(problem.layers, n_new), stacked(problem.layers, start)
        for V in _new(parts, n_new):
            V[...] = np.eye(*V.shape)
        start = flat(problem.layers, parts) if n_new else start
        theta = flat(layers, _old(parts, n_new))
        splits, sums = problem.blocks.map_reduce(
            passes.start,
            problem.data,
            keep=1,
            layers=layers,
            theta=theta,
            gains=self._gains(layers, theta, nu, rho),
            steps=self._steps(nu, rho, nu, rho),
        )
        moments, squares, numbers = sent(sums, {})
        value, lagrangian, _ = summary(problem, start, numbers, nu, rho)
        status = Status.RUNNING if np.isfinite(value) else Status.NAN
        return PDADMMState(start, value, np.inf, status, 0, nu, rho, lagrangian, squares, moments, splits)

    def step(self, problem: NetworkObjective, state: PDADMMState) -> tuple[PDADMMState, Info]:
        """Update the weights from the moments, then everything else."""
        nu, rho, k = state.nu, state.rho, state.iteration + 1
        n_new = self._n_new(problem, state.iteration)
        layers, every = _without(problem.layers, n_new), stacked(problem.layers, state.W)
        old = zip(_old(every, n_new), _old(layer_penalties(problem), n_new), strict=True)
        parts = [self._weights(state.moments[i], V, nu, penalty) for i, (V, penalty) in enumerate(old)]
        theta, inner = flat(problem.layers, [*parts[:-1], *_new(every, n_new), parts[-1]]), flat(layers, parts)
        next_nu, next_rho = self._schedule(problem, k, nu, rho)
        evaluate = k % self.evaluate_every == 0
        splits, sums = problem.blocks.map_reduce(
            passes.sweep,
            problem.data,
            state.splits,
            keep=1,
            layers=layers,
            theta=inner,
            gains=self._gains(layers, inner, next_nu, next_rho),
            steps=self._steps(nu, rho, next_nu, next_rho),
            evaluate=evaluate,
        )
        moments, squares, numbers = sent(sums, state.squares)
        value, lagrangian, extra = summary(problem, theta, numbers, nu, rho)
        if n_new and k == self.grow_after:
            splits, sums = problem.blocks.map_reduce(
                passes.grow, problem.data, splits, keep=1, layers=problem.layers, n_new=n_new
            )
            moments, squares, _ = sent(sums, {0: squares[0]})
        status, change = Status.RUNNING, abs(lagrangian - state.lagrangian)
        still = not n_new and change <= self.lagrangian_tol * abs(lagrangian)
        if not np.isfinite(lagrangian):
            status = Status.NAN
        elif still and self._settled(problem, numbers):
            status = Status.SETTLED
        # It can only where rho is too small for the lemma, or where the arithmetic of the blocks is.
        rose = lagrangian - state.lagrangian > 1e-6 * abs(state.lagrangian)
        new = PDADMMState(
            theta,
            value if evaluate else np.nan,
            np.inf,
            status,
            k,
            next_nu,
            next_rho,
            lagrangian,
            {0: squares[0]},
            moments,
            splits,
        )
        return new, Info(note="Lagrangian rose" if rose else "", extra=extra)

    def _n_new(self, problem: NetworkObjective, iteration: int) -> int:
        """Return the number of layers that are yet to join after so many iterations."""
        if self.first_layers is None or iteration >= self.grow_after:
            return 0
        return max(0, problem.layers.n_layers - 1 - self.first_layers)

    def _gains(self, layers: Layers, theta: np.ndarray, nu: float, rho: float) -> tuple[np.ndarray, ...]:
        if self.steps != "fast" or not np.all(np.isfinite(theta)):
            return ()
        return tuple(gain(W, nu, rho) for W, _ in layers.of(theta)[1:])

    def _steps(self, nu: float, rho: float, next_nu: float, next_rho: float) -> Steps:
        return Steps(nu, rho, next_nu, next_rho, self._first, self.steps != "reference", self._accelerated)

    def _settled(self, problem: NetworkObjective, numbers: np.ndarray) -> bool:
        """Whether the primal residual is small."""
        entries = sum(problem.n_rows) * sum(problem.layers.sizes[1:-1])
        size = math.sqrt(max(numbers[_INPUTS], numbers[_OUTPUTS]))
        return math.sqrt(numbers[_PRIMAL]) <= self.absolute_tol * math.sqrt(entries) + self.relative_tol * size


T = TypeVar("T")


def _without(layers: Layers, n_new: int) -> Layers:
    """Return the network without the last hidden layers."""
    sizes = layers.sizes
    return Layers((*sizes[: len(sizes) - 1 - n_new], sizes[-1]), layers.activation) if n_new else layers


def _old(parts: list[T], n_new: int) -> list[T]:
    """Return what there is of each layer, without the last hidden ones."""
    return [*parts[: len(parts) - 1 - n_new], parts[-1]]


def _new(parts: list[T], n_new: int) -> list[T]:
    """Return what there is of each of the last hidden layers."""
    return parts[len(parts) - 1 - n_new : -1]


# Where the numbers are that a pass sends: the losses at Z_L and of the network, and sums of squares.
_LOSS, _COMPOSED, _FIT, _ACTIVATION, _PRODUCT, _PRIMAL, _MOVED, _INPUTS, _OUTPUTS = range(9)


def summary(
    problem: NetworkObjective, theta: np.ndarray, numbers: np.ndarray, nu: float, rho: float
) -> tuple[float, float, dict[str, float]]:
    """Return F, the augmented Lagrangian, and what the history shows."""
    penalty = problem.penalty.value(problem.penalised(theta))
    lagrangian = float(
        numbers[_LOSS]
        + problem.total_weight * penalty
        + nu / 2 * (numbers[_FIT] + numbers[_ACTIVATION])
        + numbers[_PRODUCT]
        + rho / 2 * numbers[_PRIMAL]
    )
    extra = {
        "lagrangian": lagrangian,
        "primal_residual": math.sqrt(numbers[_PRIMAL]),
        "dual_residual": rho * math.sqrt(numbers[_MOVED]),
    }
    return float(numbers[_COMPOSED]) / problem.total_weight + penalty, lagrangian, extra
