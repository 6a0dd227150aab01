"""Walks through what lies beside a block: arrays in a structure of dataclasses, tuples, lists and dictionaries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from dask.sizeof import sizeof

from dask_newton.arrays import align, is_sparse
from dask_newton.arrays import nbytes as nbytes_of

__all__ = ["aligned", "children", "leaves", "nbytes", "rebuilt"]


def children(value: Any) -> dict[Any, Any] | None:
    """Return the entries of a container by name, index or key; None for anything else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    return None


def rebuilt(value: Any, entries: dict[Any, Any]) -> Any:
    """Return a container like ``value`` with other entries."""
    if isinstance(value, dict):
        return entries
    if isinstance(value, tuple | list):
        return value._make(entries.values()) if hasattr(value, "_make") else type(value)(entries.values())
    return dataclasses.replace(value, **entries)


def leaves(value: Any, visit: Callable[[Any], None]) -> None:
    """Call ``visit`` with everything in ``value`` that is not a container."""
    entries = children(value)
    if entries is None:
        visit(value)
    else:
        for entry in entries.values():
            leaves(entry, visit)


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


def aligned(value: Any) -> Any:
    """Return ``value``, with copies of those NumPy arrays in it that are not aligned, as they may come over a network.

    A product with an unaligned array has other bits.
    """
    if isinstance(value, np.ndarray):
        return align(value)
    entries = children(value)
    if entries is None:
        return value
    moved = {key: aligned(entry) for key, entry in entries.items()}
    return rebuilt(value, moved) if any(moved[key] is not entries[key] for key in moved) else value
