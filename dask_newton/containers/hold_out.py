"""Rows that are held out of every block, to see how a model does on what it was not fitted to."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from dask_newton.arrays import from_host, to_host
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["HoldOut"]


@dataclass(frozen=True)
class HoldOut:
    """Divides the rows of a block in two.

    The draw is stratified: rows are put in random order, then in that of their targets, and taken at equal distances,
    so that every class is held out in proportion. It depends on the targets of the block and on the seed only.

    Attributes
    ----------
    fraction : float
        Of the rows, to be held out.
    seed : int
    validation : bool
        Whether the rows that are held out make the block (a copy), or the others: there the rows held out stay, with a
        weight of zero, so that X is not copied.
    """

    fraction: float
    seed: int
    validation: bool = False

    def __call__(self, block: RowBlock) -> RowBlock:
        """Return the block of some of the rows."""
        rows = self._rows(to_host(block.y))
        if self.validation:
            return block.take(rows)
        weight = np.ones(len(block.y)) if block.weight is None else to_host(block.weight).copy()
        weight[rows] = 0
        return replace(block, weight=from_host(weight, block.X, block.X.dtype))

    def _rows(self, y: np.ndarray) -> np.ndarray:
        """Return the numbers of the rows that are held out, sorted."""
        rng = np.random.default_rng([self.seed, zlib.crc32(y.tobytes())])
        order = rng.permutation(len(y))
        if y.ndim == 1:
            order = order[np.argsort(y[order], kind="stable")]
        steps = np.floor(self.fraction * np.arange(len(y) + 1) + rng.random())
        return np.sort(order[np.diff(steps) > 0])
