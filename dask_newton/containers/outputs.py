"""Functions of rows, applied chunk by chunk; results have the type of the container that the user passed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import is_dask_collection

from dask_newton.blocks.names import delayed
from dask_newton.containers.frames import frame_like, is_frame
from dask_newton.containers.inputs import Rows, block_matrix, delayed_chunks
from dask_newton.containers.xarrays import is_labelled, labelled_like

__all__ = ["map_rows", "sum_rows"]


def map_rows(
    fn: Callable[..., Any], rows: Rows, columns: Sequence[Any] | np.ndarray | None, dtype: Any, dim: str
) -> Any:
    """Apply ``fn(X, offset)`` to the rows, or lazily to each of their chunks.

    Parameters
    ----------
    fn : callable
        Returns one value, or one row of values, per row.
    rows : Rows
    columns : sequence or None
        Labels of the columns of the result; None for a one-dimensional result.
    dtype : dtype or None
        dtype of the result; None means that of X.
    dim : str
        Name of the dimension of the columns.

    Returns
    -------
    array, Series, DataFrame or DataArray
        For arrays and data frames in memory, an array of NumPy or of their device. For a Dask array or Zarr group, a
        lazy Dask array with its row chunks. For a Dask data frame, a Dask series or data frame with its index and
        divisions. For a DataArray, a DataArray with its sample coordinates.
    """
    on_chunk = functools.partial(_on_chunk, fn)
    values: Any
    if not rows.lazy:
        values = on_chunk(rows.X, rows.offset)
    else:
        dtype = np.dtype(rows.X.dtype if dtype is None else dtype)
        # A one-dimensional offset would be broadcast along the columns.
        offset = rows.offset[:, None] if rows.offset is not None and rows.offset.ndim == 1 else rows.offset
        arrays = (rows.X,) if offset is None else (rows.X, offset)
        if columns is None:
            values = da.map_blocks(
                on_chunk, *arrays, token="newton-predictions", drop_axis=1, dtype=dtype, meta=np.empty((0,), dtype)
            )
        else:
            chunks, meta = (rows.X.chunks[0], (len(columns),)), np.empty((0, 0), dtype)
            values = da.map_blocks(on_chunk, *arrays, token="newton-predictions", chunks=chunks, dtype=dtype, meta=meta)
    if is_labelled(rows.container):
        return labelled_like(values, rows.container, columns, dim)
    # pandas input gives NumPy output, as in scikit-learn, whose tools index columns of predictions by number.
    if is_frame(rows.container) and is_dask_collection(rows.container):
        return frame_like(values, rows.container, columns)
    return values


def sum_rows(fn: Callable[..., Any], rows: Rows) -> np.ndarray:
    """Return the sum over all chunks of ``fn(X, y, sample_weight, offset)``, a tuple of numbers."""
    columns = (rows.X, rows.y, rows.sample_weight, rows.offset)
    if not rows.lazy:
        return np.asarray(fn(*columns), dtype=np.float64)
    chunks = zip(*(delayed_chunks(a, rows.X.numblocks[0]) for a in columns), strict=True)
    score = delayed(fn, "score")
    return np.array(dask.compute(*(score(*chunk) for chunk in chunks)), dtype=np.float64).sum(axis=0)


def _on_chunk(fn: Callable[..., Any], X: Any, offset: Any = None) -> Any:
    return fn(block_matrix(X), offset)
