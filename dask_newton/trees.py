"""Trees of values: dataclasses, tuples, lists and dictionaries, with anything else as leaves.

Everything that walks through the state of a solver, or through a value beside a block, does so with these functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from dask_newton.arrays import align

__all__ = ["Record", "aligned", "children", "leaves", "mapped", "put_together", "take_apart"]

Leaf = Callable[[Any], Any]


class Record:
    """Stands for a dataclass whose constructor might refuse the stand-ins that its fields hold for a while.

    Attributes
    ----------
    cls : type
    entries : dict
        The fields by name.
    """

    def __init__(self, cls: type, entries: dict[str, Any]) -> None:
        self.cls, self.entries = cls, entries


def children(value: Any) -> dict[Any, Any] | None:
    """Return the entries of a container by name, index or key; None for a leaf."""
    if isinstance(value, dict):
        return value
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    if isinstance(value, Record):
        return value.entries
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    return None


def leaves(value: Any, visit: Callable[[Any], None]) -> None:
    """Call ``visit`` with every leaf."""
    entries = children(value)
    if entries is None:
        visit(value)
    else:
        for entry in entries.values():
            leaves(entry, visit)


def mapped(value: Any, replace: Leaf) -> Any:
    """Return the tree with ``replace(leaf)`` for every leaf; containers in which nothing changes are kept."""

    def build(container: Any, entries: dict[Any, Any], before: dict[Any, Any]) -> Any:
        changed = any(entries[key] is not before[key] for key in before)
        return _like(container, entries) if changed else container

    return _walk(value, replace, build)


def take_apart(value: Any, replace: Leaf) -> Any:
    """Return the tree with ``replace(leaf)`` for every leaf and a :class:`Record` for every dataclass."""

    def build(container: Any, entries: dict[Any, Any], before: dict[Any, Any]) -> Any:
        plain = isinstance(container, dict | tuple | list)
        return _like(container, entries) if plain else Record(type(container), entries)

    return _walk(value, replace, build)


def put_together(value: Any, replace: Leaf) -> Any:
    """Undo :func:`take_apart`."""

    def build(container: Any, entries: dict[Any, Any], before: dict[Any, Any]) -> Any:
        return container.cls(**entries) if isinstance(container, Record) else _like(container, entries)

    return _walk(value, replace, build)


def aligned(value: Any) -> Any:
    """Return the tree with copies of the NumPy arrays that are not aligned, as they may come over a network.

    A product with an unaligned array has other bits.
    """
    return mapped(value, lambda leaf: align(leaf) if isinstance(leaf, np.ndarray) else leaf)


def _walk(value: Any, replace: Leaf, build: Callable[[Any, dict[Any, Any], dict[Any, Any]], Any]) -> Any:
    entries = children(value)
    if entries is None:
        return replace(value)
    return build(value, {key: _walk(entry, replace, build) for key, entry in entries.items()}, entries)


def _like(container: Any, entries: dict[Any, Any]) -> Any:
    """Return a container of the same kind with other entries."""
    if isinstance(container, dict):
        return entries
    if isinstance(container, tuple | list):
        kind: Any = type(container)
        return kind._make(entries.values()) if hasattr(kind, "_make") else kind(entries.values())
    if isinstance(container, Record):
        return Record(container.cls, entries)
    return dataclasses.replace(container, **entries)
