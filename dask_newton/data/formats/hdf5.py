"""HDF5: sparse counts of 10x Genomics, sparse X of AnnData (.h5ad), or plain data sets ``X`` and ``y``.

A file of 10x Genomics has a group (``matrix``, or in older files the name of a genome) with the matrix of
features x cells stored by columns, which is cells x features by rows: ``data``, ``indices``, ``indptr`` (one
longer than the number of cells), ``shape`` (features, cells), ``barcodes`` of the cells, names of the features. It has
no labels; they come from a table of barcodes and labels, such as the ``clusters.csv`` that 10x publishes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from dask_newton.data.aliases import Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.raw import RawData, RawFormat, ReadOptions, Splits
from dask_newton.data.layout import default_chunk_rows, sparse_row_bytes
from dask_newton.storage.kinds import DatasetError

__all__ = ["FORMAT", "open_hdf5"]

_SPARSE = {"data", "indices", "indptr"}


def open_hdf5(path: Path) -> Any:
    """Open a file with h5py.

    Raises
    ------
    DatasetError
        If h5py is not installed, or the file is not an HDF5 file or is truncated.
    """
    try:
        import h5py
    except ImportError as error:
        raise DatasetError("Reading HDF5 needs h5py: pip install 'dask-newton[hdf5]'.") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path} cannot be opened as HDF5, it is damaged or truncated: {error}") from error


def _recognise(path: Path, head: bytes) -> bool:
    return head.startswith(b"\x89HDF\r\n\x1a\n")


def _read(splits: Splits, options: ReadOptions, progress: Progress | None) -> RawData:
    data = RawData({})
    for name, paths in splits.items():
        if len(paths) != 1:
            raise DatasetError(f"Give one HDF5 file per split, not {len(paths)}.")
        with open_hdf5(paths[0]) as file:
            group = _sparse_group(file)
            if group is None and "X" not in file:
                raise DatasetError(
                    f"{paths[0]} holds {', '.join(file) or 'nothing'}; it must hold 'X' and 'y', or a sparse group "
                    "with data, indices, indptr and shape."
                )
            if group is None:
                data.splits[name] = _plain(paths[0], file)
                data.notes.append(f"X is the data set 'X' of {paths[0].name}.")
                continue
            shape, names = _shape(file[group], paths[0]), _feature_names(file, group)
            labels = None
            if options.labels is not None:
                labels = _labels(options.labels, file, group, paths[0])
            elif "y" in file:
                labels = file["y"][:]
        if labels is not None and len(labels) != shape[0]:
            raise DatasetError(f"{paths[0]} has {shape[0]} rows, but there are {len(labels)} labels.")
        data.splits[name] = _sparse(paths[0], group, shape, labels)
        data.feature_names = names if names is not None and len(names) == shape[1] else None
        data.notes.append(f"X is the sparse group {group!r} of {paths[0].name}, {shape[0]} x {shape[1]}.")
    return data


def _sparse_group(file: Any) -> str | None:
    groups = [name for name, node in file.items() if hasattr(node, "keys") and set(node) >= _SPARSE]
    return groups[0] if len(groups) == 1 or "X" not in groups and groups else "X" if groups else None


def _shape(group: Any, path: Path) -> tuple[int, int]:
    encoding = group.attrs.get("encoding-type")
    if encoding not in (None, "csr_matrix"):
        raise DatasetError(f"{path} stores {group.name} as {encoding!r}; it must be stored by rows, csr_matrix.")
    sizes = group["shape"][:] if "shape" in group else group.attrs.get("shape", ())
    if len(sizes) != 2:
        raise DatasetError(f"{path} does not say the shape of {group.name}.")
    # 10x writes features x cells by columns, AnnData cells x features by rows: the same three arrays.
    rows, columns = (int(size) for size in (sizes if encoding else sizes[::-1]))
    if len(group["indptr"]) != rows + 1 or len(group["data"]) != len(group["indices"]):
        raise DatasetError(
            f"The arrays of {group.name} in {path} do not fit together: {rows} rows need {rows + 1} pointers, but "
            f"there are {len(group['indptr'])}; there are {len(group['data'])} values and {len(group['indices'])} "
            "indices."
        )
    return rows, columns


def _feature_names(file: Any, group: str) -> list[str] | None:
    for name in (f"{group}/features/id", f"{group}/genes", "var/_index"):
        if name in file:
            return [text.decode() for text in file[name][:].tolist()]
    return None


def _labels(table: Path, file: Any, group: str, path: Path) -> np.ndarray:
    """Return the label of each row from a table with a header, whose first columns are barcode and label."""
    if f"{group}/barcodes" not in file:
        raise DatasetError(f"{path} has no barcodes, so {table} cannot be matched with its rows.")
    barcodes = [text.decode() for text in file[f"{group}/barcodes"][:].tolist()]
    with open(table, newline="", encoding="utf-8") as lines:
        rows = csv.reader(lines)
        next(rows, None)
        try:
            of = {row[0]: row[1] for row in rows if row}
        except IndexError as error:
            raise DatasetError(f"{table}, line {rows.line_num}: it is not 'barcode,label'.") from error
    missing = [barcode for barcode in barcodes if barcode not in of]
    if missing:
        raise DatasetError(
            f"{table} has no label for {len(missing)} of the {len(barcodes)} rows of {path}, such as {missing[0]!r}."
        )
    labels = np.array([of[barcode] for barcode in barcodes])
    try:
        return labels.astype(np.int64)
    except ValueError:
        return labels


def _sparse(path: Path, group: str, shape: tuple[int, int], labels: np.ndarray | None) -> RowBatches:
    def batches() -> Iterator[Any]:
        with open_hdf5(path) as file:
            parts = file[group]
            nnz, dtype = len(parts["data"]), parts["data"].dtype
            rows = default_chunk_rows(sparse_row_bytes(nnz, shape[0], dtype))
            for start in range(0, shape[0], rows):
                stop = min(start + rows, shape[0])
                indptr = parts["indptr"][start : stop + 1]
                if np.any(indptr[1:] < indptr[:-1]) or indptr[0] < 0 or indptr[-1] > nnz:
                    raise DatasetError(
                        f"The pointers of rows {start} to {stop - 1} in {path} decrease or are out of range."
                    )
                values = slice(int(indptr[0]), int(indptr[-1]))
                indices = parts["indices"][values]
                if len(indices) and not 0 <= indices.min() <= indices.max() < shape[1]:
                    raise DatasetError(
                        f"An index in rows {start} to {stop - 1} of {path} is not one of the {shape[1]} columns."
                    )
                X = scipy.sparse.csr_array(
                    (parts["data"][values], indices, indptr - indptr[0]), shape=(stop - start, shape[1])
                )
                yield X if labels is None else (X, labels[start:stop])

    return RowBatches(shape[0], batches())


def _plain(path: Path, file: Any) -> RowBatches:
    X, y = file["X"], file.get("y")
    if len(X.shape) != 2:
        raise DatasetError(f"'X' of {path} has the shape {X.shape}; it must have two dimensions.")
    if y is not None and y.shape[0] != X.shape[0]:
        raise DatasetError(f"'X' of {path} has {X.shape[0]} rows, but 'y' has {y.shape[0]}.")
    n_rows, rows = X.shape[0], default_chunk_rows(X.shape[1] * X.dtype.itemsize)

    def batches() -> Iterator[Any]:
        with open_hdf5(path) as file:
            for start in range(0, n_rows, rows):
                part = slice(start, start + rows)
                yield file["X"][part] if y is None else (file["X"][part], _text(file["y"][part]))

    return RowBatches(n_rows, batches())


def _text(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "OS":
        return values
    return np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()])


FORMAT = RawFormat("hdf5", "HDF5 (10x Genomics, AnnData, or X and y)", _recognise, _read, frozenset({"labels"}))
