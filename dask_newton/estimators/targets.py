"""Targets that are numbers."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

from dask_newton.arrays import to_host
from dask_newton.estimators.inputs import Rows
from dask_newton.losses import Loss

__all__ = ["as_float", "numeric_targets", "require_outputs"]


def numeric_targets(rows: Rows) -> Rows:
    """Return the rows; refuse targets that are no numbers, before any work."""
    if rows.y.dtype.kind not in "fiub":
        raise ValueError(f"y has dtype {rows.y.dtype}; targets must be real numbers.")
    if isinstance(rows.y, da.Array) and rows.y.ndim == 2 and np.isnan(rows.y.shape[1]):
        raise ValueError("The number of columns of y is unknown; call y.compute_chunk_sizes() first.")
    return rows


def require_outputs(rows: Rows, loss: Loss) -> Loss:
    """Return the loss; refuse targets of another number of columns than it has outputs."""
    if rows.y.ndim == 2 and rows.y.shape[1] != loss.n_outputs:
        raise ValueError(f"y has {rows.y.shape[1]} columns and the loss has {loss.n_outputs} outputs: {loss}.")
    return loss


def as_float(y: Any, *, dtype: np.dtype) -> np.ndarray:
    """Return targets of a block, in NumPy."""
    return np.asarray(to_host(y), dtype=dtype)
