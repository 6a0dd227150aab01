"""What a block does in the passes of dlADMM; the recursion is in :mod:`dask_newton.solvers.layerwise.dladmm`.

Every layer has a column of its own, so that a pass keeps those arrays alone that it changes. Sums over rows use the
fits ``(k_l/2) norm(T_l - A_{l-1} W_l - 1 b_l')^2`` with k = nu and T = Z in hidden layers, k = rho and T = Z + U/rho in
the output layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, row_slice
from dask_newton.blocks import named
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.solvers.layerwise.hidden import hidden_margins
from dask_newton.solvers.layerwise.inputs import exact_inputs, gradient_inputs
from dask_newton.solvers.layerwise.margins import composed_margins, loss_at, output_margins
from dask_newton.solvers.layerwise.moments import LayerSums, over_tiles
from dask_newton.solvers.layerwise.outputs import initial_margins
from dask_newton.storage.registry import stored

__all__ = ["Fit", "Hidden", "Output", "backward", "forward", "start", "turn"]

Array = Any


@stored("solver-part/dladmm-hidden")
@dataclass(frozen=True, eq=False)
class Hidden:
    """Activations and margins of a tile of rows in a hidden layer."""

    A: Array
    Z: Array

    def target(self, rho: float) -> Array:
        """Return what the inputs of the layer are to fit."""
        return self.Z


@stored("solver-part/dladmm-output")
@dataclass(frozen=True, eq=False)
class Output:
    """Margins and dual of a tile of rows in the output layer."""

    Z: Array
    U: Array

    def target(self, rho: float) -> Array:
        """Return what the inputs of the layer are to fit."""
        return self.Z + self.U / rho


@dataclass(frozen=True, eq=False)
class Fit:
    """What a pass over a hidden layer is told.

    Attributes
    ----------
    layer : int
        From 0.
    own, following : ndarray
        ``[W; b']`` of the layer and of the next.
    gain : ndarray or None
        Of the next layer, for exact activations.
    nu, rho : float
    weight : float
        k of the next layer.
    first : float or None
        Where curvatures begin that are doubled.
    """

    layer: int
    own: np.ndarray
    following: np.ndarray
    gain: np.ndarray | None
    nu: float
    rho: float
    weight: float
    first: float | None


@named("dladmm-start")
def start(
    rows: RowBlock, *, layers: Layers, theta: np.ndarray, rho: float, gradient_dual: bool, accelerated: bool
) -> Any:
    """Keep a forward pass, by layer, and the first margins of the output layer; send moments and numbers."""
    model = layers.of(rows.cast(theta))

    def tile_of(i: int, tile: slice, sums: LayerSums) -> list[Any]:
        A, kept = row_slice(rows.X, tile), []
        for j, (W, b) in enumerate(model[:-1]):
            Z = A @ W + b
            sums.add(j, A, Z, tile)
            A = layers.activation.value(Z)
            kept.append(Hidden(A, Z))
        W, b = model[-1]
        M, y = A @ W + b, rows.y[tile, ...]
        Z = initial_margins(rows.loss, y, M, rho)
        U = -rows.loss.linearize(y, Z if rows.offset is None else Z + rows.offset[tile, :])[1]
        output = Output(Z, U if gradient_dual else 0 * U)
        _count(rows, tile, sums, output, M, M)
        output = _first_margins(rows, tile, M, output, rho, accelerated)
        sums.add(len(kept), A, output.target(rho), tile)
        return [*kept, output]

    kept, sums = over_tiles(rows, layers, tile_of)
    return *(tuple(column) for column in zip(*kept, strict=True)), sums


@named("dladmm-back-sweep")
def backward(
    rows: RowBlock,
    own: tuple[Hidden, ...],
    following: tuple[Any, ...],
    *previous: tuple[Hidden, ...],
    layers: Layers,
    fit: Fit,
) -> Any:
    """Move the activations of a layer, then its margins; send the product of its inputs with these."""
    model, f = _model(rows, fit), layers.activation

    def tile_of(i: int, tile: slice, sums: LayerSums) -> Hidden:
        inputs, (W, b) = _inputs(rows, previous, i, tile), model[0]
        A = _activations(own[i].A, f.value(own[i].Z), following[i].target(fit.rho), model, fit)
        Z = hidden_margins(f, inputs @ W + b, A, own[i].Z, 0.0)
        sums.add(fit.layer, inputs, Z, tile, square=False)
        return Hidden(A, Z)

    return over_tiles(rows, layers, tile_of)


@named("dladmm-forward-sweep")
def forward(
    rows: RowBlock,
    own: tuple[Hidden, ...],
    following: tuple[Any, ...],
    *previous: tuple[Hidden, ...],
    layers: Layers,
    fit: Fit,
) -> Any:
    """Move the margins of a layer, then its activations; send the moments of these, and numbers."""
    model, f = _model(rows, fit), layers.activation

    def tile_of(i: int, tile: slice, sums: LayerSums) -> Hidden:
        (W, b), target = model[0], following[i].target(fit.rho)
        M = _inputs(rows, previous, i, tile) @ W + b
        Z = hidden_margins(f, M, own[i].A, own[i].Z, 0.0)
        outputs = f.value(Z)
        A = _activations(own[i].A, outputs, target, model, fit)
        sums.add(fit.layer + 1, A, target, tile)
        sums.count(sums.square(Z - M, tile), sums.square(A - outputs, tile))
        return Hidden(A, Z)

    return over_tiles(rows, layers, tile_of)


@named("dladmm-output")
def turn(
    rows: RowBlock,
    own: tuple[Output, ...],
    *previous: tuple[Hidden, ...],
    layers: Layers,
    V: np.ndarray,
    theta: np.ndarray | None,
    rho: float,
    next_rho: float,
    accelerated: bool,
) -> Any:
    """End an iteration with margins and dual of the outputs; begin the next with its first margins.

    Send the product of the inputs of the output layer with what they are to fit, and numbers: with ``theta`` also the
    losses of the network.
    """
    last: Array = rows.cast(V)
    network = [] if theta is None else layers.of(rows.cast(theta))

    def tile_of(i: int, tile: slice, sums: LayerSums) -> Output:
        A = _inputs(rows, previous, i, tile)
        M = A @ last[:-1, :] + last[-1, :]
        Z = output_margins(rows, tile, M - own[i].U / rho, own[i].Z, rho, accelerated)
        output = Output(Z, own[i].U + rho * (Z - M))
        composed = None
        if network:
            W, b = network[0]
            composed = composed_margins(layers, network, row_slice(rows.X, tile) @ W + b)
        _count(rows, tile, sums, output, M, composed)
        output = _first_margins(rows, tile, M, output, next_rho, accelerated)
        sums.add(len(layers.sizes) - 2, A, output.target(next_rho), tile, square=False)
        return output

    return over_tiles(rows, layers, tile_of)


def _first_margins(rows: RowBlock, tile: slice, M: Array, output: Output, rho: float, accelerated: bool) -> Output:
    return Output(output_margins(rows, tile, M - output.U / rho, output.Z, rho, accelerated), output.U)


def _count(rows: RowBlock, tile: slice, sums: LayerSums, output: Output, M: Array, composed: Array | None) -> None:
    """Add up the loss, the two terms of the constraint, and the composed loss."""
    gap, loss = output.Z - M, loss_at(rows, tile, output.Z)
    network = 0 * loss if composed is None else loss_at(rows, tile, composed)
    sums.count(loss, sums.square(output.U, tile, gap), sums.square(gap, tile), network)


def _inputs(rows: RowBlock, previous: tuple[tuple[Hidden, ...], ...], i: int, tile: slice) -> Array:
    return previous[0][i].A if previous else row_slice(rows.X, tile)


def _model(rows: RowBlock, fit: Fit) -> list[tuple[Array, Array]]:
    own: Array = rows.cast(fit.own)
    following: Array = rows.cast(fit.following)
    return [(own[:-1, :], own[-1, :]), (following[:-1, :], following[-1, :])]


def _activations(A: Array, outputs: Array, target: Array, model: list[tuple[Array, Array]], fit: Fit) -> Array:
    W, b = model[1]
    if fit.gain is not None:
        return exact_inputs(outputs, target, W, b, from_host(fit.gain, A, A.dtype))
    return gradient_inputs(A, A @ W + b, outputs, target, W, fit.weight, fit.nu, fit.first)
