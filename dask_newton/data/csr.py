"""Sparse X on disk, in AnnData's layout: a group with the arrays ``data``, ``indices`` and ``indptr``.

Row i holds the values ``data[indptr[i]:indptr[i + 1]]`` in the columns ``indices[indptr[i]:indptr[i + 1]]``
(compressed sparse rows). The attributes are ``encoding-type`` "csr_matrix", ``encoding-version`` "0.1.0" and
``shape``; the writer adds ``block_rows``, the rows per chunk of the other columns. A block of rows is a range of
non-zeros whose length differs from block to block, while all chunks of an array have the same length. A block reads
all chunks that it overlaps; they are small, so that little is read twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy.sparse
import zarr

from dask_newton.arrays import to_host
from dask_newton.data.layout import sparse_row_bytes
from dask_newton.storage.column import Column
from dask_newton.storage.integrity import check_codecs
from dask_newton.storage.kinds import DatasetError

__all__ = ["CSRColumn", "StoredCSR", "read_rows"]

PARTS = ("data", "indices", "indptr")
_ENCODING = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"}
# Blocks take some MiB: with chunks of 2 MiB of float64 a block reads about a tenth too much.
_CHUNK_NONZEROS = 2**18
_CHUNK_ROWS = 2**16
_VERIFIED_BYTES = 32 * 2**20


@dataclass(frozen=True)
class StoredCSR:
    """A CSR group, with the shape and dtype of the array that it stands for.

    Attributes
    ----------
    group : zarr.Group
        With the arrays ``data``, ``indices`` and ``indptr``.
    shape : tuple of int
        Rows and columns.
    """

    group: zarr.Group
    shape: tuple[int, int]
    ndim: int = 2

    @classmethod
    def open(cls, group: zarr.Group, where: str) -> StoredCSR:
        """Check the metadata and the first and last entry of ``indptr``.

        Raises
        ------
        DatasetError
            If the group is in another encoding, is incomplete, or its arrays do not fit together.
        """
        encoding, shape = group.attrs.get("encoding-type"), group.attrs.get("shape")
        if encoding == "csc_matrix":
            raise DatasetError(
                f"{where} is stored by columns (csc_matrix), so rows cannot be read; store it by rows, for example "
                "with anndata after adata.X = adata.X.tocsr()."
            )
        if encoding != "csr_matrix":
            raise DatasetError(
                f"{where} is a group, not an array (encoding {encoding!r}); dense arrays and csr_matrix groups "
                "are read."
            )
        sizes = shape if isinstance(shape, list | tuple) else ()
        if len(sizes) != 2 or not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise DatasetError(f"{where} has the shape {shape!r} in its attributes; it must be [rows, columns].")
        stored = cls(group, cast(tuple[int, int], tuple(sizes)))
        stored._check(where)
        return stored

    @property
    def parts(self) -> dict[str, zarr.Array]:
        """The three arrays."""
        return {name: cast(zarr.Array, self.group[name]) for name in PARTS}

    @property
    def basename(self) -> str:
        """Name of the group in its parent."""
        return self.group.basename

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values, in native byte order."""
        return np.dtype(self.parts["data"].dtype.newbyteorder("="))

    @property
    def nnz(self) -> int:
        """Number of stored values."""
        return self.parts["data"].shape[0]

    @property
    def row_bytes(self) -> int:
        """Bytes of an average row in memory."""
        return sparse_row_bytes(self.nnz, self.shape[0], self.dtype)

    def verify(self, where: str) -> None:
        """Read all rows, block by block, and check every pointer and index."""
        rows = max(1, _VERIFIED_BYTES // self.row_bytes)
        for start in range(0, self.shape[0], rows):
            try:
                read_rows(self.group, slice(start, start + rows))
            except DatasetError as error:
                raise DatasetError(f"{where} is not a valid csr_matrix: {error}.") from error

    def _check(self, where: str) -> None:
        for name in PARTS:
            array = self.group.get(name)
            if not isinstance(array, zarr.Array) or array.ndim != 1:
                raise DatasetError(f"{where} has no array {name!r} of one dimension, which a csr_matrix must have.")
            check_codecs(array, where)
            kinds = "biuf" if name == "data" else "iu"
            if array.dtype.kind not in kinds:
                raise DatasetError(f"{name!r} in {where} has dtype {array.dtype}, which a csr_matrix cannot have.")
        lengths = {name: array.shape[0] for name, array in self.parts.items()}
        if lengths["data"] != lengths["indices"] or lengths["indptr"] != self.shape[0] + 1:
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DatasetError(
                f"The arrays of {where} do not fit together: it has {self.shape[0]} rows and the lengths {found}."
            )
        if self.shape[0]:
            ends = [int(_read(self.parts["indptr"], at, at + 1)[0]) for at in (0, self.shape[0])]
            if ends != [0, self.nnz]:
                raise DatasetError(
                    f"'indptr' in {where} goes from {ends[0]} to {ends[1]}; it must go from 0 to {self.nnz}, the "
                    "number of values."
                )


def _read(array: zarr.Array, start: int, stop: int) -> np.ndarray:
    return np.asarray(to_host(array[start:stop]))


def read_rows(group: zarr.Group, key: Any) -> Any:
    """Read a part of a CSR group that was opened before.

    Parameters
    ----------
    group : zarr.Group
        A group in the layout of this file.
    key : slice, int or pair of them
        Rows, or rows and columns.

    Returns
    -------
    scipy.sparse.csr_array
        With indices of 32 bits if they fit, else of 64.

    Raises
    ------
    DatasetError
        If the pointers of these rows decrease or are out of range, or an index is not a column.
    """
    n_rows, n_columns = cast(list[int], group.attrs["shape"])
    rows, columns = key if isinstance(key, tuple) else (key, slice(None))
    if isinstance(rows, slice):
        wanted = range(n_rows)[rows]
        start, stop = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
        block = _read_range(group, start, stop, n_columns)
        if columns == slice(None) and wanted.step == 1:
            return block
        return block[:: wanted.step, columns]
    return _read_range(group, rows, rows + 1, n_columns)[0, columns]


def _read_range(group: zarr.Group, start: int, stop: int, n_columns: int) -> scipy.sparse.csr_array:
    parts = {name: cast(zarr.Array, group[name]) for name in PARTS}
    indptr, nnz = _read(parts["indptr"], start, stop + 1), parts["data"].shape[0]
    if np.any(indptr[1:] < indptr[:-1]) or indptr[0] < 0 or indptr[-1] > nnz:
        raise DatasetError(
            f"the pointers of rows {start} to {stop - 1} decrease, or are out of range of the {nnz} values"
        )
    first, last = int(indptr[0]), int(indptr[-1])
    data, indices = _read(parts["data"], first, last), _read(parts["indices"], first, last)
    # With an index out of range, products would read or write outside of their vectors.
    if len(indices) and (indices.min() < 0 or indices.max() >= n_columns):
        raise DatasetError(f"an index in rows {start} to {stop - 1} is not one of the {n_columns} columns")
    index = np.int32 if max(last - first, n_columns) <= np.iinfo(np.int32).max else np.int64
    return scipy.sparse.csr_array(
        (
            data.astype(data.dtype.newbyteorder("="), copy=False),
            indices.astype(index, copy=False),
            (indptr - indptr[0]).astype(index),
        ),
        shape=(stop - start, n_columns),
    )


@dataclass
class CSRColumn:
    """A sparse X to which blocks of rows are appended; the counterpart of ``Column``."""

    group: zarr.Group
    n_columns: int
    rows: int
    streams: dict[str, _Stream]
    n_rows: int = 0
    nnz: int = 0

    @classmethod
    def create(cls, parent: zarr.Group, name: str, like: Any, rows: int, compress: bool) -> CSRColumn:
        """Create an empty group for rows like those of ``like``."""
        n_columns = like.shape[1]
        group = parent.create_group(name, attributes=_ENCODING | {"shape": [0, n_columns], "block_rows": rows})
        index = np.dtype(np.int32 if n_columns <= np.iinfo(np.int32).max else np.int64)
        lengths = {"data": _CHUNK_NONZEROS, "indices": _CHUNK_NONZEROS, "indptr": _CHUNK_ROWS}
        dtypes = {"data": like.dtype, "indices": index, "indptr": np.dtype(np.int64)}
        streams = {
            part: _Stream(Column.create(group, part, np.empty(0, dtypes[part]), lengths[part], ("value",), compress))
            for part in PARTS
        }
        streams["indptr"].push(np.zeros(1, np.int64))
        return cls(group, n_columns, rows, streams)

    def append(self, values: Any) -> None:
        """Write rows at the end."""
        # A slice shares the arrays of its matrix, so it need not begin at 0.
        first, last = int(values.indptr[0]), int(values.indptr[-1])
        self.streams["data"].push(values.data[first:last])
        self.streams["indices"].push(values.indices[first:last])
        self.streams["indptr"].push(values.indptr[1:].astype(np.int64) + (self.nnz - first))
        self.nnz += last - first
        self.n_rows += values.shape[0]

    def finish(self) -> None:
        """Write the remaining values, the shape, and the checksums."""
        for stream in self.streams.values():
            stream.finish()
        self.group.attrs["shape"] = [self.n_rows, self.n_columns]


class _Stream:
    """Values in pieces of any length, written in chunks of one length."""

    def __init__(self, column: Column) -> None:
        self.column, self.parts, self.held = column, [np.empty(0, column.array.dtype)], 0

    def push(self, values: np.ndarray) -> None:
        start = 0
        while self.held + len(values) - start >= self.column.rows:
            stop = start + self.column.rows - self.held
            self._write([*self.parts, values[start:stop]])
            start = stop
        # A copy, as the caller may reuse its array.
        self.parts.append(np.array(values[start:]))
        self.held += len(values) - start

    def finish(self) -> None:
        if self.held:
            self._write(self.parts)
        self.column.finish()

    def _write(self, parts: list[np.ndarray]) -> None:
        self.column.append(np.concatenate(parts, dtype=self.column.array.dtype, casting="same_kind"))
        self.parts, self.held = [], 0
