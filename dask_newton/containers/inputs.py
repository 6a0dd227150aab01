"""From the user's container to row chunks: one adapter for all containers.

NumPy, SciPy CSR, arrays on a device, pandas, xarray in memory -> arrays in memory. Dask arrays and data frames, xarray
over Dask arrays, Zarr groups by path -> Dask arrays with the same row chunks.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import is_dask_collection
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import _check_sample_weight, _check_y

from dask_newton.arrays import host_dtype, is_array, is_host, namespace, to_host
from dask_newton.containers.frames import column_array, frame_array, is_frame
from dask_newton.containers.xarrays import coordinate, is_labelled, labelled_column, labelled_matrix, variables

__all__ = ["Rows", "block_matrix", "column_values", "open_rows", "delayed_chunks"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """The columns of a data set, as Dask arrays with the same row chunks, or all in memory.

    Attributes
    ----------
    X : array (n_samples, n_features)
    y : array (n_samples,) or (n_samples, n_targets), or None
    sample_weight : array (n_samples,) or None
    offset : array (n_samples,) or (n_samples, n_outputs), or None
    feature_names : sequence of str or None
    container : object
        The X that the user passed; predictions are returned in its type.
    """

    X: Any
    y: Any
    sample_weight: Any
    offset: Any = None
    feature_names: Any = None
    container: Any = None

    @property
    def lazy(self) -> bool:
        """Whether the columns are Dask arrays."""
        return isinstance(self.X, da.Array)


def open_rows(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    offset: Any = None,
    *,
    estimator: Any = None,
    multi_output: bool = False,
    y_numeric: bool = False,
    ensure_all_finite: bool = False,
) -> Rows:
    """Open any container: extract its arrays and names, validate them, and give Dask arrays common row chunks.

    Parameters
    ----------
    X, y, sample_weight, offset
        As passed by the user. Explicit arguments take precedence over what X contains, such as the y of a Zarr group.
    estimator : estimator, optional
        Named in messages.
    multi_output, y_numeric, ensure_all_finite : bool
        As for scikit-learn's ``check_X_y``. A fit looks for NaN in its first pass instead, on all cores.

    Raises
    ------
    ValueError
        If shapes, lengths or chunks are inconsistent.
    TypeError
        If X does not hold real numbers.
    """
    rows = _unwrapped(X, y, sample_weight, offset)
    if rows.lazy:
        return _chunked(rows, multi_output)
    if is_dask_collection(rows.X):
        raise TypeError(
            f"X is a {type(X).__module__}.{type(X).__name__}; give a Dask array, such as X.to_dask_array() of a "
            "data frame."
        )
    return _in_memory(rows, estimator, multi_output, y_numeric, ensure_all_finite)


def delayed_chunks(array: da.Array | None, n_blocks: int) -> list[Any]:
    """Return one delayed chunk per block of rows; a list of None for None."""
    return [None] * n_blocks if array is None else list(array.to_delayed().ravel())


def block_matrix(X: Any) -> Any:
    """Return a chunk of X in the form that the kernels need: floating point, C-contiguous or CSR.

    The metadata of a Dask array may be wrong, so the chunk itself decides.
    """
    if hasattr(X, "tocsr"):
        X = X.tocsr()
        if not X.has_canonical_format:  # duplicate entries count as their sum, also when squared
            X = X.copy()
            X.sum_duplicates()
    elif isinstance(X, np.ndarray):
        X = np.ascontiguousarray(X)
    if host_dtype(X.dtype) in (np.float32, np.float64):
        return X
    return X.astype(np.float64) if hasattr(X, "tocsr") else namespace(X).astype(X, namespace(X).float64)


def _unwrapped(X: Any, y: Any, sample_weight: Any, offset: Any) -> Rows:
    """Extract the arrays and the feature names from a container."""
    container, names = X, None
    found: dict[str, Any] = {}
    if isinstance(X, str | Path):
        from dask_newton.data import open_dataset

        X = open_dataset(X)
    if _is_dataset(X):
        dataset = X
        names = None if dataset.feature_names is None else [str(label) for label in dataset.feature_names.tolist()]
        found = {name: getattr(dataset, name) for name in ("X", "y", "sample_weight", "offset")}
        X = found["X"]
    elif is_labelled(X):
        found = variables(X)
        container = labelled_matrix(found["X"])
        X, names = container.data, coordinate(container, "feature")
    elif is_frame(X):
        names, X = list(X.columns), frame_array(X, "X")
    given = {"y": y, "sample_weight": sample_weight, "offset": offset}
    columns = {name: column_values(found.get(name) if a is None else a, name, container) for name, a in given.items()}
    return Rows(X, columns["y"], columns["sample_weight"], columns["offset"], names, container)


def _is_dataset(X: Any) -> bool:
    data = sys.modules.get("dask_newton.data")  # imported by anyone who has a Dataset
    return data is not None and isinstance(X, data.Dataset)


def column_values(a: Any, name: str, X: Any = None) -> Any:
    """Return the values of a series, data frame or DataArray with one or more values per row of X.

    Arrays on a device are copied to the host; they go back to the device with their blocks.
    """
    a = labelled_column(a, X, name) if is_labelled(a) else column_array(a, name)
    return to_host(a) if is_array(a) and not is_dask_collection(a) else a


def _in_memory(rows: Rows, estimator: Any, multi_output: bool, y_numeric: bool, ensure_all_finite: bool) -> Rows:
    """Validate arrays in memory with scikit-learn."""
    X = rows.X
    if hasattr(X, "tocsr") and getattr(X, "format", None) != "csr":
        logger.info("X is a %s; converting it to CSR.", type(X).__name__)
        X = X.tocsr()
    if is_array(X) and not is_host(X):
        _check_shape(X)
        X = block_matrix(X)
    else:
        X = check_array(
            X,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            order="C",
            ensure_all_finite=ensure_all_finite,
            estimator=estimator,
            input_name="X",
        )
    columns = (rows.y, rows.sample_weight, rows.offset)
    y, weight, offset = (column_values(a.compute(), "") if is_dask_collection(a) else a for a in columns)
    if y is not None:
        y = _check_y(y, multi_output=multi_output, y_numeric=y_numeric, estimator=estimator)
        check_consistent_length(X, y)
    if weight is not None:
        weight = _check_sample_weight(weight, X, dtype=host_dtype(X.dtype), ensure_non_negative=True)
    if offset is not None:
        offset = check_array(offset, ensure_2d=False, dtype=host_dtype(X.dtype), input_name="offset")
        check_consistent_length(X, offset)
    return replace(rows, X=X, y=y, sample_weight=weight, offset=offset)


def _chunked(rows: Rows, multi_output: bool) -> Rows:
    """Rechunk Dask arrays to one chunk over the columns and common row chunks."""
    X = rows.X
    _check_shape(X)
    if X.dtype.kind not in "fiub":
        raise TypeError(f"X has dtype {X.dtype}; it must hold real numbers. Encode categorical columns before fit.")
    if X.numblocks[1] > 1:
        logger.info("X is chunked in columns (%s); rechunking to one chunk over all columns.", X.chunks[1])
        X = X.rechunk({1: -1})
    # A shallow copy: chunk sizes computed below are set on it, and the user's array stays unchanged.
    X = X.copy() if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
    return replace(
        rows,
        X=X,
        y=_like(X, rows.y, "y", 2 if multi_output else 1),
        sample_weight=_like(X, rows.sample_weight, "sample_weight", 1),
        offset=_like(X, rows.offset, "offset", 2),
    )


def _check_shape(X: Any) -> None:
    if X.ndim != 2:
        raise ValueError(
            f"X must have two dimensions (samples, features) and has {X.ndim}. Reshape your data either using "
            "X.reshape(-1, 1) if it has one feature or X.reshape(1, -1) if it is one sample."
        )
    if np.isnan(X.shape[1]):
        raise ValueError("The number of columns of X is unknown; call X.compute_chunk_sizes() first.")
    if X.shape[1] == 0:
        raise ValueError(f"X has 0 features (shape={X.shape}); at least 1 is needed.")


def _like(X: da.Array, a: Any, name: str, max_ndim: int) -> da.Array | None:
    """Rechunk an array with one value (or, for ``max_ndim=2``, one row) per sample like the rows of X."""
    if a is None:
        return None
    if not isinstance(a, da.Array):
        a = np.asarray(a)
        if np.isnan(X.shape[0]):
            logger.info("%s is in memory and X has unknown chunk sizes; computing those first.", name)
            X.compute_chunk_sizes()
        if a.ndim == 0:
            a = np.full(X.shape[0], a)
    if a.ndim == 2 and a.shape[1] == 1 and max_ndim == 1:
        a = a[:, 0]
    if not 1 <= a.ndim <= max_ndim:
        raise ValueError(
            f"{name} must have one dimension{' or two' if max_ndim == 2 else ''} and has shape {a.shape}; give one "
            f"value per sample{' or one for each output' if max_ndim == 2 else ''}."
        )
    unknown = np.isnan(X.shape[0]) or np.isnan(a.shape[0])
    if not unknown and a.shape[0] != X.shape[0]:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {X.shape[0]}, {name} has {a.shape[0]}."
        )
    columns = (-1,) * (a.ndim - 1)
    if not isinstance(a, da.Array):
        return da.from_array(a, chunks=(X.chunks[0], *columns))
    if unknown:
        if a.numblocks[0] != X.numblocks[0]:
            raise ValueError(
                f"X has {X.numblocks[0]} row chunks and {name} has {a.numblocks[0]}, with unknown sizes; "
                "give both the same chunks, or call compute_chunk_sizes() on both."
            )
        return a.rechunk({1: -1}) if columns else a
    return a.rechunk((X.chunks[0], *columns))
