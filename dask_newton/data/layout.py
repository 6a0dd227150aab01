"""How a data set lies on disk: names, dimensions, chunk size, checksums. Shared by writer and reader.

A data set is a Zarr v3 group with the arrays ``X`` (sample, feature), ``y`` (sample) and optionally
``sample_weight`` and ``offset`` (sample), the coordinates ``feature`` and ``class``, and attributes. All
columns have the same rows per chunk, so one block of rows is one chunk of each array. A sparse ``X`` is a group
instead, see ``csr``.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

__all__ = [
    "COLUMNS",
    "CREATED",
    "FORMAT",
    "FORMAT_KEY",
    "INTERNAL",
    "Columns",
    "DatasetError",
    "checksum",
    "chunk_rows_for",
    "default_chunk_rows",
    "dimensions",
    "is_string",
    "jsonable",
    "sparse_row_bytes",
]

FORMAT = 1
FORMAT_KEY = "dask_newton_format"
COLUMNS = ("X", "y", "sample_weight", "offset")
# Attributes that the writer owns: those of a data set that was opened are not handed on to the next one.
INTERNAL = frozenset({FORMAT_KEY, "complete", "class_counts"})
CREATED = frozenset({"n_classes", "created_by"})

# One chunk is the unit of work of one task: large enough to hide the cost of a task, small enough for many
# blocks.
_CHUNK_BYTES = 32 * 2**20

# NumPy arrays; X may be a scipy.sparse.csr_array.
Columns = dict[str, Any]


class DatasetError(ValueError):
    """A data set or raw file is not what it should be; the message says where, what and what to do."""


def default_chunk_rows(row_bytes: int) -> int:
    """Rows that make a chunk of about 32 MiB of X."""
    return max(1, _CHUNK_BYTES // max(1, row_bytes))


def sparse_row_bytes(nnz: int, n_rows: int, dtype: np.dtype[Any]) -> int:
    """Bytes of an average sparse row in memory, with indices of 32 bits."""
    return int(nnz / max(1, n_rows) * (dtype.itemsize + 4)) + 4


def chunk_rows_for(X: Any) -> int:
    """Rows that make a chunk of about 32 MiB, by the density of ``X`` if it is sparse."""
    if scipy.sparse.issparse(X):
        return default_chunk_rows(sparse_row_bytes(X.nnz, X.shape[0], X.dtype))
    if scipy.sparse.issparse(getattr(X, "_meta", None)):
        return 1  # the blocks of a Dask array are computed one at a time, as their density is not known
    return default_chunk_rows(int(X.shape[1]) * np.dtype(X.dtype).itemsize)


def is_string(dtype: np.dtype[Any]) -> bool:
    """Whether ``dtype`` holds text: fixed width (U) or variable width (T)."""
    return dtype.kind in "UT"


def dimensions(name: str, ndim: int) -> tuple[str, ...]:
    """Names of the dimensions of a column."""
    return ("sample", "feature" if name == "X" else "target")[:ndim]


def checksum(values: np.ndarray) -> int:
    """CRC-32 of the values of a chunk: their little-endian bytes in C order, or NUL-joined UTF-8 for text."""
    if is_string(values.dtype):
        return zlib.crc32("\0".join(values.ravel().tolist()).encode())
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return zlib.crc32(little.view(np.uint8).reshape(-1).data)


def jsonable(value: Any) -> Any:
    """Turn NumPy scalars and arrays, paths and mappings into what JSON holds; leave the rest to JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    return value
