"""Rows of data with targets and weights: the data of a block, for any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from dask_newton.arrays import align, from_host, namespace, row_slice, squares, take_rows
from dask_newton.blocks import parallel
from dask_newton.blocks.memory import nbytes
from dask_newton.losses import Loss
from dask_newton.objectives.rows.sums import TransposedSum
from dask_newton.objectives.rows.tiles import stripes, tiles

__all__ = ["RowBlock"]

Array = Any


@dataclass(frozen=True, eq=False)
class RowBlock:
    """Rows of data, for any model.

    Attributes
    ----------
    X : Array or CSR matrix, shape (n_rows, n_features)
    y : Array, shape (n_rows,) or (n_rows, n_outputs)
        Targets, in the form that the loss needs.
    weight : Array of shape (n_rows,) or None
        Sample weights; None means 1.
    offset : Array of shape (n_rows, n_outputs) or None
        Added to the margins.
    loss : Loss
    """

    X: Array
    y: Array
    weight: Array | None
    offset: Array | None
    loss: Loss

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: align(value) for name, value in state.items()})

    def __sizeof__(self) -> int:
        return nbytes(self)  # for Dask, which does not count the arrays inside

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @property
    def precision(self) -> float:
        """Rounding unit of the arithmetic on X."""
        return float(namespace(self.X).finfo(self.X.dtype).eps)

    @property
    def total_weight(self) -> float:
        """Sum of the sample weights."""
        if self.weight is None:
            return float(self.n_rows)
        xp = namespace(self.weight)
        return float(xp.sum(self.weight, dtype=xp.float64))

    def take(self, rows: np.ndarray) -> Self:
        """Return the block of some rows (a copy)."""
        index = from_host(rows, self.X)

        def of(a: Array | None) -> Array | None:
            return None if a is None else take_rows(a, index)

        return replace(self, X=of(self.X), y=of(self.y), weight=of(self.weight), offset=of(self.offset))

    def column_squares(self) -> Array:
        """Return the diagonal of ``[X 1]' diag(s) [X 1]``, shape (n_features + 1,), float64; not finite if X is not."""
        cuts, q = tiles(self.X), self.X.shape[1] + 1

        def stripe(indices: Sequence[int]) -> TransposedSum:
            total = TransposedSum(True)
            with np.errstate(over="ignore", invalid="ignore"):
                for i in indices:
                    ones = from_host(np.ones((cuts[i].stop - cuts[i].start, 1)), self.X, self.X.dtype)
                    total.add(squares(row_slice(self.X, cuts[i])), self.weigh(ones, cuts[i]))
            return total

        parts = parallel(stripe, stripes(range(len(cuts)), 8 * q)) if cuts else []
        return TransposedSum.total(parts, self.X, (q, 1))[:, 0]

    def cast(self, V: Array | None) -> Array | None:
        """Return coefficients in the dtype and on the device of X."""
        if V is None:
            return None
        if isinstance(V, np.ndarray):
            return from_host(V, self.X, self.X.dtype)
        return namespace(self.X).astype(V, self.X.dtype)

    def weigh(self, R: Array, rows: slice) -> Array:
        """Multiply R by the sample weights of the rows ``rows`` of the block."""
        return R if self.weight is None else R * self.weight[rows, None]

    def sum(self, values: Array, rows: slice) -> Array:
        """Return the weighted sum of a tile's values, a float64 scalar."""
        xp = namespace(values)
        return xp.sum(values if self.weight is None else values * self.weight[rows], dtype=xp.float64)
