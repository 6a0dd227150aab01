"""Open data sets as Dask arrays that are read from the file block by block.

Each block is one task with the path and the rows, never the data. A block that is lost with its worker is read
again by another worker.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr

from dask_newton.arrays import check_array_type
from dask_newton.data.csr import StoredCSR
from dask_newton.data.layout import COLUMNS, INTERNAL
from dask_newton.data.rows import as_dask, row_chunk_sizes
from dask_newton.storage.groups import array_of, member_of, open_group, plain_dtype
from dask_newton.storage.integrity import (
    check_chunks_present,
    members_of,
    read_chunk,
    verify_group,
    written_here,
)
from dask_newton.storage.kinds import DATASET, DatasetError

__all__ = ["Dataset", "column_of", "open_data", "open_dataset", "splits_of", "verify_dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """An open data set.

    Attributes
    ----------
    X : dask.array.Array of shape (n_samples, n_features)
        Chunked in rows, one chunk over the columns. The chunks of a sparse ``X`` are of
        :class:`scipy.sparse.csr_array`.
    y : dask.array.Array or None
        Targets or labels, with the row chunks of ``X``; strings have a fixed width.
    sample_weight, offset : dask.array.Array or None
        Further columns, with the row chunks of ``X``.
    feature_names, classes : numpy.ndarray or None
        The coordinates ``feature`` and ``class``.
    attrs : dict
        Attributes such as name, source and licence.
    """

    X: da.Array
    y: da.Array | None = None
    sample_weight: da.Array | None = None
    offset: da.Array | None = None
    feature_names: np.ndarray | None = None
    classes: np.ndarray | None = None
    attrs: dict[str, Any] = field(default_factory=dict)


def open_dataset(
    path: str | os.PathLike[str] | zarr.Group, *, chunk_rows: int | None = None, array: str = "numpy"
) -> Dataset:
    """Open a Zarr group with ``X`` and ``y``, without reading the data.

    Parameters
    ----------
    path : path or zarr.Group
        Such as ``"mnist.zarr/train"``; a group of :func:`dask_newton.data.save_dataset`, or any Zarr group
        (format 2 or 3) with an array ``X`` of two dimensions, samples first, and usually ``y``. ``X`` may
        be a group in the CSR layout of AnnData instead, so that what ``adata.write_zarr(path)`` wrote opens
        as it is.
    chunk_rows : int, optional
        Rows per block, rounded down to whole chunks on disk. By default a block is one chunk; in a group that
        another program wrote, as many as take 16 MiB.
    array : {"numpy", "cupy"}, default "numpy"
        Type of the blocks of ``X``. With "cupy" each block becomes a CuPy array, or a cupyx CSR matrix,
        inside the task that reads it; this process needs no GPU. The other columns stay in NumPy. Further
        names are those of :func:`dask_newton.arrays.register_conversion`.

    Returns
    -------
    Dataset
        Dask arrays and coordinates.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    DatasetError
        If it is not a data set, half-written, of another version of the format, or stored with pickle.
    """
    if chunk_rows is not None and chunk_rows < 1:
        raise ValueError(f"chunk_rows is {chunk_rows}; give at least 1 row, or None.")
    check_array_type(array)
    group, where = open_data(path)
    X = column_of(group, "X", where)
    if X is None:
        splits = splits_of(group, where)
        if splits:
            raise DatasetError(
                f"{where} has no array 'X' but the splits {', '.join(splits)}; give one of them, such as "
                f"'{where}/{next(iter(splits))}'."
            )
        raise DatasetError(f"{where} has no array 'X', so it is not a data set; write one with save_dataset.")
    columns = {name: a for name in COLUMNS if (a := column_of(group, name, where)) is not None}
    _check_shapes(columns, where)
    for name, column in columns.items():
        if isinstance(column, StoredCSR):
            for part in column.parts.values():
                check_chunks_present(group, part, f"{where}/{name}")
        else:
            check_chunks_present(group, column, where)
    chunks = row_chunk_sizes(X, chunk_rows, chunks_are_blocks=written_here(group))
    lazy = {
        name: as_dask(group, column, chunks, where, array if name == "X" else "numpy")
        for name, column in columns.items()
    }
    attrs = {key: value for key, value in group.attrs.asdict().items() if key not in INTERNAL}
    return Dataset(
        **lazy,
        feature_names=_feature_names(group, where, X.shape[1]),
        classes=_coordinate(group, "class", where),
        attrs=attrs,
    )


def verify_dataset(path: str | os.PathLike[str] | zarr.Group) -> int:
    """Read every chunk of a data set, or of all its splits, and compare it with its checksum.

    Parameters
    ----------
    path : path or zarr.Group
        A data set of :func:`dask_newton.data.save_dataset` or :func:`dask_newton.data.save_splits`.

    Returns
    -------
    int
        Number of chunks compared.

    Raises
    ------
    DatasetError
        If a chunk is missing or differs, pointers or indices are out of range, or there are no checksums.
    """
    group, where = open_data(path)
    X = column_of(group, "X", where)
    if isinstance(X, StoredCSR):
        X.verify(f"{where}/X")
    if X is not None:
        return verify_group(group, where)
    splits = splits_of(group, where)
    if not splits:
        raise DatasetError(f"{where} holds no data set, so there is nothing to verify.")
    return sum(verify_dataset(member) for member in splits.values())


def open_data(path: str | os.PathLike[str] | zarr.Group) -> tuple[zarr.Group, str]:
    """Open the group of a data set, or of splits; if there is none, the message lists the splits beside it."""
    if not isinstance(path, zarr.Group) and "://" not in os.fspath(path):
        _check_exists(Path(path))
    return open_group(path, DATASET)


def column_of(group: zarr.Group, name: str, where: str) -> zarr.Array | StoredCSR | None:
    """Return a column of a data set, None if there is none; a sparse ``X`` is a :class:`StoredCSR`."""
    if name == "X" and isinstance(node := member_of(group, "X", where), zarr.Group):
        return StoredCSR.open(node, f"{where}/X")
    return array_of(group, name, where)


def splits_of(group: zarr.Group, where: str) -> dict[str, zarr.Group]:
    """Return the sub-groups that hold a data set, by name."""
    members = members_of(group, where)
    return {name: node for name, node in members.items() if isinstance(node, zarr.Group) and _has_X(node)}


def _has_X(group: zarr.Group) -> bool:
    try:
        return "X" in group
    except Exception:  # it exists, but is damaged; opening it says how
        return True


def _check_exists(path: Path) -> None:
    if path.exists():
        return
    hint = ""
    if path.parent.is_dir():
        try:
            splits = splits_of(zarr.open_group(path.parent, mode="r", use_consolidated=False), str(path))
        except (OSError, ValueError):
            splits = {}
        hint = f"; {path.parent} has the splits {', '.join(splits)}" if splits else ""
    raise FileNotFoundError(f"There is no data set at {path}{hint}.")


def _check_shapes(columns: dict[str, Any], where: str) -> None:
    X = columns["X"]
    if X.ndim != 2:
        raise DatasetError(f"'X' in {where} has {X.ndim} dimensions {X.shape}; it must have two, samples and features.")
    if X.shape[0] == 0:
        raise DatasetError(f"'X' in {where} has no rows.")
    if X.dtype.kind not in "biuf":
        raise DatasetError(f"'X' in {where} has dtype {X.dtype}; it must hold real numbers.")
    names: Any = () if isinstance(X, StoredCSR) else _dimensions(X)
    if "sample" in names and names[0] != "sample":
        raise DatasetError(f"'X' in {where} has the dimensions {tuple(names)}; samples must come first.")
    for name, array in columns.items():
        if array.ndim == 0 or array.shape[0] != X.shape[0]:
            raise DatasetError(
                f"'X' in {where} has {X.shape[0]} rows, but {name!r} has shape {array.shape}: they must "
                "have the same number."
            )
        if name in ("sample_weight", "offset") and (array.ndim != 1 or array.dtype.kind not in "biuf"):
            raise DatasetError(f"{name!r} in {where} must be one number per row, but is {array.dtype} {array.shape}.")


def _dimensions(X: zarr.Array) -> Any:
    return getattr(X.metadata, "dimension_names", None) or X.attrs.get("_ARRAY_DIMENSIONS") or ()


def _feature_names(group: zarr.Group, where: str, length: int) -> np.ndarray | None:
    variables = group.get("var") if group.attrs.get("encoding-type") == "anndata" else None
    if isinstance(variables, zarr.Group):  # AnnData's table of the columns; an attribute says which one names them
        name = str(variables.attrs.get("_index"))
        return _coordinate(variables, name, f"{where}/var", length) if name in variables else None
    return _coordinate(group, "feature", where, length)


def _coordinate(group: zarr.Group, name: str, where: str, length: int | None = None) -> np.ndarray | None:
    array = array_of(group, name, where)
    if array is None or array.ndim != 1:
        return None
    if length is not None and array.shape[0] != length:
        raise DatasetError(f"'X' in {where} has {length} columns, but {name!r} has {array.shape[0]} names.")
    check_chunks_present(group, array, where)
    return read_chunk(array, 0, array.shape[0], where).astype(plain_dtype(array, where))
