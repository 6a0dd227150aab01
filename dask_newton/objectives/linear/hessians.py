"""The Hessian of one block as a matrix, assembled from one Gram matrix for each pair of outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, namespace, to_host
from dask_newton.losses import Loss
from dask_newton.objectives.linear.block import LinearBlock

__all__ = ["block_hessian", "packed_hessian", "unpack_hessian"]


def _pairs(loss: Loss) -> list[tuple[int, int]]:
    """Return the pairs of outputs whose Hessian blocks are sent: one only, if all diagonal blocks are equal."""
    if loss.quadratic:
        return [(0, 0)]
    return [(k, j) for k in range(loss.n_outputs) for j in range(k, loss.n_outputs)]


@dataclass(frozen=True)
class _Entry:
    k: int
    j: int

    def __call__(self, loss: Loss, curvature: Any) -> Any:
        return loss.hess_entry(curvature, self.k, self.j)


def packed_hessian(block: LinearBlock, curvature: Any) -> np.ndarray:
    """Return the upper triangles of the Hessian blocks of all pairs of outputs, packed."""
    upper = np.triu_indices(block.shape[0])
    return np.stack([to_host(gram)[upper] for gram in _grams(block, curvature)])


def unpack_hessian(packed: np.ndarray, shape: tuple[int, int], loss: Loss) -> np.ndarray:
    """Return the Hessian from the packed triangles of its blocks."""
    q, _ = shape
    upper, grams = np.triu_indices(q), np.empty((len(packed), q, q))
    for row, gram in zip(packed, grams, strict=True):
        gram[upper] = row
        gram.T[upper] = row
    return _matrix(list(grams), loss)


def block_hessian(block: LinearBlock, curvature: Any) -> Any:
    """Return the Hessian of the block's summed loss, shape (q K, q K), on the device of the block."""
    return _matrix(_grams(block, curvature), block.rows.loss)


def _grams(block: LinearBlock, curvature: Any) -> list[Any]:
    return block.grams(curvature, [_Entry(k, j) for k, j in _pairs(block.rows.loss)])


def _matrix(grams: list[Any], loss: Loss) -> Any:
    """Return the Hessian from its blocks, by pairs of outputs."""
    q, K = grams[0].shape[0], loss.n_outputs
    hessian = from_host(np.zeros((q, K, q, K)), grams[0])
    for gram, (k, j) in zip(grams, _pairs(loss), strict=True):
        for shift in range(K if loss.quadratic else 1):
            hessian[:, k + shift, :, j + shift] = hessian[:, j + shift, :, k + shift] = gram
    return namespace(hessian).reshape(hessian, (q * K, q * K))
