"""A description of a data set, without reading X."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import zarr

from dask_newton.data.csr import StoredCSR
from dask_newton.data.layout import COLUMNS, INTERNAL
from dask_newton.data.reader import column_of, open_data, splits_of
from dask_newton.storage.groups import array_of
from dask_newton.storage.integrity import check_codecs, members_of, read_chunk, stored_bytes, written_here
from dask_newton.storage.kinds import DatasetError

__all__ = ["dataset_info"]

# In groups that other programs wrote, labels are counted only if that takes well under a second.
_COUNTED_ROWS = 2_000_000
_COUNTED_CLASSES = 1000


def dataset_info(path: str | os.PathLike[str] | zarr.Group) -> dict[str, Any]:
    """Describe a data set, or a group of splits, as JSON values.

    Parameters
    ----------
    path : path or zarr.Group
        As for :func:`dask_newton.data.open_dataset`.

    Returns
    -------
    dict
        ``path``, ``attrs``, ``zarr_format``, ``written_by_dask_newton``, and for a group of splits ``splits``
        (name -> the same for each); for a data set ``n_samples``, ``n_features``, ``arrays`` (name -> shape,
        dtype, chunks, n_chunks, bytes, stored_bytes; for a sparse ``X`` also nnz) and ``class_counts``
        (label -> rows, None if there are no classes or counting is not cheap).

    Raises
    ------
    FileNotFoundError, DatasetError
        As :func:`dask_newton.data.open_dataset`.
    """
    group, where = open_data(path)
    info: dict[str, Any] = {
        "path": where,
        "zarr_format": group.metadata.zarr_format,
        "written_by_dask_newton": written_here(group),
        "attrs": {key: value for key, value in group.attrs.asdict().items() if key not in INTERNAL},
    }
    X = column_of(group, "X", where)
    if X is None:
        splits = splits_of(group, where)
        if not splits:
            raise DatasetError(f"{where} has no array 'X' and no splits, so it is not a data set.")
        return info | {"splits": {name: dataset_info(member) for name, member in splits.items()}}
    members = members_of(group, where).items()
    arrays = {name: _describe(array) for name, array in members if isinstance(array, zarr.Array)}
    if isinstance(X, StoredCSR):
        arrays["X"] = _describe_csr(X)
    return info | {
        "n_samples": X.shape[0],
        "n_features": X.shape[1] if X.ndim == 2 else None,
        "arrays": {name: arrays[name] for name in (*COLUMNS, *sorted(set(arrays) - set(COLUMNS))) if name in arrays},
        "class_counts": _class_counts(group, where),
    }


def _describe(array: zarr.Array) -> dict[str, Any]:
    text = array.dtype.kind in "TOU"
    return {
        "shape": list(array.shape),
        "dtype": "string" if text else array.dtype.name,
        "chunks": list(array.chunks),
        "n_chunks": array.nchunks,
        "bytes": None if text else array.nbytes,
        "stored_bytes": stored_bytes(array),
    }


def _describe_csr(X: StoredCSR) -> dict[str, Any]:
    parts = [_describe(array) for array in X.parts.values()]
    rows = X.group.attrs.get("block_rows", X.shape[0])
    sizes = [part["stored_bytes"] for part in parts]
    return {
        "shape": list(X.shape),
        "dtype": f"{X.dtype.name} CSR",
        "nnz": X.nnz,
        "chunks": [rows, X.shape[1]],
        "n_chunks": sum(part["n_chunks"] for part in parts),
        "bytes": sum(part["bytes"] for part in parts),
        "stored_bytes": None if None in sizes else sum(sizes),
    }


def _class_counts(group: zarr.Group, where: str) -> dict[str, int] | None:
    noted = group.attrs.get("class_counts")
    labels = array_of(group, "class", where)
    if isinstance(noted, list) and labels is not None:
        names = read_chunk(labels, 0, labels.shape[0], where).tolist()
        return {str(name): int(count) for name, count in zip(names, noted, strict=True)}
    y = array_of(group, "y", where)
    if written_here(group) or y is None or y.ndim != 1 or y.shape[0] > _COUNTED_ROWS or y.dtype.kind not in "biuUTO":
        return None
    check_codecs(y, where)
    counts: Counter[Any] = Counter()
    for start in range(0, y.shape[0], y.chunks[0]):
        counts.update(read_chunk(y, start, min(start + y.chunks[0], y.shape[0]), where).tolist())
        if len(counts) > _COUNTED_CLASSES:
            return None
    return {str(label): counts[label] for label in sorted(counts)}
