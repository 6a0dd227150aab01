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
from dask_newton.solvers.layerwise.margins import composed_margins, loss_at, output_margins
from dask_newton.solvers.layerwise.moments import LayerSums, over_tiles
from dask_newton.solvers.layerwise.outputs import initial_margins
from dask_newton.solvers.layerwise.pdadmm_layer import Hidden, Steps, hidden_step, layer_terms, next_inputs
from dask_newton.storage.registry import stored

__all__ = ["Split", "grow", "start", "sweep"]

Array = Any
Model = list[tuple[Array, Array]]


@stored("solver-part/pdadmm-split")
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
        A, P, M, terms = row_slice(rows.X, tile), [], [], []
        for W, b in model[:-1]:
            M.append(A @ W + b)
            A = layers.activation.value(M[-1])
            P.append(A)
            terms.append(layer_terms(sums, tile, M[-1], A, A, Hidden(M[-1], A, A, 0 * A)))
        W, b = model[-1]
        M.append(A @ W + b)
        last = initial_margins(rows.loss, rows.y[tile, ...], M[-1], steps.nu)
        split = Split(tuple(P), (*M[:-1], last), tuple(P), tuple(0 * A for A in P))
        _count(rows, tile, sums, last, M[-1], terms, M[-1])
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
    model = layers.of(rows.cast(theta))

    def tile_of(i: int, tile: slice, sums: LayerSums) -> Split:
        old, terms = splits[i], []
        inputs = (row_slice(rows.X, tile), *old.P)
        M = [P @ W + b for P, (W, b) in zip(inputs, model, strict=True)]
        Z, Q, U = [], [], []
        for m, p, z, q, u in zip(M[:-1], old.P, old.Z[:-1], old.Q, old.U, strict=True):
            new = hidden_step(layers.activation, m, p, z, q, u, steps)
            terms.append(layer_terms(sums, tile, m, p, q, new))
            Z.append(new.Z)
            Q.append(new.Q)
            U.append(new.U)
        Z.append(output_margins(rows, tile, M[-1], old.Z[-1], steps.nu, steps.accelerated))
        composed = composed_margins(layers, model, M[0]) if evaluate else None
        _count(rows, tile, sums, Z[-1], M[-1], terms, composed)
        if steps.next_nu != steps.nu:  # all but the output layer goes on as if nothing had changed
            U = [steps.next_nu / steps.nu * u for u in U]
        split = Split(old.P, tuple(Z), tuple(Q), tuple(U))
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
        V = split.Q[j - 1] - split.U[j - 1] / steps.next_rho
        P.append(next_inputs(old, M[j], V, split.Z[j], model[j], B, steps))
    sums.add(0, row_slice(rows.X, tile), split.Z[0], tile, square=square_first)
    for j, p in enumerate(P, 1):
        sums.add(j, p, split.Z[j], tile)
    return Split(tuple(P), split.Z, split.Q, split.U)


def _count(
    rows: RowBlock,
    tile: slice,
    sums: LayerSums,
    Z: Array,
    M: Array,
    terms: Sequence[list[Array]],
    composed: Array | None,
) -> None:
    """Add up the losses at the output Z and of the network, and the terms of hidden layers and of the output layer."""
    loss = loss_at(rows, tile, Z)
    total = [0 * loss] * 7
    for layer in terms:
        total = [a + b for a, b in zip(total, layer, strict=True)]
    total[0] = total[0] + sums.square(Z - M, tile)
    sums.count(loss, 0 * loss if composed is None else loss_at(rows, tile, composed), *total)
