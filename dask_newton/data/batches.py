"""Any container of rows -> a stream of row batches on the host -> a stream of equally long chunks.

The chunks of a Dask array need not align with the chunks on disk. If two tasks write to the same chunk on disk, cells
are lost silently, so rows are cut into whole chunks here first, with one batch and one chunk in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
import scipy.sparse

from dask_newton.arrays import is_sparse, to_host
from dask_newton.data.aliases import Columns
from dask_newton.data.layout import COLUMNS, chunk_rows_for
from dask_newton.storage.checksums import is_string
from dask_newton.storage.kinds import DatasetError

__all__ = ["RowBatches", "rechunk_rows", "row_batches"]


@dataclass(frozen=True)
class RowBatches:
    """A stream of row batches with a known total, for progress and to detect a stream that ends early.

    Attributes
    ----------
    n_rows : int
        Total number of rows.
    batches : iterable
        As for :func:`dask_newton.data.save_dataset`.
    """

    n_rows: int
    batches: Iterable[Any]

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the batches."""
        return iter(self.batches)


def row_batches(
    X: Any, y: Any = None, sample_weight: Any = None, offset: Any = None, *, chunk_rows: int | None = None
) -> tuple[int | None, Iterator[Columns]]:
    """Stream the rows of a container.

    Parameters
    ----------
    X : array, Dask array or iterable of batches
        A batch is ``X``, a tuple ``(X, y)``, or a mapping of columns such as ``{"X": ..., "sample_weight":
        ...}``. ``X`` may be a SciPy sparse array.
    y, sample_weight, offset : array or Dask array, optional
        Further columns if ``X`` is an array; an iterable has them in its batches.
    chunk_rows : int, optional
        Rows of a chunk on disk, and of the batches that are cut from an array.

    Returns
    -------
    n_rows : int or None
        Number of rows, None if it is known only at the end.
    batches : iterator of dict of str to numpy.ndarray
        Columns of equal length; a sparse ``X`` is a csr_array. Empty batches are left out.
    """
    if isinstance(X, str | bytes | Mapping):
        raise TypeError(f"X is a {type(X).__name__}; give a two-dimensional array or an iterable of row batches.")
    named = zip(COLUMNS, (X, y, sample_weight, offset), strict=True)
    columns = {name: column for name, column in named if column is not None}
    if getattr(X, "shape", None) is None:
        return (X.n_rows if isinstance(X, RowBatches) else None), _from_iterable(columns)
    columns = {name: _array_like(name, column) for name, column in columns.items()}
    X = columns["X"]
    if X.ndim != 2:
        raise DatasetError(f"X has {X.ndim} dimensions; give two: samples and features.")
    if scipy.sparse.issparse(X):
        X = columns["X"] = scipy.sparse.csr_array(X)
    rows = chunk_rows or chunk_rows_for(X)
    if any(isinstance(column, da.Array) for column in columns.values()):
        return _from_dask(columns, rows)
    n_rows = _common_length(columns)
    return n_rows, _clean(_slice(columns, slice(i, i + rows)) for i in range(0, n_rows, rows))


def rechunk_rows(batches: Iterable[Columns], rows: int) -> Iterator[Columns]:
    """Cut a stream of batches into chunks of exactly ``rows`` rows; only the last may be shorter."""
    pending: list[Columns] = []
    held = 0
    for batch in batches:
        start, length = 0, batch["X"].shape[0]
        while held + length - start >= rows:
            stop = start + rows - held
            pending.append(_slice(batch, slice(start, stop)))
            chunk = _join(pending)
            pending, held, start = [], 0, stop
            yield chunk
            del chunk
        if start < length:
            # A copy: a view would keep the whole batch in memory, and the producer may reuse its buffer.
            pending.append({name: column[start:].copy() for name, column in batch.items()})
            held += length - start
        del batch  # or it stays in memory while the next one is loaded
    if pending:
        yield _join(pending)


def _join(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: _stack([part[name] for part in parts]) for name in parts[0]}


