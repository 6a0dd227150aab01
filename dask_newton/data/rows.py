"""Rows of an array on disk as blocks of a Dask array."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse
import zarr
from dask.base import tokenize

from dask_newton.arrays import convert_to
from dask_newton.data.csr import StoredCSR, read_rows
from dask_newton.storage.groups import plain_dtype
from dask_newton.storage.integrity import local_path
from dask_newton.storage.kinds import DatasetError

__all__ = ["ZarrRows", "as_dask", "row_chunk_sizes"]

# Groups of other programs often have chunks far too small for one task.
_MIN_BLOCK_BYTES = 16 * 2**20


class ZarrRows:
    """A reference to an array on disk, dense or sparse, which a task holds instead of data.

    Parameters
    ----------
    source : str or zarr.Group
        Path of the group; the group itself if its store is not a local directory.
    name : str
        Name of the array in the group.
    shape : tuple of int
        Its shape.
    dtype : numpy.dtype
        The dtype of blocks: native byte order, strings of fixed width.
    array_type : str
        The type of array that the task makes, a name of :func:`dask_newton.arrays.convert_to`.
    """

    def __init__(
        self,
        source: str | zarr.Group,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        array_type: str = "numpy",
    ) -> None:
        self.source, self.name, self.shape, self.dtype = source, name, shape, dtype
        self.array_type, self.ndim = array_type, len(shape)

    def __getitem__(self, key: Any) -> Any:
        """Read some rows, on the worker that runs this."""
        group = self.source
        try:
            if isinstance(group, str):
                group = zarr.open_group(group, mode="r", use_consolidated=False)
            node: Any = group[self.name]
            # No conversion to NumPy: with zarr.config.enable_gpu() dense rows are an array on the GPU.
            rows = read_rows(node, key) if isinstance(node, zarr.Group) else node[key]
            rows = rows.astype(self.dtype, copy=False)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"The worker finds no data set at {self.source}; put it on a file system that all workers see, under "
                "the same path."
            ) from error
        except Exception as error:  # codecs of every origin raise errors of every kind
            raise DatasetError(f"{self.name!r} in {self.source} cannot be read at {key}: {error}") from error
        return convert_to(self.array_type, rows)


def row_chunk_sizes(X: zarr.Array | StoredCSR, chunk_rows: int | None, *, chunks_are_blocks: bool) -> tuple[int, ...]:
    """Return the rows of each block: whole chunks (or shards) on disk, as these are decoded at once.

    Sparse rows can be cut anywhere; the writer stores how many make a chunk of the other columns.
    """
    if isinstance(X, StoredCSR):
        noted = X.group.attrs.get("block_rows")
        unit, row_bytes = noted if chunks_are_blocks and isinstance(noted, int) else 1, X.row_bytes
    else:
        unit, row_bytes = (X.shards or X.chunks)[0], X.shape[1] * X.dtype.itemsize
    n_rows = X.shape[0]
    if chunk_rows is None:
        target = _MIN_BLOCK_BYTES // max(1, row_bytes)
        rows = unit if chunks_are_blocks else -(-target // unit) * unit
    else:
        rows = chunk_rows // unit * unit
    return da.core.normalize_chunks((max(unit, rows),), (n_rows,))[0]


def as_dask(
    group: zarr.Group,
    array: zarr.Array | StoredCSR,
    blocks: tuple[int, ...],
    where: str,
    array_type: str = "numpy",
) -> da.Array:
    """Wrap an array of a group as a Dask array with the given rows per block."""
    folder = local_path(group)
    stored = array.parts["indptr"] if isinstance(array, StoredCSR) else array
    dtype = array.dtype if isinstance(array, StoredCSR) else plain_dtype(array, where)
    source = group if folder is None else str(folder)
    rows = ZarrRows(source, array.basename, array.shape, dtype, array_type)
    metadata = None
    if folder is not None:
        metadata = folder.joinpath(
            array.basename,
            "indptr" if stored is not array else "",
            "zarr.json" if stored.metadata.zarr_format == 3 else ".zarray",
        )
    # A data set that was written again at the same path must not share keys with the old one.
    stamp = metadata.stat().st_mtime_ns if metadata else id(group)
    token = tokenize(rows.source if folder else where, array.basename, stamp, blocks, array_type)
    name = f"read-{array.basename}-{token}"
    chunks = (blocks, *((size,) for size in array.shape[1:]))
    # On the host even if the blocks are not, so that the client needs no GPU.
    meta = scipy.sparse.csr_array((0, 0), dtype=dtype) if stored is not array else np.empty((0,) * array.ndim, dtype)
    return da.from_array(rows, chunks=chunks, name=name, meta=meta, asarray=False, fancy=False, inline_array=True)
