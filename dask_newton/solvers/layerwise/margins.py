"""What both methods ask of the rows of a tile: the loss at margins, the margins of outputs, those of the network."""

from __future__ import annotations

from typing import Any

from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.solvers.layerwise.outputs import proximal_margins

__all__ = ["composed_margins", "loss_at", "output_margins"]

Array = Any


def output_margins(rows: RowBlock, tile: slice, M: Array, Z: Array, c: float, accelerated: bool) -> Array:
    """Return the minimiser of ``sum l(y, z + offset) + (c/2) norm(Z - M)^2``."""
    offset = 0 if rows.offset is None else rows.offset[tile, :]
    found = proximal_margins(rows.loss, rows.y[tile, ...], M + offset, c, Z + offset, accelerated=accelerated)
    return found - offset


def loss_at(rows: RowBlock, tile: slice, Z: Array) -> Array:
    """Return the weighted sum of losses of a tile at margins without offset."""
    return rows.sum(rows.loss.value(rows.y[tile, ...], Z if rows.offset is None else Z + rows.offset[tile, :]), tile)


def composed_margins(layers: Layers, model: list[tuple[Array, Array]], M: Array) -> Array:
    """Return the margins of the network, from those of its first layer."""
    for W, b in model[1:]:
        M = layers.activation.value(M) @ W + b
    return M
