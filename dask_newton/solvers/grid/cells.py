"""pdADMM cut into a grid of cells, one for each block of rows and each layer, which tell each other what they must.

A cell owns P, Z, Q and U of its layer and rows. In an iteration it sends its new P down to the layer before, which
needs it for Q, and Q - U / rho up to the layer after, all that its next P needs: two arrays per boundary. Weights of a
layer come from the moments of its cells. Nothing else is common to layers, so that none waits for all.

Messages may be rounded to integers of 8 or 16 bits between their smallest and largest entry; what rounding leaves out
is added to the next message, so that errors do not pile up. The arrays of a cell stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dask_newton.arrays import namespace, row_slice, to_host
from dask_newton.blocks import named
from dask_newton.objectives.network.activations import Activation
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.solvers.layerwise.inputs import gain
from dask_newton.solvers.layerwise.margins import loss_at, output_margins
from dask_newton.solvers.layerwise.moments import LayerSums
from dask_newton.solvers.layerwise.outputs import initial_margins
from dask_newton.solvers.layerwise.pdadmm_layer import Steps, hidden_step, layer_terms, next_inputs
from dask_newton.solvers.layerwise.weights import Moments

__all__ = [
    "Cell",
    "Inputs",
    "Rounded",
    "Weights",
    "begin",
    "finish",
    "message",
    "moments",
    "move",
    "numbers",
    "numbers_of",
    "output",
    "restored",
    "same",
    "squares",
    "thin",
    "total",
    "value",
    "weights",
]

Array = Any


@dataclass(frozen=True, eq=False)
class Rounded:
    """An array as integers: ``low + scale codes``, of 64 or 32 bits again."""

    codes: Array
    low: float
    scale: float
    double: bool


@dataclass(frozen=True, eq=False)
class Weights:
    """``[W; b']`` of a layer and its gain, None for the first layer and for gradient steps."""

    V: np.ndarray
    gain: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Inputs:
    """P of a cell, what it sends of it, and what rounding left out."""

    P: Array
    message: Any
    error: Array


@dataclass(frozen=True, eq=False)
class Cell:
    """What a cell carries from one iteration to the next.

    Attributes
    ----------
    P, M, Z, Q, U : Array or None
        P is None in the first layer, Q and U in the last. M are the margins of P.
    message : Any
        Q - U / rho, for the layer after.
    errors : tuple
        What rounding left out of the messages with P and with this.
    numbers : ndarray
        As those of a pass, see :func:`~dask_newton.solvers.layerwise.pdadmm.summary`.
    """

    P: Array
    M: Array
    Z: Array
    Q: Array
    U: Array
    message: Any
    errors: tuple[Array, Array]
    numbers: np.ndarray


@named("pdadmm-rows")
def thin(rows: RowBlock) -> RowBlock:
    """Return the weights of a block alone, which the cells of inner layers need."""
    return replace(rows, X=row_slice(rows.X, slice(0, 0)), y=rows.y[:0, ...], offset=None)


@named("pdadmm-weights")
def weights(V: np.ndarray, nu: float, rho: float, with_gain: bool) -> Weights:
    """Return what cells need of weights."""
    return Weights(V, gain(V[:-1], nu, rho) if with_gain else None)


@named("pdadmm-start")
def begin(rows: RowBlock, P: Array | None, layer: Weights, f: Activation, nu: float, last: bool, bits: int) -> Cell:
    """Return the cell after a forward pass through its layer."""
    M = _margins(rows, P, layer)
    if last:
        return Cell(P, M, initial_margins(rows.loss, rows.y, M, nu), None, None, None, (0.0, 0.0), np.zeros(9))
    Q = f.value(M)
    sent, error = _sent(Q, 0.0, bits)
    return Cell(P, M, M, Q, 0 * Q, sent, (0.0, error), np.zeros(9))


@named("pdadmm-inputs")
def move(rows: RowBlock, cell: Cell, below: Any, layer: Weights, steps: Steps, bits: int) -> Inputs:
    """Return the next P, given the message of the layer before."""
    own, B = rows.cast(layer.V), None if layer.gain is None else rows.cast(layer.gain)
    W, b = own[:-1, :], own[-1, :]  # type: ignore[index]
    P = next_inputs(cell.P, cell.M, restored(below), cell.Z, (W, b), B, steps)
    return Inputs(P, *_sent(P, cell.errors[0], bits))


@named("pdadmm-moments")
def moments(rows: RowBlock, inputs: Inputs | None, cell: Cell) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the moments of a cell; without S in the first layer."""
    P = rows.X if inputs is None else inputs.P
    sums, tile = LayerSums(rows, (P.shape[1], cell.Z.shape[1])), slice(0, P.shape[0])
    sums.add(0, P, cell.Z, tile, square=inputs is not None)
    return None if inputs is None else to_host(sums.squares[0]), to_host(sums.products[0])


@named("pdadmm-moments")
def squares(rows: RowBlock, cell: Cell) -> np.ndarray:
    """Return the moments S of the first layer, which never change."""
    sums = LayerSums(rows, (rows.X.shape[1], cell.Z.shape[1]))
    sums.add(0, rows.X, cell.Z, slice(0, rows.n_rows))
    return to_host(sums.squares[0])


@named("pdadmm-hidden")
def finish(
    rows: RowBlock,
    cell: Cell,
    inputs: Inputs | None,
    layer: Weights,
    above: Any,
    f: Activation,
    steps: Steps,
    bits: int,
) -> Cell:
    """Return a cell of a hidden layer after an iteration, given the P of the layer after."""
    P, P_next = None if inputs is None else inputs.P, restored(above)
    M = _margins(rows, P, layer)
    new = hidden_step(f, M, P_next, cell.Z, cell.Q, cell.U, steps)
    sent, error = _sent(new.Q - new.U / steps.rho, cell.errors[1], bits)
    terms = layer_terms(LayerSums(rows, ()), slice(0, M.shape[0]), M, P_next, cell.Q, new)
    found = namespace(M).stack([0 * terms[0], 0 * terms[0], *terms])
    errors = (0.0 if inputs is None else inputs.error, error)
    return Cell(P, M, new.Z, new.Q, new.U, sent, errors, to_host(found))


@named("pdadmm-output")
def output(rows: RowBlock, cell: Cell, inputs: Inputs | None, layer: Weights, steps: Steps) -> Cell:
    """Return a cell of the output layer after an iteration."""
    P, tile = None if inputs is None else inputs.P, slice(0, rows.n_rows)
    M = _margins(rows, P, layer)
    Z = output_margins(rows, tile, M, cell.Z, steps.nu, steps.accelerated)
    loss, fit = loss_at(rows, tile, Z), LayerSums(rows, ()).square(Z - M, tile)
    found = namespace(fit).stack([loss, 0 * fit, fit, *[0 * fit] * 6])
    return Cell(P, M, Z, None, None, None, (0.0 if inputs is None else inputs.error, 0.0), to_host(found))


@named("pdadmm-message")
def message(of: Any) -> Any:
    """Return what a cell or its inputs send."""
    return of.message


@named("pdadmm-cell")
def same(cell: Cell) -> Cell:
    """Return a cell."""
    return cell


@named("pdadmm-values")
def value(of: Cell | Weights) -> Any:
    """Return the activations of a cell that began, or weights."""
    return of.V if isinstance(of, Weights) else of.Q


@named("pdadmm-residuals")
def numbers(*cells: np.ndarray) -> np.ndarray:
    """Return the sum of numbers."""
    return np.sum(cells, axis=0)


@named("pdadmm-residuals")
def numbers_of(cell: Cell) -> np.ndarray:
    """Return the numbers of a cell."""
    return cell.numbers


def total(parts: list[tuple[np.ndarray | None, np.ndarray]], first: list[np.ndarray]) -> Moments:
    """Return the moments of a layer from those of its cells, and the S of the first layer's."""
    squares = first or [S for S, _ in parts if S is not None]
    S = sum(squares[1:], squares[0]).copy()
    S[:-1, -1] = S[-1, :-1]
    return Moments(S, sum((C for _, C in parts[1:]), parts[0][1]))


def restored(sent: Any) -> Array:
    """Return the array of a message."""
    if not isinstance(sent, Rounded):
        return sent
    xp = namespace(sent.codes)
    return xp.astype(sent.codes, xp.float64 if sent.double else xp.float32) * sent.scale + sent.low


def _sent(X: Array, error: Array, bits: int) -> tuple[Any, Array]:
    """Return the message with an array, and what it leaves out; ``bits`` of 0 leave out nothing."""
    if not bits:
        return X, 0.0
    xp, X = namespace(X), X + error
    low, high = float(xp.min(X)), float(xp.max(X))
    scale = (high - low) / (2**bits - 1) or 1.0
    codes = xp.astype(xp.round((X - low) / scale), xp.uint8 if bits == 8 else xp.uint16)
    sent = Rounded(codes, low, scale, X.dtype == xp.float64)
    return sent, X - restored(sent)


def _margins(rows: RowBlock, P: Array | None, layer: Weights) -> Array:
    own = rows.cast(layer.V)
    return (rows.X if P is None else P) @ own[:-1, :] + own[-1, :]  # type: ignore[index]
