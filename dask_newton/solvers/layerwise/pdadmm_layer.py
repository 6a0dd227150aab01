"""The sub-problems of pdADMM in one layer of some rows; :mod:`~dask_newton.solvers.layerwise.pdadmm` has the recursion.

With V = Q_{l-1} - U_{l-1} / rho of the layer before, and P' = P_{l+1} of the layer after:

    P <- argmin  (nu/2) norm(Z - b - P W)^2 + (rho/2) norm(P - V)^2
    Z <- argmin  norm(Z - M)^2 + norm(Q - f(Z))^2 + norm(Z - Z_k)^2,      M = P W + b
    Q <- (rho P' + U + nu f(Z)) / (rho + nu)
    U <- U + rho (P' - Q)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dask_newton.objectives.network.activations import Activation
from dask_newton.solvers.layerwise.hidden import hidden_margins
from dask_newton.solvers.layerwise.inputs import exact_inputs, gradient_inputs
from dask_newton.solvers.layerwise.moments import LayerSums

__all__ = ["Hidden", "Steps", "dual", "hidden_step", "layer_terms", "next_inputs", "outer"]

Array = Any


@dataclass(frozen=True)
class Steps:
    """How the sub-problems are solved.

    Attributes
    ----------
    nu, rho : float
    next_nu, next_rho : float
        Those of the next iteration, to which the next P belongs.
    first : float or None
        Where the doubling of the curvature of P's gradient step begins, if it is doubled.
    compare_all, accelerated : bool
        See :func:`~dask_newton.solvers.layerwise.hidden.hidden_margins` and
        :func:`~dask_newton.solvers.layerwise.outputs.proximal_margins`.
    """

    nu: float
    rho: float
    next_nu: float
    next_rho: float
    first: float | None = None
    compare_all: bool = True
    accelerated: bool = False


@dataclass(frozen=True, eq=False)
class Hidden:
    """The variables of a hidden layer, and its activations A = f(Z)."""

    Z: Array
    A: Array
    Q: Array
    U: Array


def next_inputs(
    P: Array, M: Array, V: Array, Z: Array, layer: tuple[Array, Array], B: Array | None, steps: Steps
) -> Array:
    """Return the next P: with the gain B the minimiser, without it a gradient step from P with margins M."""
    W, b = layer
    if B is not None:
        return exact_inputs(V, Z, W, b, B)
    return gradient_inputs(P, M, V, Z, W, steps.next_nu, steps.next_rho, steps.first)


def hidden_step(f: Activation, M: Array, P: Array, Z: Array, Q: Array, U: Array, steps: Steps) -> Hidden:
    """Return the next variables of a hidden layer, given its margins M and the inputs P of the layer after."""
    Z = hidden_margins(f, M, Q, Z, 1.0, compare_all=steps.compare_all)
    A = f.value(Z)
    Q = outer(P, U, A, steps.nu, steps.rho)
    return Hidden(Z, A, Q, dual(P, Q, U, steps.rho))


def outer(P: Array, U: Array, A: Array, nu: float, rho: float) -> Array:
    """Return Q, the minimiser of ``nu norm(Q - A)^2 / 2 + <U, P - Q> + rho norm(P - Q)^2 / 2``."""
    new = rho * P
    new += U
    new += nu * A
    new /= rho + nu
    return new


def dual(P: Array, Q: Array, U: Array, rho: float) -> Array:
    """Return ``U + rho (P - Q)``."""
    new = P - Q
    new *= rho
    new += U
    return new


def layer_terms(sums: LayerSums, tile: slice, M: Array, P: Array, before: Array, new: Hidden) -> list[Array]:
    """Return the terms of a hidden layer in the numbers of a pass.

    They are the squared norms of Z - M and Q - A, ``<U, P - Q>``, and the squared norms of P - Q, of the change of Q
    from ``before``, of P and of Q, where P are the inputs of the layer after.
    """
    gap = P - new.Q
    return [
        sums.square(new.Z - M, tile),
        sums.square(new.Q - new.A, tile),
        sums.square(new.U, tile, gap),
        sums.square(gap, tile),
        sums.square(new.Q - before, tile),
        sums.square(P, tile),
        sums.square(new.Q, tile),
    ]
