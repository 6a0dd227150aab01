"""What the user gives -> row chunks: one adapter for all containers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import is_dask_collection

__all__ = ["Rows", "is_lazy", "open_rows", "row_chunks"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """The columns of a data set, as Dask arrays with the same row chunks, or all in memory.

    Attributes
    ----------
    X : array (n_samples, n_features)
    y, sample_weight : array (n_samples,) or None
    offset : array or None
    feature_names : ndarray of str or None
    """

    X: Any
    y: Any
    sample_weight: Any
    offset: Any = None
    feature_names: Any = None


def is_lazy(X: Any) -> bool:
    """Whether X is a Dask collection or a path to a Zarr group, rather than an array in memory."""
    return isinstance(X, str | Path) or is_dask_collection(X)


def open_rows(X: Any, y: Any = None, sample_weight: Any = None) -> Rows:
    """Open a Zarr path, or bring Dask inputs to common row chunks.

    Raises
    ------
    ValueError
        If shapes, lengths or chunks do not fit together.
    TypeError
        If X does not hold real numbers.
    """
    names = offset = None
    if isinstance(X, str | Path):
        from dask_newton.data import open_dataset

        dataset = open_dataset(X)
        names = dataset.feature_names
        X, y = dataset.X, dataset.y if y is None else y
        sample_weight = dataset.sample_weight if sample_weight is None else sample_weight
    if not isinstance(X, da.Array):
        raise TypeError(
            f"X is a {type(X).__module__}.{type(X).__name__}; give a Dask array, such as X.to_dask_array() of a "
            "data frame."
        )
    X = _matrix(X)
    return Rows(X, _like(X, y, "y"), _like(X, sample_weight, "sample_weight"), offset, names)


def row_chunks(array: da.Array | None, n_blocks: int) -> list[Any]:
    """Return one delayed chunk per row block; Nones for None."""
    return [None] * n_blocks if array is None else list(array.to_delayed().ravel())


def _matrix(X: da.Array) -> da.Array:
    """Check X, one chunk over the columns, floating point."""
    if X.ndim != 2:
        raise ValueError(
            f"X must have two dimensions (samples, features) and has {X.ndim}. Reshape your data either using "
            "X.reshape(-1, 1) if it has one feature or X.reshape(1, -1) if it is one sample."
        )
    if X.dtype.kind not in "fiub":
        raise TypeError(f"X has dtype {X.dtype}; it must hold real numbers. Encode other columns before fit.")
    if np.isnan(X.shape[1]):
        raise ValueError("The number of columns of X is unknown; call X.compute_chunk_sizes() first.")
    if X.shape[1] == 0:
        raise ValueError(f"X has 0 features (shape={X.shape}); at least 1 is needed.")
    if X.numblocks[1] > 1:
        logger.info("X is chunked in columns (%s); rechunking to one chunk over all columns.", X.chunks[1])
        X = X.rechunk({1: -1})
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)


def _like(X: da.Array, a: Any, name: str) -> da.Array | None:
    """Bring a 1-D companion of X to the row chunks of X."""
    if a is None:
        return None
    if not isinstance(a, da.Array):
        a = np.asarray(a)
        if np.isnan(X.shape[0]):
            logger.info("%s is in memory and X has unknown chunk sizes; computing those first.", name)
            X.compute_chunk_sizes()
        if a.ndim == 0:
            a = np.full(X.shape[0], a)
    if a.ndim == 2 and a.shape[1] == 1:
        a = a[:, 0]
    if a.ndim != 1:
        raise ValueError(f"{name} must have one dimension and has shape {a.shape}; give one value per sample.")
    unknown = np.isnan(X.shape[0]) or np.isnan(a.shape[0])
    if not unknown and a.shape[0] != X.shape[0]:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {X.shape[0]}, {name} has {a.shape[0]}."
        )
    if not isinstance(a, da.Array):
        return da.from_array(a, chunks=(X.chunks[0],))
    if unknown:
        if a.numblocks[0] != X.numblocks[0]:
            raise ValueError(
                f"X has {X.numblocks[0]} row chunks and {name} has {a.numblocks[0]}, with unknown sizes; "
                "chunk them alike, or call compute_chunk_sizes() on both."
            )
        return a
    return a if a.chunks[0] == X.chunks[0] else a.rechunk((X.chunks[0],))
