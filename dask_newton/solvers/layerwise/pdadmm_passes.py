"""What a block does in an iteration of pdADMM; the recursion is in :mod:`dask_newton.solvers.layerwise.pdadmm`.

An iteration is one pass: with the new weights, z, q and u of this iteration, then p and the moments of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import row_slice
from dask_newton.blocks import named
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.solvers.layerwise.hidden import hidden_margins
from dask_newton.solvers.layerwise.inputs import exact_inputs, gradient_inputs
from dask_newton.solvers.layerwise.margins import composed_margins, loss_at, output_margins
from dask_newton.solvers.layerwise.moments import LayerSums, over_tiles
from dask_newton.solvers.layerwise.outputs import initial_margins

__all__ = ["Split", "Steps", "dual", "grow", "outer", "start", "sweep"]

Array = Any
Model = list[tuple[Array, Array]]


@dataclass(frozen=True)
class Steps:
    """How the sub-problems are solved.

    Attributes
    ----------
    nu, rho : float
    next_nu, next_rho : float
        Those of the next iteration, to which p belongs.
    first : float or None
        Where the doubling of the curvature of p's gradient step begins, if it is doubled.
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
class Split:
    """The variables of a tile of rows.

    Attributes
    ----------
    P : tuple of Array
        Inputs of layers 2 to L.
    Z : tuple of Array
        Margins of layers 1 to L.
    Q, U : tuple of Array
        Outputs of layers 1 to L - 1, and the duals of P = Q.
    """

    P: tuple[Array, ...]
    Z: tuple[Array, ...]
    Q: tuple[Array, ...]
    U: tuple[Array, ...]


@named("pdadmm-start")
def start(rows: RowBlock, *, layers: Layers, theta: np.ndarray, gains: Any, steps: Steps) -> Any:
    """Keep a forward pass, with the first p; send moments and numbers."""
    model = layers.of(rows.cast(theta))

    def tile_of(i: int, tile: slice, sums: LayerSums) -> Split:
        A, P, M, Q = row_slice(rows.X, tile), [], [], []
        for W, b in model[:-1]:
            M.append(A @ W + b)
            A = layers.activation.value(M[-1])
            P.append(A)
            Q.append(A)
        W, b = model[-1]
        M.append(A @ W + b)
        Z = [*M[:-1], initial_margins(rows.loss, rows.y[tile, ...], M[-1], steps.nu)]
        split = Split(tuple(P), tuple(Z), tuple(Q), tuple(0 * q for q in Q))
        _count(rows, tile, sums, split, M, split.Q, split.Q, M[-1])
        return _forward(rows, tile, sums, split, M, model, gains, steps, square_first=True)

    return over_tiles(rows, layers, tile_of)


@named("pdadmm-sweep")
def sweep(
    rows: RowBlock,
    splits: tuple[Split, ...],
    *,
    layers: Layers,
    theta: np.ndarray,
    gains: Any,
    steps: Steps,
    evaluate: bool,
) -> Any:
    """Keep the variables after an iteration, with the next p; send moments and numbers."""
    model, f, nu, rho = layers.of(rows.cast(theta)), layers.activation, steps.nu, steps.rho

    def tile_of(i: int, tile: slice, sums: LayerSums) -> Split:
        old, Z, Q, U, outputs = splits[i], [], [], [], []
        inputs = (row_slice(rows.X, tile), *old.P)
        M = [P @ W + b for P, (W, b) in zip(inputs, model, strict=True)]
        for j, (P, q, u) in enumerate(zip(old.P, old.Q, old.U, strict=True)):
            z = hidden_margins(f, M[j], q, old.Z[j], 1.0, compare_all=steps.compare_all)
            a = f.value(z)
            new = outer(P, u, a, nu, rho)
            Z.append(z)
            Q.append(new)
            U.append(dual(P, new, u, rho))
            outputs.append(a)
        Z.append(output_margins(rows, tile, M[-1], old.Z[-1], nu, steps.accelerated))
        split = Split(old.P, tuple(Z), tuple(Q), tuple(U))
        composed = composed_margins(layers, model, M[0]) if evaluate else None
        _count(rows, tile, sums, split, M, old.Q, outputs, composed)
        if steps.next_nu != nu:  # all but the output layer goes on as if nothing had changed
            split = Split(old.P, split.Z, split.Q, tuple(steps.next_nu / nu * u for u in U))
        return _forward(rows, tile, sums, split, M, model, gains, steps)

    return over_tiles(rows, layers, tile_of)


