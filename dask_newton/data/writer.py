"""Write data sets: whole aligned chunks, one writer, checksums, and nothing at the path until all is verified.

Each array is created first and grows chunk by chunk; every write is one whole chunk, so no two writes share a
chunk. The data are read back and compared before the directory is renamed to its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import zarr

from dask_newton.data.aliases import Columns, Progress
from dask_newton.data.batches import rechunk_rows, row_batches
from dask_newton.data.classes import ClassCounter, Classes
from dask_newton.data.csr import CSRColumn
from dask_newton.data.layout import CREATED, INTERNAL, chunk_rows_for, dimensions
from dask_newton.storage.atomic import replacing
from dask_newton.storage.column import Column
from dask_newton.storage.groups import consolidate, created_by
from dask_newton.storage.integrity import verify_group
from dask_newton.storage.kinds import DATASET, DatasetError

__all__ = ["save_dataset", "save_splits"]


@dataclass(frozen=True)
class _Options:
    feature_names: Iterable[Any] | None
    classes: Classes
    attrs: Mapping[str, Any] | None
    chunk_rows: int | None
    compress: bool
    verify: bool

    def __post_init__(self) -> None:
        if self.chunk_rows is not None and self.chunk_rows < 1:
            raise ValueError(f"chunk_rows is {self.chunk_rows}; give at least 1 row, or None for chunks of 32 MiB.")


def save_dataset(
    path: str | PathLike[str],
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    offset: Any = None,
    feature_names: Iterable[Any] | None = None,
    classes: Classes = None,
    attrs: Mapping[str, Any] | None = None,
    chunk_rows: int | None = None,
    overwrite: bool = False,
    compress: bool = True,
    verify: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Save a data set as a Zarr v3 group, in bounded memory.

    The group appears at ``path`` only when it is complete. ``xarray.open_zarr(path)`` opens it too.

    Parameters
    ----------
    path : path
        The group to create, such as ``"higgs.zarr"`` or ``"higgs.zarr/train"``.
    X : array-like of shape (n_samples, n_features), Dask array, or iterable of row batches
        The chunks of a Dask array may have any shape and unknown lengths; its blocks are computed once each,
        a few at a time. A batch is ``X``, ``(X, y)`` or a mapping of columns; its number of rows may vary.
        Sparse matrices of SciPy, as a whole, as blocks or in batches, are stored as CSR in the layout of
        AnnData.
    y : array-like of shape (n_samples,) or (n_samples, n_targets), optional
        Numbers are stored as they are, strings as strings.
    sample_weight, offset : array-like of shape (n_samples,), optional
        Further columns.
    feature_names : sequence, optional
        Strings or numbers, the coordinate ``feature``.
    classes : sequence or "auto", optional
        The coordinate ``class``; other labels are an error. "auto" collects the distinct labels, which is the
        default for strings and booleans; numbers are by default regression targets.
    attrs : mapping, optional
        Attributes such as ``name``, ``source`` and ``licence``; values that JSON can hold.
    chunk_rows : int, optional
        Rows of a chunk, which becomes a block when the data are opened; by default as many as take 32 MiB
        (for a sparse ``X``, from the density of the first batch).
    overwrite : bool, default False
        Replace the data set at ``path``.
    compress : bool, default True
        Compress with Zstandard. Turn it off to read directly into GPU memory.
    verify : bool, default True
        Read everything back and compare checksums before the data set appears.
    progress : callable, optional
        ``progress(rows_done, rows_total)`` after each chunk; ``rows_total`` is None if unknown.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    DatasetError
        If the columns do not fit together, hold objects, or have no rows.
    FileExistsError, FileNotFoundError
        If ``path`` exists already or its folder does not.
    """
    options = _Options(feature_names, classes, attrs, chunk_rows, compress, verify)
    with replacing(path, overwrite=overwrite) as partial:
        total, batches = row_batches(X, y, sample_weight, offset, chunk_rows=chunk_rows)
        group = zarr.open_group(partial, mode="w-", zarr_format=3)
        _write(group, batches, total, options, str(path), lambda rows: progress and progress(rows, total))
        consolidate(partial)
    _refresh_parent(Path(path))
    return Path(path)


