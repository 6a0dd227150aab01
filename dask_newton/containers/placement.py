"""From rows to blocks: in this process, in the memory of a cluster, or streamed from their source in every pass."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np

from dask_newton.arrays import align, from_host, host_dtype, row_slice, to_host
from dask_newton.blocks import Blocks, PerBlock, SerialBlocks, place_delayed
from dask_newton.blocks.client import available_memory
from dask_newton.blocks.config import setting
from dask_newton.blocks.memory import nbytes
from dask_newton.blocks.names import delayed
from dask_newton.containers.hold_out import HoldOut
from dask_newton.containers.inputs import Rows, block_matrix, delayed_chunks
from dask_newton.losses import Loss
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["BlockMaker", "place_rows", "share_rows"]

logger = logging.getLogger(__name__)

_MEASURED = 3  # blocks


@dataclass(frozen=True)
class BlockMaker:
    """Makes a block from chunks, on the worker that holds the chunks.

    Attributes
    ----------
    loss : Loss
    encode : callable
        ``encode(y)`` returns the targets as the loss expects them, as a NumPy array.
    reweigh : callable or None
        ``reweigh(y, weight)`` returns the weights to use, as a NumPy array.
    hold_out : HoldOut or None
        Selects the rows to use.
    """

    loss: Loss
    encode: Callable[[Any], np.ndarray]
    reweigh: Callable[[Any, Any], np.ndarray] | None = None
    hold_out: HoldOut | None = None

    def __call__(self, X: Any, y: Any, weight: Any, offset: Any) -> RowBlock:
        """Return the block."""
        X = align(block_matrix(X))
        dtype = host_dtype(X.dtype)
        if weight is not None:
            weight = to_host(weight).astype(dtype, copy=False)
        if self.reweigh is not None and len(y) == X.shape[0]:
            weight = self.reweigh(y, weight)
        targets = self.encode(y)
        if targets.dtype.kind == "f":
            targets = targets.astype(dtype, copy=False)
        if offset is not None:
            offset = to_host(offset)
            offset = from_host(offset[:, None] if offset.ndim == 1 else offset, X, dtype)
        block = RowBlock(
            X,
            from_host(targets, X),
            None if weight is None else from_host(weight, X, dtype),
            offset,
            self.loss,
        )
        return block if self.hold_out is None else self.hold_out(block)


def place_rows(
    rows: Rows, make: BlockMaker, persist: bool | Literal["auto"], n_blocks: int | None = None
) -> tuple[Blocks, PerBlock[RowBlock]]:
    """Place the rows in blocks: in this process, or where Dask computes.

    Parameters
    ----------
    rows : Rows
    make : BlockMaker
    persist : bool or 'auto'
        Whether blocks stay in memory between passes. 'auto' keeps them if they take at most the share
        ``dask-newton.persist.share`` of the available memory.
    n_blocks : int, optional
        Number of blocks, of about equal length; by default one per row chunk, or one for data in memory.

    Raises
    ------
    ValueError
        If the offset has neither one column nor one per output, or if there are fewer rows than blocks.
    """
    if rows.offset is not None and rows.offset.ndim == 2 and rows.offset.shape[1] not in (1, make.loss.n_outputs):
        raise ValueError(
            f"offset has {rows.offset.shape[1]} columns and the model has {make.loss.n_outputs} outputs; give one "
            "column, or one per output."
        )
    if not rows.lazy:
        parts = _slices(rows, 1 if n_blocks is None else n_blocks)
        blocks = SerialBlocks(len(parts))
        return blocks, blocks.place([make(*part) for part in parts])
    rows = rows if n_blocks is None else _rechunked(rows, n_blocks)
    n = rows.X.numblocks[0]
    columns = zip(*(delayed_chunks(a, n) for a in (rows.X, rows.y, rows.sample_weight, rows.offset)), strict=True)
    read = delayed(make, "read-block")
    parts = [read(*chunks) for chunks in columns]
    if persist == "auto":
        persist = _fits(rows, parts)
    return place_delayed(parts, persist=persist)


def share_rows(rows: Rows, n_blocks: int | None, persist: bool | Literal["auto"]) -> Rows:
    """Split rows into blocks for several fits, and read them once for all of them.

    Parameters
    ----------
    rows : Rows
    n_blocks : int or None
        Number of blocks, of about equal length; None keeps the row chunks, or one block for data in memory.
    persist : bool or 'auto'
        As in :func:`place_rows`. If false, every pass of every fit reads the rows again.

    Raises
    ------
    ValueError
        If there are fewer rows than blocks.
    """
    if n_blocks is not None:
        rows = _rechunked(rows, n_blocks) if rows.lazy else _chunked(rows, n_blocks)
    if not rows.lazy:
        return rows
    if persist == "auto":
        persist = _fits(rows, delayed_chunks(rows.X, rows.X.numblocks[0]))
    if not persist:
        return rows
    names = [name for name in ("X", "y", "sample_weight", "offset") if getattr(rows, name) is not None]
    columns = dask.persist(*(getattr(rows, name) for name in names))
    return replace(rows, **dict(zip(names, columns, strict=True)))


def _chunked(rows: Rows, n_blocks: int) -> Rows:
    """Turn arrays in memory into Dask arrays."""

    def array(parts: Sequence[Any]) -> da.Array | None:
        if parts[0] is None:
            return None
        meta = row_slice(parts[0], slice(0, 0)) if parts[0].ndim == 2 else parts[0][:0]
        return da.concatenate(
            [da.from_delayed(dask.delayed(part, traverse=False), part.shape, part.dtype, meta) for part in parts]
        )

    X, y, sample_weight, offset = map(array, zip(*_slices(rows, n_blocks), strict=True))
    return replace(rows, X=X, y=y, sample_weight=sample_weight, offset=offset)


def _slices(rows: Rows, n_blocks: int) -> list[tuple[Any, ...]]:
    """Split columns in memory; dense ones become views."""
    columns = (rows.y, rows.sample_weight, rows.offset)
    if n_blocks == 1:
        return [(rows.X, *columns)]
    ends = [0, *itertools.accumulate(_sizes(rows.X.shape[0], n_blocks))]
    cuts = list(map(slice, ends, ends[1:]))
    return [(row_slice(rows.X, cut), *(None if a is None else a[cut] for a in columns)) for cut in cuts]


def _rechunked(rows: Rows, n_blocks: int) -> Rows:
    """Rechunk Dask arrays to a number of row chunks."""
    if np.isnan(rows.X.shape[0]):
        raise ValueError("n_blocks needs to know the number of rows; call X.compute_chunk_sizes() first.")
    sizes = {0: tuple(_sizes(rows.X.shape[0], n_blocks))}

    def of(a: Any) -> Any:
        return None if a is None else a.rechunk(sizes)

    return replace(rows, X=of(rows.X), y=of(rows.y), sample_weight=of(rows.sample_weight), offset=of(rows.offset))


def _sizes(n_rows: int, n_blocks: int) -> list[int]:
    """Return block lengths that differ by at most one."""
    if not 1 <= n_blocks <= n_rows:
        raise ValueError(f"{n_rows} rows cannot be cut into {n_blocks} blocks; give a number from 1 to {n_rows}.")
    return [n_rows // n_blocks + (i < n_rows % n_blocks) for i in range(n_blocks)]


def _fits(rows: Rows, parts: Sequence[Any]) -> bool:
    """Whether the blocks may stay in memory."""
    memory = available_memory()
    allowed = setting("persist.share") * memory
    if rows.X.nbytes <= allowed:  # not so where the number of rows is unknown, which makes it NaN
        return True
    # Sparse chunks may be far smaller than their shape suggests, so a few are measured.
    some = [parts[i] for i in sorted({(len(parts) - 1) * j // (_MEASURED - 1) for j in range(_MEASURED)})]
    measure = delayed(nbytes, "measure-size")
    size = float(np.mean(dask.compute(*map(measure, some)))) * len(parts)
    logger.info(
        "persist='auto': the data take about %s, and %s of memory may be used for them (%g of %s, "
        "dask-newton.persist.share), so they are %s.",
        dask.utils.format_bytes(int(size)),
        dask.utils.format_bytes(int(allowed)),
        setting("persist.share"),
        dask.utils.format_bytes(int(memory)),
        "kept in memory" if size <= allowed else "read again in every pass",
    )
    return size <= allowed