@named("pdadmm-grow")
def grow(rows: RowBlock, splits: tuple[Split, ...], *, layers: Layers, n_new: int) -> Any:
    """Keep the variables of a network with more layers, identities before the output layer; send moments."""
    f = layers.activation

    def tile_of(i: int, tile: slice, sums: LayerSums) -> Split:
        old = splits[i]
        P, Z, Q, U = list(old.P), list(old.Z[:-1]), list(old.Q), list(old.U)
        for _ in range(n_new):
            Z.append(P[-1])
            P.append(f.value(P[-1]))
            Q.append(P[-1])
            U.append(0 * P[-1])
        Z.append(old.Z[-1])
        for j, (p, z) in enumerate(zip((row_slice(rows.X, tile), *P), Z, strict=True)):
            sums.add(j, p, z, tile, square=j > 0)
        return Split(tuple(P), tuple(Z), tuple(Q), tuple(U))

    return over_tiles(rows, layers, tile_of)


def outer(P: Array, U: Array, A: Array, nu: float, rho: float) -> Array:
    """Return q, the minimiser of ``nu norm(q - A)^2 / 2 + <U, P - q> + rho norm(P - q)^2 / 2``."""
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


def inputs_of(
    P: Array, M: Array, Q: Array, U: Array, Z: Array, layer: tuple[Array, Array], B: Array | None, steps: Steps
) -> Array:
    """Return the next p of a layer, from its own p, margins and z, and the q and u of the layer before.

    With the gain B it is the minimiser, without a gradient step.
    """
    (W, b), V = layer, Q - U / steps.next_rho
    if B is not None:
        return exact_inputs(V, Z, W, b, B)
    return gradient_inputs(P, M, V, Z, W, steps.next_nu, steps.next_rho, steps.first)


def _forward(
    rows: RowBlock,
    tile: slice,
    sums: LayerSums,
    split: Split,
    M: Sequence[Array],
    model: Model,
    gains: Any,
    steps: Steps,
    *,
    square_first: bool = False,
) -> Split:
    """Move p, and add up the moments of all layers."""
    P = []
    for j, old in enumerate(split.P, 1):
        B = rows.cast(gains[j - 1]) if gains else None
        P.append(inputs_of(old, M[j], split.Q[j - 1], split.U[j - 1], split.Z[j], model[j], B, steps))
    sums.add(0, row_slice(rows.X, tile), split.Z[0], tile, square=square_first)
    for j, p in enumerate(P, 1):
        sums.add(j, p, split.Z[j], tile)
    return Split(tuple(P), split.Z, split.Q, split.U)


def _count(
    rows: RowBlock,
    tile: slice,
    sums: LayerSums,
    split: Split,
    M: Sequence[Array],
    before: Sequence[Array],
    outputs: Sequence[Array],
    composed: Array | None,
) -> None:
    """Add up the terms of the Lagrangian, the residuals, what they are compared with, and the composed loss."""
    loss = loss_at(rows, tile, split.Z[-1])
    zero = 0 * loss
    fit = outer_fit = product = primal = moved = inputs = kept = zero
    for z, m in zip(split.Z, M, strict=True):
        fit = fit + sums.square(z - m, tile)
    for p, q, u, old, a in zip(split.P, split.Q, split.U, before, outputs, strict=True):
        gap = p - q
        outer_fit = outer_fit + sums.square(q - a, tile)
        product, primal = product + sums.square(u, tile, gap), primal + sums.square(gap, tile)
        moved, inputs = moved + sums.square(q - old, tile), inputs + sums.square(p, tile)
        kept = kept + sums.square(q, tile)
    network = zero if composed is None else loss_at(rows, tile, composed)
    sums.count(loss, network, fit, outer_fit, product, primal, moved, inputs, kept)
