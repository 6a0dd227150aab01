"""Data frames and series of pandas or Dask: their values as arrays, and predictions with their index."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from dask.base import is_dask_collection
from dask.utils import is_dataframe_like, is_series_like

from dask_newton.arrays import to_host
from dask_newton.blocks.names import delayed

__all__ = ["column_array", "frame_array", "frame_like", "is_frame"]

_NAMED = 10  # columns in a message


def is_frame(a: Any) -> bool:
    """Whether ``a`` is a data frame."""
    return is_dataframe_like(a)


def frame_array(frame: Any, name: str) -> Any:
    """Return a data frame as one floating point array; as CSR if all columns are sparse.

    A Dask data frame becomes a Dask array with one chunk of unknown length per partition.

    Raises
    ------
    TypeError
        If columns do not hold numbers or booleans.
    ValueError
        If values of a nullable type are missing; for a Dask data frame, when it is computed.
    """
    dtypes = list(frame.dtypes)
    wrong = [
        f"{column!r} ({dtype})" for column, dtype in zip(frame.columns, dtypes, strict=True) if dtype.kind not in "biuf"
    ]
    if wrong:
        raise TypeError(
            f"{name} has columns that do not hold real numbers: {_listed(wrong)}. Encode or drop them before fit."
        )
    common = np.result_type(*map(_plain, dtypes)) if dtypes else np.dtype(np.float64)
    dtype = common if common in (np.float32, np.float64) else np.dtype(np.float64)
    convert = functools.partial(_numbers, name=name, dtype=dtype)
    return _partitions(frame, convert, (len(dtypes),), dtype) if is_dask_collection(frame) else convert(frame)


def column_array(a: Any, name: str) -> Any:
    """Return a series or data frame as an array; return anything else unchanged.

    Raises
    ------
    ValueError
        If values are missing; for a Dask collection, when it is computed.
    """
    if is_frame(a):
        if len(a.columns) > 1:
            return frame_array(a, name)
        a = a[a.columns[0]]
    if not is_series_like(a):
        return a
    convert = functools.partial(_values, name=name)
    return _partitions(a, convert, (), _plain(a.dtype)) if is_dask_collection(a) else convert(a)


def frame_like(values: da.Array, frame: Any, columns: Any) -> Any:
    """Return lazy predictions as a Dask series or data frame with the index and the divisions of ``frame``."""
    from dask.dataframe import from_delayed

    labelled = functools.partial(_labelled, columns=None if columns is None else list(columns))
    parts = zip(values.to_delayed().ravel(), _delayed(frame), strict=True)
    meta = labelled(np.empty((0,) if columns is None else (0, len(columns)), values.dtype), frame._meta)
    lazily = delayed(labelled, "label-predictions")
    lazy = [lazily(*part) for part in parts]
    return from_delayed(lazy, meta=meta, divisions=frame.divisions, verify_meta=False)


def _labelled(values: Any, frame: Any, *, columns: list[Any] | None) -> Any:
    values = to_host(values)
    return pd.Series(values, frame.index) if columns is None else pd.DataFrame(values, frame.index, columns)


def _delayed(frame: Any) -> list[Any]:
    """Return one delayed value per partition.

    The expression is simplified, so that unused columns are not read. It is not optimised further: Dask might fuse
    partitions of X and not those of y, which comes from the same file.
    """
    return frame.simplify().to_delayed(optimize_graph=False)


def _partitions(frame: Any, convert: Callable[[Any], Any], tail: tuple[int, ...], dtype: np.dtype[Any]) -> da.Array:
    lazily = delayed(convert, "read-frame")
    parts = [da.from_delayed(lazily(part), (np.nan, *tail), dtype=dtype) for part in _delayed(frame)]
    return da.concatenate(parts, allow_unknown_chunksizes=True)


def _plain(dtype: Any) -> np.dtype[Any]:
    """Return NumPy's dtype for the values of a column."""
    if isinstance(dtype, np.dtype):
        return dtype
    if isinstance(dtype, pd.SparseDtype):
        return dtype.subtype
    return np.dtype(dtype.numpy_dtype) if dtype.kind in "biuf" else np.dtype(object)


def _numbers(frame: Any, *, name: str, dtype: np.dtype[Any]) -> Any:
    dtypes = list(frame.dtypes)
    missing = [
        repr(column)
        for i, column in enumerate(frame.columns)
        if not isinstance(dtypes[i], np.dtype) and frame.iloc[:, i].isna().any()
    ]
    if missing:
        raise ValueError(
            f"{name} has missing values (NA) in the columns {_listed(missing)}. Impute or drop those rows before fit."
        )
    if dtypes and all(isinstance(t, pd.SparseDtype) and t.fill_value == 0 for t in dtypes):
        return frame.sparse.to_coo().tocsr().astype(dtype, copy=False)
    return frame.to_numpy(dtype=dtype)


def _values(series: Any, *, name: str) -> np.ndarray:
    missing = int(series.isna().sum())
    if missing:
        raise ValueError(f"Input {name} contains NaN or NA, {missing} times; drop those rows before fit.")
    return series.to_numpy(dtype=_plain(series.dtype) if series.dtype.kind in "biuf" else None)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
