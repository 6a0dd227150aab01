"""What dlADMM and pdADMM share: parameters, the weights of the layers on the driver, refusals.

Their variables are the margins and activations of every row in every layer; the weights W_l, b_l are updated from
moments that are summed over the rows. The objective that the history shows is that of the network composed of them; for
it there is no certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np

from dask_newton.objectives.base import Objective
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.penalties import NormPenalty
from dask_newton.solvers.base import Solver, State, UnsupportedError, require_network, require_option
from dask_newton.solvers.layerwise.outputs import supports
from dask_newton.solvers.layerwise.weights import (
    LayerPenalty,
    Moments,
    exact_bias,
    gradient_weights,
    proximal_weights,
)

__all__ = ["Layerwise", "LayerwiseState", "flat", "layer_penalties", "stacked"]

_MAX_INPUTS = 8192  # of a layer: its moments have as many rows and columns


@dataclass(frozen=True, eq=False)
class LayerwiseState(State):
    """What both carry on the driver.

    Attributes
    ----------
    iteration : int
    nu, rho : float
        Of the coming iteration, for sums over rows.
    lagrangian : float
        The augmented Lagrangian, a sum over rows.
    squares : dict of ndarray
        Moments S of the inputs of layers that are known.
    moments : dict of Moments
        Of the layers whose weights are next.
    """

    iteration: int
    nu: float
    rho: float
    lagrangian: float
    squares: dict[int, np.ndarray]
    moments: dict[int, Moments]


LS = TypeVar("LS", bound=State)


@dataclass(frozen=True)
class Layerwise(Solver[LS], Generic[LS]):
    """Parameters that both have.

    Attributes
    ----------
    reference_start : float
        The curvature with which step sizes of the authors' code begin.

    Parameters
    ----------
    nu, rho : float
        Weights of the penalties that hold the layers, and of the constraint. They count against a sum of losses over
        the rows, as in the papers, see ``loss_scale``.
    steps : {'fast', 'gradient', 'reference'}
        'fast': inputs of layers are exact minimisers, weights are with a proximal term. 'gradient': steps along the
        gradient with closed-form exact line searches, for each row and for each unit. 'reference': the step rules of
        the authors' code, a baseline: step sizes halved from a fixed first one, hidden margins compared without
        their proximal term, FISTA for the outputs.
    kappa : float
        The proximal term of the weights, relative to the mean diagonal entry of their Hessian; for 'fast'.
    loss_scale : {'sum', 'mean'}
        'mean': nu and rho count against the mean loss.
    output_solver : {'exact', 'fista'}
        How margins of the outputs are found; 'fista' for losses with a bounded second derivative.
    schedule_factor, schedule_every, schedule_cap : float, int, float
        Multiply nu and rho by the factor every so many iterations, until nu reaches the cap.
    evaluate_every : int
        Evaluate F at the weights, a forward pass, in every so many iterations.
    """

    nu: float = 1e-4
    rho: float = 1e-4
    steps: str = "fast"
    kappa: float = 0.1
    loss_scale: str = "sum"
    output_solver: str = "exact"
    schedule_factor: float = 1.0
    schedule_every: int = 100
    schedule_cap: float = 0.1
    evaluate_every: int = 1
    reference_start: ClassVar[float]

    def check(self, problem: Objective) -> None:
        """Refuse other models, losses and penalties without a solver for their sub-problems, options out of range."""
        network = require_network(problem, self.name)
        if not supports(network.loss):
            raise UnsupportedError(
                f"solver {self.name!r} needs a loss that is convex in the margins and got {network.loss}; "
                "use solver='newton-cg'."
            )
        if network.nonsmooth is not None and not _separable(network):
            raise UnsupportedError(
                f"solver {self.name!r} is for l2 and l1 penalties and got {network.penalty}; use solver='gn-cg' "
                "with an l2 penalty."
            )
        widest = max(network.layers.sizes[:-1])
        if widest > _MAX_INPUTS:
            raise UnsupportedError(
                f"solver {self.name!r} would form matrices of {widest} rows, the inputs of a layer, more than "
                f"{_MAX_INPUTS}; use solver='gn-cg'."
            )
        for name in ("nu", "rho", "kappa", "schedule_factor", "schedule_cap"):
            require_option(self, name, 0 < getattr(self, name) < np.inf, "positive")
        for name in ("schedule_every", "evaluate_every"):
            require_option(self, name, getattr(self, name) >= 1, "at least 1")
        for name, values in _CHOICES.items():
            require_option(self, name, getattr(self, name) in values, "one of " + ", ".join(map(repr, values)))
        bounded = network.loss.curvature_bound is not None
        require_option(self, "output_solver", bounded or self.output_solver == "exact", f"'exact' for {network.loss}")

    def _scaled(self, problem: NetworkObjective) -> tuple[float, float]:
        """Return nu and rho for sums over rows."""
        scale = problem.total_weight if self.loss_scale == "mean" else 1.0
        return self.nu * scale, self.rho * scale

    def _schedule(self, problem: NetworkObjective, iteration: int, nu: float, rho: float) -> tuple[float, float]:
        """Return nu and rho after an iteration."""
        if self.schedule_factor == 1 or iteration % self.schedule_every:
            return nu, rho
        cap = self.schedule_cap * self._scaled(problem)[0] / self.nu
        factor = min(self.schedule_factor, max(1.0, cap / nu))
        return factor * nu, factor * rho

    def _weights(self, moments: Moments, V: np.ndarray, k: float, penalty: LayerPenalty) -> np.ndarray:
        """Return the new weights and biases of a layer; see :mod:`dask_newton.solvers.layerwise.weights`."""
        if self.steps == "fast":
            return proximal_weights(moments, V, k, self.kappa, penalty)
        return exact_bias(moments, gradient_weights(moments, V, k, penalty, self._first), k, penalty)

    @property
    def _first(self) -> float | None:
        """Where curvatures begin that are doubled until they are large enough."""
        return self.reference_start if self.steps == "reference" else None

    @property
    def _accelerated(self) -> bool:
        """Whether margins of the outputs are found by FISTA."""
        return self.output_solver == "fista" or self.steps == "reference"


_CHOICES = {
    "steps": ("fast", "gradient", "reference"),
    "loss_scale": ("sum", "mean"),
    "output_solver": ("exact", "fista"),
}


def _separable(problem: NetworkObjective) -> bool:
    """Whether the non-smooth part of R is a sum over entries."""
    return isinstance(problem.nonsmooth, NormPenalty) and problem.norms().labels is None


def stacked(layers: Layers, theta: np.ndarray) -> list[np.ndarray]:
    """Return ``[W_l; b_l']`` of every layer, copies."""
    return [np.vstack([W, b[None]]) for W, b in layers.of(theta)]


def flat(layers: Layers, parts: list[np.ndarray]) -> np.ndarray:
    """Return the vector of parameters of ``[W_l; b_l']`` of every layer."""
    theta = np.empty((layers.n_parameters, 1))
    for (W, b), V in zip(layers.of(theta), parts, strict=True):
        W[...], b[...] = V[:-1], V[-1]
    return theta


def layer_penalties(problem: NetworkObjective) -> list[LayerPenalty]:
    """Return R of every layer, for sums over rows."""
    ridge, lasso = problem.ridge(), np.zeros(problem.shape)
    if problem.nonsmooth is not None:
        lasso[:, 0] = problem.norms().strength
    both = (stacked(problem.layers, problem.total_weight * part) for part in (ridge, lasso))
    return [LayerPenalty(*map(_narrow, pair)) for pair in zip(*both, strict=True)]


def _narrow(strengths: np.ndarray) -> np.ndarray:
    """Return one column where all are the same."""
    return strengths if (strengths != strengths[:, :1]).any() else strengths[:, :1].copy()
