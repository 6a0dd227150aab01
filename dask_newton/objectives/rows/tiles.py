"""Row tiles of the size of the cache, and stripes of tiles for the threads.

A tile is read from memory once, and used for both products with X while it is in the cache. Tiles and stripes depend on
the shape of the data, never on the number of threads, so that sums have the same bits for any number of threads.

With sparse X, the product with X' of a tile with few rows has more entries than the tile. So sparse tiles are larger
than the cache if there are many features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, is_host, is_sparse, namespace, nbytes, take_rows

__all__ = ["panels", "row_bytes", "stripes", "take_tiled", "tiles"]

_TILE_BYTES = {True: 1_600_000, False: 2**31}  # measured with caches of 1 MiB; devices are fast with few large kernels
_MAX_ROWS = 16384
_SPARSE_FILL = 32  # stored entries of a sparse tile per feature
_MAX_STRIPES = 32
_SUM_BYTES = 2**27  # for the partial sums of all stripes together


def row_bytes(X: Any) -> int:
    """Return the bytes of a row of ``X``, on average."""
    return max(1, nbytes(X) // max(1, X.shape[0]))


def tiles(X: Any) -> list[slice]:
    """Return the row slices of the tiles of ``X``; an empty block has none."""
    n_rows, n_features = X.shape
    host, size, most = is_host(X), _TILE_BYTES[is_host(X)], _MAX_ROWS
    if is_sparse(X) and host:
        size, most = max(size, _SPARSE_FILL * n_features * 8), max(most, n_features)
    rows = size // row_bytes(X)
    rows = min(max(rows // 64 * 64, 128), most) if host else max(rows, 1)
    return [slice(start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)]


def stripes(items: Sequence[Any], sum_bytes: int) -> list[Sequence[Any]]:
    """Cut ``items`` into runs; each run has a partial sum of ``sum_bytes``."""
    n = max(1, min(len(items), _MAX_STRIPES, _SUM_BYTES // max(1, sum_bytes)))
    ends = [len(items) * i // n for i in range(n + 1)]
    return [items[start:stop] for start, stop in zip(ends, ends[1:], strict=False)]


def take_tiled(tiled: Sequence[Any], cuts: Sequence[slice], rows: np.ndarray) -> Any:
    """Return some rows, in ascending order, of a quantity that is stored by row tile (a copy)."""
    edges = np.searchsorted(rows, [cut.start for cut in cuts] + [cuts[-1].stop])
    parts = []
    for part, cut, first, last in zip(tiled, cuts, edges, edges[1:], strict=False):
        if first < last:
            parts.append(take_rows(part, from_host(rows[first:last] - cut.start, part)))
    return parts[0] if len(parts) == 1 else namespace(parts[0]).concat(parts)


def panels(width: int, X: Any) -> Iterator[tuple[slice, slice]]:
    """Yield the pairs of column panels of the upper triangle of a symmetric product of ``X`` with itself."""
    size = 512 if is_host(X) else width
    cuts = [slice(start, min(start + size, width)) for start in range(0, width, size)]
    for i, rows in enumerate(cuts):
        for columns in cuts[i:]:
            yield rows, columns