def save_splits(
    path: str | PathLike[str],
    splits: Mapping[str, Any],
    *,
    feature_names: Iterable[Any] | None = None,
    classes: Classes = None,
    attrs: Mapping[str, Any] | None = None,
    chunk_rows: int | None = None,
    overwrite: bool = False,
    compress: bool = True,
    verify: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Save several data sets, such as train and test, as subgroups of one group that appears only when it is complete.

    Parameters
    ----------
    path : path
        The group to create.
    splits : mapping of str to tuple, mapping or iterable
        For each name ``(X, y)``, or a mapping of columns with the keys of :func:`save_dataset` (``X``, ``y``,
        ``sample_weight``, ``offset``), or an iterable of row batches.
    feature_names, classes, attrs, chunk_rows, overwrite, compress, verify
        As for :func:`save_dataset`, the same for each split.
    progress : callable, optional
        ``progress(rows_done, rows_total)`` after each chunk, counted over all splits.

    Returns
    -------
    pathlib.Path
        ``path``.
    """
    options = _Options(feature_names, classes, attrs, chunk_rows, compress, verify)
    if not splits:
        raise ValueError('There are no splits to save; give for example {"train": (X, y)}.')
    for name in splits:
        if not isinstance(name, str) or not name or name.startswith((".", "_")) or "/" in name:
            raise ValueError(f"{name!r} cannot be the name of a split; give a word such as 'train'.")
    with replacing(path, overwrite=overwrite) as partial:
        streams = {name: row_batches(**_split_columns(split), chunk_rows=chunk_rows) for name, split in splits.items()}
        totals = [total for total, _ in streams.values()]
        known = [total for total in totals if total is not None]
        all_rows = sum(known) if len(known) == len(totals) else None
        root = zarr.open_group(
            partial, mode="w-", zarr_format=3, attributes={DATASET.key: DATASET.version, "complete": False}
        )
        done = 0
        for name, (total, batches) in streams.items():
            before = done

            def report(rows: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + rows, all_rows)

            done += _write(root.create_group(name), batches, total, options, f"{path}/{name}", report)
            consolidate(partial / name)
        root.attrs.update(_public(attrs) | {"created_by": created_by(), "complete": True})
        consolidate(partial)
    _refresh_parent(Path(path))
    return Path(path)


def _split_columns(split: Any) -> dict[str, Any]:
    if isinstance(split, Mapping):
        return dict(split)
    if isinstance(split, tuple):
        return dict(zip(("X", "y"), split, strict=True))
    return {"X": split}


def _write(
    group: zarr.Group,
    batches: Iterator[Columns],
    total: int | None,
    options: _Options,
    where: str,
    report: Callable[[int], object],
) -> int:
    group.attrs.update({DATASET.key: DATASET.version, "complete": False})
    first = next(batches, None)
    if first is None:
        raise DatasetError(f"There are no rows to write to {where}.")
    n_features = first["X"].shape[1]
    if n_features == 0:
        raise DatasetError(f"X has no columns; nothing is written to {where}.")
    rows = options.chunk_rows or chunk_rows_for(first["X"])
    if total is not None:
        rows = min(rows, max(1, total))
    columns: dict[str, Column | CSRColumn] = {
        name: CSRColumn.create(group, name, values, rows, options.compress)
        if scipy.sparse.issparse(values)
        else Column.create(group, name, values, rows, dimensions(name, values.ndim), options.compress)
        for name, values in first.items()
    }
    counter = ClassCounter(options.classes, first.get("y"))
    done = 0
    # Only the chain holds `first`, so that it is freed with its chunk.
    stream = chain(iter([first]), batches)
    del first
    for chunk in rechunk_rows(stream, rows):
        for name, values in chunk.items():
            columns[name].append(values)
        counter.add(chunk.get("y"))
        done += chunk["X"].shape[0]
        report(done)
        del chunk, values  # or they stay in memory while the next chunk is assembled
    if total is not None and done != total:
        raise DatasetError(f"The batches for {where} hold {done} rows, but {total} were announced.")
    attributes = _public(options.attrs) | {"created_by": created_by()}
    if options.feature_names is not None:
        names = np.asarray(list(options.feature_names))
        if names.shape != (n_features,):
            raise DatasetError(f"X has {n_features} features, but {len(names)} feature names were given.")
        columns["feature"] = Column.coordinate(group, "feature", names)
    if (classes := counter.classes()) is not None:
        columns["class"] = Column.coordinate(group, "class", classes)
        attributes |= {
            "n_classes": len(classes),
            "class_counts": [counter.counts[c] for c in classes.tolist()],
        }
    for column in columns.values():
        column.finish()
    if options.verify:
        verify_group(group, where)
    group.attrs.update(attributes | {"complete": True})
    return done


def _public(attrs: Mapping[str, Any] | None) -> dict[str, Any]:
    return {k: _jsonable(v) for k, v in (attrs or {}).items() if k not in INTERNAL and k not in CREATED}


def _jsonable(value: Any) -> Any:
    """Turn NumPy scalars and arrays, paths and mappings into what JSON holds; leave the rest to JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(entry) for entry in value]
    return value


def _refresh_parent(path: Path) -> None:
    """Add a new split to the consolidated metadata of its parent group, if there is any."""
    if not (path.parent / "zarr.json").exists():
        return
    parent = zarr.open_group(path.parent, mode="r")
    if parent.metadata.consolidated_metadata is not None:
        consolidate(path.parent)
