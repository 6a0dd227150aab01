"""Cache-sized row tiles, and stripes of them for the threads.

A tile is read from memory once and used for both products with X while it is in cache. Tiles and stripes are cut by the
shape of the data alone, never by the number of threads, so that sums have the same bits on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dask_newton.arrays import is_host, namespace

__all__ = ["itemsize", "panels", "stripes", "tiles"]

_TILE_BYTES = {True: 1_600_000, False: 2**31}  # measured best with caches of 1 MiB; a device wants few large kernels
_MAX_STRIPES = 32
_SUM_BYTES = 2**27  # for the partial sums of all stripes together


def itemsize(X: Any) -> int:
    """Return the bytes of an entry of ``X``; not every array type has an attribute for it."""
    return namespace(X).finfo(X.dtype).bits // 8


def tiles(X: Any) -> list[slice]:
    """Return the row slices of the tiles of ``X``; an empty block has none."""
    n_rows, n_features = X.shape
    host = is_host(X)
    rows = _TILE_BYTES[host] // max(1, n_features * itemsize(X))
    rows = min(max(rows // 64 * 64, 128), 16384) if host else max(rows, 1)
    return [slice(start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)]


def stripes(items: Sequence[Any], sum_bytes: int) -> list[Sequence[Any]]:
    """Cut ``items`` into runs, each with a partial sum of ``sum_bytes`` of its own."""
    n = max(1, min(len(items), _MAX_STRIPES, _SUM_BYTES // max(1, sum_bytes)))
    ends = [len(items) * i // n for i in range(n + 1)]
    return [items[start:stop] for start, stop in zip(ends, ends[1:], strict=False)]


def panels(width: int, X: Any) -> Iterator[tuple[slice, slice]]:
    """Yield the pairs of column panels of the upper triangle of a symmetric product of ``X`` with itself."""
    size = 512 if is_host(X) else width
    cuts = [slice(start, min(start + size, width)) for start in range(0, width, size)]
    for i, rows in enumerate(cuts):
        for columns in cuts[i:]:
            yield rows, columns
