"""The layout of a data set on disk: names, dimensions and sizes of chunks.

A data set is a Zarr v3 group with the arrays ``X`` (sample, feature), ``y`` (sample) and optionally
``sample_weight`` and ``offset`` (sample), the coordinates ``feature`` and ``class``, and attributes. All
columns have the same rows per chunk, so one block of rows is one chunk of each array. A sparse ``X`` is a group
instead, see ``csr``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from dask_newton.storage.kinds import DATASET

__all__ = [
    "COLUMNS",
    "CREATED",
    "INTERNAL",
    "chunk_rows_for",
    "default_chunk_rows",
    "dimensions",
    "sparse_row_bytes",
]

COLUMNS = ("X", "y", "sample_weight", "offset")
# Attributes that the writer sets itself; they are not copied from a data set that was opened.
INTERNAL = frozenset({DATASET.key, "complete", "class_counts"})
CREATED = frozenset({"n_classes", "created_by"})

# A chunk is the work of one task: large enough to hide the overhead of a task, small enough to have many blocks.
_CHUNK_BYTES = 32 * 2**20


def dimensions(name: str, ndim: int) -> tuple[str, ...]:
    """Return the names of the dimensions of a column."""
    return ("sample", "feature" if name == "X" else "target")[:ndim]


def default_chunk_rows(row_bytes: int) -> int:
    """Return the rows of a chunk of about 32 MiB of X."""
    return max(1, _CHUNK_BYTES // max(1, row_bytes))


def sparse_row_bytes(nnz: int, n_rows: int, dtype: np.dtype[Any]) -> int:
    """Return the bytes of an average sparse row in memory, with indices of 32 bits."""
    return int(nnz / max(1, n_rows) * (dtype.itemsize + 4)) + 4


def chunk_rows_for(X: Any) -> int:
    """Return the rows of a chunk of about 32 MiB, by the density of ``X`` if it is sparse."""
    if scipy.sparse.issparse(X):
        return default_chunk_rows(sparse_row_bytes(X.nnz, X.shape[0], X.dtype))
    if scipy.sparse.issparse(getattr(X, "_meta", None)):
        return 1  # the blocks of a Dask array are computed one at a time, as their density is not known
    return default_chunk_rows(int(X.shape[1]) * np.dtype(X.dtype).itemsize)
