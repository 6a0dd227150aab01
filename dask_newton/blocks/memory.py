"""How much memory values take, and what a worker does with memory that arrays leave behind."""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

from dask.sizeof import sizeof

from dask_newton.arrays import is_sparse
from dask_newton.arrays import nbytes as nbytes_of
from dask_newton.blocks.config import n_bytes
from dask_newton.trees import leaves

__all__ = ["keep_freed_memory", "nbytes"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of mallopt, in malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # that glibc accepts on 64 bits


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library of this process keep some memory that arrays leave behind, for the next ones.

    Dask starts workers with ``MALLOC_TRIM_THRESHOLD_=65536``, with which glibc gets every array above 128 kB from the
    system, page by page, and gives it back at once. Page faults then take about half the time of a pass of a network.
    """
    kept = n_bytes("memory.keep-freed")
    if kept and "MALLOC_TRIM_THRESHOLD_" in os.environ and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_MMAP_THRESHOLD, min(kept, _LARGEST_MMAP_THRESHOLD))
            libc.mallopt(_M_TRIM_THRESHOLD, kept)
            libc.mallopt(_M_TOP_PAD, kept)  # the heaps of threads heed this one


def nbytes(value: Any) -> int:
    """Return about how many bytes a value holds, in the arrays of its dataclasses too, which Dask does not count."""
    sizes: list[int] = []
    leaves(value, lambda leaf: sizes.append(_leaf_bytes(leaf)))
    return sum(sizes)


def _leaf_bytes(leaf: Any) -> int:
    if is_sparse(leaf):  # Dask does not count all kinds
        return nbytes_of(leaf)
    size = getattr(leaf, "nbytes", None)
    return sizeof(leaf) if size is None else size
