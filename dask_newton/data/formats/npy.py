"""Arrays of NumPy: ``.npy`` files, ``.npz`` archives, and sparse matrices of ``scipy.sparse.save_npz``.

Among all arrays given, the one of two dimensions (or the sparse matrix) is X and the one of one dimension is y.
Plain files are mapped; archives are read a batch of rows at a time.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse
from numpy.lib import format as npy

from dask_newton.data.aliases import Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.raw import RawData, RawFormat, ReadOptions, Splits
from dask_newton.data.layout import chunk_rows_for, default_chunk_rows, sparse_row_bytes
from dask_newton.storage.kinds import DatasetError

__all__ = ["FORMAT", "open_npy"]

_MAGIC = b"\x93NUMPY"
_SPARSE = {"data", "indices", "indptr", "shape", "format"}


@dataclass(frozen=True)
class _Array:
    """An array in a file: its shape, and how to read its rows in order."""

    where: str
    shape: tuple[int, ...]
    rows: int
    batches: Callable[[int], Iterator[Any]]


def open_npy(path: Any) -> np.ndarray:
    """Map a .npy file into memory.

    Raises
    ------
    DatasetError
        If it is not a .npy file, or holds Python objects.
    """
    with open(path, "rb") as file:
        if file.read(6) != _MAGIC:
            raise DatasetError(f"{path} is not a .npy file of NumPy; write one with numpy.save.")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise DatasetError(f"{path} cannot be read: {error}. Save it again as numbers or strings.") from error


def _recognise(path: Path, head: bytes) -> bool:
    return head.startswith(_MAGIC) or (head.startswith(b"PK") and path.suffix == ".npz")


def _read(splits: Splits, options: ReadOptions, progress: Progress | None) -> RawData:
    batches: dict[str, Any] = {}
    notes = []
    for name, paths in splits.items():
        arrays = [array for path in paths for array in _arrays(path)]
        found = {rank: [array for array in arrays if len(array.shape) == rank] for rank in (1, 2)}
        if len(found[2]) != 1 or len(found[1]) > 1 or len(arrays) > 2:
            listed = ", ".join(f"{array.where} {array.shape}" for array in arrays)
            raise DatasetError(
                f"One array of two dimensions is needed, X, and at most one of one dimension, y; there are {listed}."
            )
        (X,), y = found[2], next(iter(found[1]), None)
        notes.append(f"X is {X.where}" + (f", y is {y.where}." if y is not None else "; there is no y."))
        if y is not None and y.shape[0] != X.shape[0]:
            raise DatasetError(f"{X.where} has {X.shape[0]} rows, but {y.where} has {y.shape[0]}.")
        rows = X.rows
        stream = X.batches(rows) if y is None else zip(X.batches(rows), y.batches(rows), strict=True)
        batches[name] = RowBatches(X.shape[0], stream)
    return RawData(batches, notes=notes)


def _arrays(path: Path) -> list[_Array]:
    if path.suffix != ".npz":
        mapped = open_npy(path)
        rows = chunk_rows_for(mapped) if mapped.ndim == 2 else 1

        def slices(rows: int) -> Iterator[np.ndarray]:
            return (np.array(mapped[i : i + rows]) for i in range(0, len(mapped), rows))

        return [_Array(str(path), mapped.shape, rows, slices)]
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise DatasetError(f"{path} is not an .npz archive, or is truncated ({error}); copy it again.") from error
    if _SPARSE <= set(names):
        return [_sparse(path)]
    return [_dense(path, name) for name in names]


def _dense(path: Path, name: str) -> _Array:
    with _member(path, name) as (_, shape, dtype):
        width = int(np.prod(shape[1:])) * dtype.itemsize

    def batches(rows: int) -> Iterator[np.ndarray]:
        with _member(path, name) as (file, _, dtype):
            for start in range(0, shape[0], rows):
                count = min(rows, shape[0] - start)
                data = _exactly(file, count * width, path)
                yield np.frombuffer(data, dtype).reshape(count, *shape[1:])

    return _Array(f"{name!r} of {path}", shape, default_chunk_rows(width), batches)


def _sparse(path: Path) -> _Array:
    with np.load(path, allow_pickle=False) as archive:
        kind, shape = archive["format"].item(), tuple(archive["shape"].tolist())
        if kind not in (b"csr", "csr"):
            raise DatasetError(f"{path} is stored as {kind!r}; save it by rows: save_npz(path, X.tocsr()).")
        indptr = archive["indptr"]  # as long as y; the values are streamed

    def batches(rows: int) -> Iterator[Any]:
        with _member(path, "data") as (data, _, values), _member(path, "indices") as (indices, _, index):
            for start in range(0, shape[0], rows):
                ends = indptr[start : start + rows + 1]
                count = int(ends[-1] - ends[0])
                parts = (
                    np.frombuffer(_exactly(data, count * values.itemsize, path), values),
                    np.frombuffer(_exactly(indices, count * index.itemsize, path), index),
                    ends - ends[0],
                )
                yield scipy.sparse.csr_array(parts, shape=(len(ends) - 1, shape[1]))

    dtype = np.dtype(np.float64)
    return _Array(str(path), shape, default_chunk_rows(sparse_row_bytes(int(indptr[-1]), shape[0], dtype)), batches)


@contextmanager
def _member(path: Path, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]]:
    """Open an array of an archive, positioned after its header."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran_order, dtype = read(file)
            if dtype.hasobject:
                raise DatasetError(f"{name!r} of {path} holds Python objects; save numbers or strings.")
            if fortran_order and len(shape) > 1:
                raise DatasetError(
                    f"{name!r} of {path} is stored by columns; save numpy.ascontiguousarray of it, so that it can "
                    "be read by rows."
                )
            yield file, shape, dtype
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DatasetError(f"{path} is damaged or truncated ({error}); copy it again.") from error


def _exactly(file: IO[bytes], size: int, path: Path) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise DatasetError(f"{path} ends early; it is truncated: copy it again.")
    return data


FORMAT = RawFormat("npy", "arrays of NumPy or SciPy (.npy, .npz)", _recognise, _read)
