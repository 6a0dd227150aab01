"""Kronecker factors of the curvature of a network, layer by layer, on one block.

    A_l = sum_j s_j [a_{l-1,j}, 1]' [a_{l-1,j}, 1],    D_l = sum_j s_j d_{l,j}' d_{l,j}

with the inputs a_{l-1,j} of a layer in row j, and the gradient d_{l,j} of the loss of the row with respect to the
margins of the layer. With S the sum of the weights, the block of the empirical Fisher matrix for the weights and
biases of a layer is approximately the Kronecker product of A_l / S and D_l / S (Martens and Grosse 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, namespace, row_slice, to_host
from dask_newton.objectives.network.block import NetworkBlock, Remembered
from dask_newton.objectives.rows.grams import weighted_grams
from dask_newton.objectives.rows.tiles import tiles

__all__ = ["Factors", "block_factors", "pack", "unpack"]

Array = Any
Factors = tuple[tuple[np.ndarray, np.ndarray], ...]


def block_factors(block: NetworkBlock, remembered: Remembered) -> list[Array]:
    """Return A_1, D_1, A_2, D_2, ... of a block, float64."""
    rows, totals = block.rows, None
    for k, tile in enumerate(block.tiles()):
        state = block.state(remembered, k)
        ones = from_host(np.ones((tile.stop - tile.start, 1)), rows.X, rows.X.dtype)
        s = rows.weigh(ones, tile)
        # The deltas already include the weights, and are zero where the weight is zero.
        rest = namespace(s).where(s > 0, 1 / namespace(s).where(s > 0, s, ones), 0 * s)
        grams = []
        for A, D in zip((row_slice(rows.X, tile), *state.activations), state.deltas, strict=True):
            grams += [_gram(A, s, True), _gram(D, rest, False)]
        totals = grams if totals is None else [total + gram for total, gram in zip(totals, grams, strict=True)]
    assert totals is not None
    return totals


def _gram(A: Array, h: Array, intercept: bool) -> Array:
    """Return ``[A 1]' diag(h) [A 1]``."""
    cuts = tiles(A)
    return weighted_grams(A, intercept, [lambda i: h[cuts[i], :]])[0]


def pack(factors: Sequence[Array]) -> tuple[np.ndarray, ...]:
    """Return the upper triangles of the factors, in NumPy."""
    return tuple(to_host(factor)[np.triu_indices(factor.shape[0])] for factor in factors)


def unpack(packed: Sequence[np.ndarray], total_weight: float) -> Factors:
    """Return the pairs (A_l / S, D_l / S) from the packed triangles."""
    full = []
    for triangle in packed:
        q = int((2 * len(triangle)) ** 0.5)
        factor, upper = np.empty((q, q)), np.triu_indices(q)
        factor[upper] = triangle / total_weight
        factor.T[upper] = factor[upper]
        full.append(factor)
    return tuple(zip(full[::2], full[1::2], strict=True))