def _stack(parts: list[Any]) -> Any:
    return scipy.sparse.vstack(parts, "csr") if scipy.sparse.issparse(parts[0]) else np.concatenate(parts)


def _slice(columns: Mapping[str, Any], rows: slice) -> dict[str, Any]:
    return {name: column[rows] for name, column in columns.items()}


def _common_length(columns: Mapping[str, Any]) -> int:
    lengths = {name: int(column.shape[0]) if column.ndim else 0 for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise DatasetError(f"The columns must have the same number of rows, but {found}.")
    return lengths["X"]


def _from_iterable(columns: dict[str, Any]) -> Iterator[Columns]:
    extra = [name for name in columns if name != "X"]
    if extra:
        raise TypeError(
            f"X is an iterable of batches, so {', '.join(extra)} must come inside the batches: "
            "yield (X, y) tuples or mappings of columns."
        )

    def batches() -> Iterator[dict[str, Any]]:
        for item in columns["X"]:
            if isinstance(item, Mapping):
                unknown = set(item) - set(COLUMNS)
                if unknown or "X" not in item:
                    raise DatasetError(f"A batch has the columns {sorted(item)}; allowed are {', '.join(COLUMNS)}.")
                yield {name: item[name] for name in COLUMNS if item.get(name) is not None}
            elif isinstance(item, tuple):
                if len(item) != 2:
                    raise DatasetError(f"A batch is a tuple of {len(item)}; give (X, y) or a mapping of columns.")
                yield dict(zip(("X", "y"), item, strict=True))
            else:
                yield {"X": item}

    return _clean(batches())


def _from_dask(columns: dict[str, Any], rows: int) -> tuple[int | None, Iterator[Columns]]:
    known = all(not np.isnan(column.shape[0]) for column in columns.values())
    X = columns["X"]
    n_rows: int | None
    row_chunks: tuple[int, ...] | None
    if known:
        n_rows = _common_length(columns)
        row_chunks = X.chunks[0] if isinstance(X, da.Array) else da.core.normalize_chunks((rows,), (n_rows,))[0]
        lazy = {
            name: column.rechunk({axis: row_chunks if axis == 0 else -1 for axis in range(column.ndim)})
            for name, column in columns.items()
            if isinstance(column, da.Array)
        }
    elif isinstance(X, da.Array):
        n_rows, row_chunks = None, None
        lazy = {name: column for name, column in columns.items() if isinstance(column, da.Array)}
        lazy = {name: c.rechunk({1: -1}) if c.ndim == 2 and c.numblocks[1] > 1 else c for name, c in lazy.items()}
        for name, column in lazy.items():
            if column.numblocks[0] != X.numblocks[0]:
                raise DatasetError(
                    f"X has {X.numblocks[0]} row chunks and {name} has {column.numblocks[0]}, of unknown lengths, so "
                    "they cannot be matched; call compute_chunk_sizes() on both."
                )
    else:
        raise DatasetError("A column has row chunks of unknown length but X has not; call compute_chunk_sizes() on it.")
    return n_rows, _clean(_compute_blocks(lazy, columns, row_chunks, rows))


def _compute_blocks(
    lazy: dict[str, da.Array], columns: dict[str, Any], row_chunks: tuple[int, ...] | None, rows: int
) -> Iterator[dict[str, Any]]:
    n_blocks = next(iter(lazy.values())).numblocks[0]
    block, done = 0, 0
    while block < n_blocks:
        last = block + 1
        if row_chunks is not None:
            # One call of the scheduler for as many small blocks as fit into a chunk.
            held = row_chunks[block]
            while last < n_blocks and held + row_chunks[last] <= rows:
                held += row_chunks[last]
                last += 1
        group = dask.compute(*({n: c.blocks[i] for n, c in lazy.items()} for i in range(block, last)))
        for number, computed in enumerate(group, start=block):
            batch: dict[str, Any] = {name: _to_host(column) for name, column in computed.items()}
            length = next(iter(batch.values())).shape[0]
            batch |= {name: c[done : done + length] for name, c in columns.items() if name not in lazy}
            try:
                _common_length(batch)
            except DatasetError as error:
                raise DatasetError(f"In chunk {number} of the rows: {error}") from error
            done += length
            yield {name: batch[name] for name in columns}
        del group, computed, batch
        block = last
    for name, column in columns.items():
        if name not in lazy and len(column) != done:
            raise DatasetError(f"X has {done} rows but {name} has {len(column)}.")


def _array_like(name: str, column: Any) -> Any:
    shape = getattr(column, "shape", None)
    if isinstance(column, da.Array) or (hasattr(column, "dtype") and shape):
        return column
    if shape and not isinstance(shape[0], int | np.integer):
        raise TypeError(
            f"{name} is a lazy {type(column).__module__}.{type(column).__name__}; give its to_dask_array()."
        )
    return np.asarray(column)


def _to_host(values: Any) -> Any:
    values = to_host(values) if is_sparse(values) else values
    if scipy.sparse.issparse(values):
        return scipy.sparse.csr_array(values)
    try:
        host = np.asarray(values)
    except TypeError:
        host = np.asarray(to_host(values))  # CuPy refuses an implicit copy to the host
    if host.shape == () and getattr(values, "shape", ()) != ():
        raise TypeError(
            f"{type(values).__module__}.{type(values).__name__} is not stored; give dense rows, or "
            "sparse ones of SciPy, such as scipy.sparse.csr_array."
        )
    return host


def _clean(batches: Iterable[dict[str, Any]]) -> Iterator[Columns]:
    """Check each batch against the first one, and convert it to plain arrays of native byte order."""
    first: Columns | None = None
    for number, raw in enumerate(batches):
        batch = {name: _column(name, _to_host(column)) for name, column in raw.items()}
        if batch["X"].ndim != 2:
            raise DatasetError(
                f"Batch {number} of X has shape {batch['X'].shape}; a batch is a block of rows with two dimensions."
            )
        _common_length(batch)
        if first is None:
            first = _slice(batch, slice(0, 0))
        _check_like(first, batch, number)
        if batch["X"].shape[0]:
            yield batch
        del batch, raw


def _check_like(first: Columns, batch: Columns, number: int) -> None:
    if set(first) != set(batch):
        raise DatasetError(f"Batch {number} has the columns {sorted(batch)}, but batch 0 has {sorted(first)}.")
    for name, column in batch.items():
        if scipy.sparse.issparse(column) != scipy.sparse.issparse(first[name]):
            raise DatasetError(f"Batch {number} of {name} and batch 0 are not both sparse; convert one of them.")
        if column.shape[1:] != first[name].shape[1:]:
            raise DatasetError(
                f"Batch {number} of {name} has rows of shape {column.shape[1:]}, batch 0 of {first[name].shape[1:]}."
            )
        if is_string(column.dtype) and is_string(first[name].dtype):
            continue
        if column.dtype != first[name].dtype:
            raise DatasetError(
                f"Batch {number} of {name} has dtype {column.dtype}, batch 0 has {first[name].dtype}; "
                "convert all batches to one dtype."
            )


def _column(name: str, values: Any) -> Any:
    if scipy.sparse.issparse(values) and name != "X":
        raise DatasetError(f"{name} is sparse; only X may be. Give its toarray().")
    if values.dtype == object:
        if name == "y" and all(isinstance(value, str) for value in values.ravel()):
            return values.astype(str)
        raise DatasetError(
            f"{name} holds Python objects (dtype object); convert it to numbers{' or strings' * (name == 'y')}."
        )
    if is_string(values.dtype) and name == "y":
        if "\0" in "".join(values.ravel().tolist()):
            raise DatasetError("A label in y holds a NUL character, which cannot be stored.")
        return values
    if values.dtype.kind not in "biuf":
        raise DatasetError(f"{name} has dtype {values.dtype}; give real numbers{' or strings' * (name == 'y')}.")
    return values.astype(values.dtype.newbyteorder("="), copy=False)
