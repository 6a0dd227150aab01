"""Rows held out of every block for validation."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from dask_newton.arrays import from_host, to_host
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["HoldOut"]


@dataclass(frozen=True)
class HoldOut:
    """Splits the rows of a block into rows to fit and held-out rows.

    The draw is stratified: rows are shuffled, sorted by their targets, and taken at equal distances, so that a fixed
    fraction of every class is held out. It depends only on the targets of the block and on the seed.

    Attributes
    ----------
    fraction : float
        Fraction of the rows to hold out.
    seed : int
    validation : bool
        If true, a block of the held-out rows is made, which copies them. If false, the block keeps all rows, and the
        held-out ones get a weight of zero, so that X is not copied.
    """

    fraction: float
    seed: int
    validation: bool = False

    def __call__(self, block: RowBlock) -> RowBlock:
        """Return the block of the selected rows."""
        rows = self._rows(to_host(block.y))
        if self.validation:
            return block.take(rows)
        weight = np.ones(len(block.y)) if block.weight is None else to_host(block.weight).copy()
        weight[rows] = 0
        return replace(block, weight=from_host(weight, block.X, block.X.dtype))

    def _rows(self, y: np.ndarray) -> np.ndarray:
        """Return the sorted indices of the held-out rows."""
        rng = np.random.default_rng([self.seed, zlib.crc32(y.tobytes())])
        order = rng.permutation(len(y))
        if y.ndim == 1:
            order = order[np.argsort(y[order], kind="stable")]
        steps = np.floor(self.fraction * np.arange(len(y) + 1) + rng.random())
        return np.sort(order[np.diff(steps) > 0])
