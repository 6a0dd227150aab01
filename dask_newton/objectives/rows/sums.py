"""Products with X', summed over rows: tile by tile within a stripe, then over the stripes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, is_host, namespace, transposed_product
from dask_newton.blocks import parallel

__all__ = ["TransposedSum"]

Array = Any

_COLUMNS = 8192  # columns of two sums that a thread adds at a time


class TransposedSum:
    """``[X 1]' R``, in float64, of a stripe of rows.

    Parameters
    ----------
    intercept : bool
        Whether there is a column of ones.
    """

    def __init__(self, intercept: bool) -> None:
        self._intercept = intercept
        self._product: Array = None  # X' R, transposed
        self._ones: Array = None

    def add(self, X: Array, R: Array) -> None:
        """Add a tile."""
        xp = namespace(X)
        product = transposed_product(X, R)
        if self._product is None:
            self._product = xp.astype(product, xp.float64)
        else:
            self._product += product  # no new array: with many features most of the time would go there
        if self._intercept:
            ones = xp.sum(R, axis=0, dtype=xp.float64)
            self._ones = ones if self._ones is None else self._ones + ones

    @staticmethod
    def total(parts: Sequence[TransposedSum], like: Array, shape: tuple[int, int]) -> Array:
        """Return the sum of all stripes, shape (q, K); it overwrites the first."""
        if not parts:
            return from_host(np.zeros(shape), like)
        first, *rest = parts
        total = first._product
        width = total.shape[1]

        def add(start: int) -> None:
            columns = slice(start, start + size)
            for part in rest:
                total[:, columns] += part._product[:, columns]

        size = _COLUMNS if is_host(like) else max(1, width)
        parallel(add, range(0, width, size))
        if not first._intercept:
            return total.T
        ones = sum((part._ones for part in rest), first._ones)
        return namespace(like).concat([total, ones[:, None]], axis=1).T
