"""Anchors: values that lie beside blocks, taken apart so that they can be kept without the passes that made them.

A value is arrays in a structure of frozen dataclasses, tuples, lists and dictionaries. The structure travels to the
driver and back inside a recipe. The arrays travel with it as NumPy arrays, or stay behind as one ``.npz`` file per
block. Arrays of other types come back on the device of the block's own data, the only place where the library may
assume that they can exist.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import uuid
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.sizeof import sizeof

from dask_newton.arrays import from_host, namespace, to_host

__all__ = ["Folder", "Packed", "nbytes", "pack", "unpack"]


class Folder:
    """A folder of files of one anchor, removed when the last column that needs it is gone."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, f"dask-newton-{uuid.uuid4().hex}")
        os.makedirs(self.path)
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class _Stored:
    """Stands for an array: the array on the host, or its place in the file, and its type where that is not NumPy."""

    array: np.ndarray | int
    kind: str | None


@dataclass(frozen=True)
class _Record:
    """Stands for a dataclass, which might not accept anything but arrays in its fields."""

    cls: type
    values: dict[str, Any]


@dataclass(frozen=True)
class Packed:
    """A value taken apart.

    Attributes
    ----------
    structure : object
        The value, with stand-ins for its arrays.
    path : str or None
        The file with the arrays; None if the stand-ins hold them.
    foreign : bool
        Whether some arrays are not NumPy arrays.
    """

    structure: Any
    path: str | None
    foreign: bool


def pack(value: Any, path: str | None = None) -> Packed:
    """Return ``value`` without anything that only its worker knows; its arrays go to the file ``path``, if given."""
    arrays: list[np.ndarray] = []
    kinds: set[str | None] = set()

    def store(leaf: Any) -> Any:
        if not _is_array(leaf):
            return leaf
        kind = None if isinstance(leaf, np.ndarray) else _kind(leaf)
        kinds.add(kind)
        arrays.append(to_host(leaf))
        return _Stored(arrays[-1] if path is None else len(arrays) - 1, kind)

    structure = _rebuild(value, store)
    foreign = bool(kinds - {None})
    if path is None or not arrays:
        return Packed(structure, None, foreign)
    partial = f"{path}.{uuid.uuid4().hex}"
    try:
        with open(partial, "xb") as file:
            np.savez(file, *arrays)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The folder {os.path.dirname(path)} was made by the client and a worker does not see it. Set "
            "dask-newton.anchor.directory to a folder on a file system that the client and all workers share."
        ) from error
    os.replace(partial, path)  # at no time a half-written file under the final name
    return Packed(structure, path, foreign)


def unpack(packed: Packed, block: Any) -> Any:
    """Undo :func:`pack`, beside the data ``block``."""
    if packed.path is None:
        return _restore(packed.structure, lambda array: array, block)
    with np.load(packed.path, allow_pickle=False) as arrays:
        return _restore(packed.structure, lambda index: arrays[f"arr_{index}"], block)


def nbytes(value: Any) -> int:
    """Return about how many bytes a value holds, in the arrays of its dataclasses too, which Dask does not count."""
    sizes: list[int] = []
    _rebuild(value, lambda leaf: sizes.append(getattr(leaf, "nbytes", None) or sizeof(leaf)))
    return sum(sizes)


def _rebuild(value: Any, leaf: Callable[[Any], Any]) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return _Record(type(value), {name: _rebuild(getattr(value, name), leaf) for name in names})
    if isinstance(value, tuple | list):
        return _like(value, (_rebuild(entry, leaf) for entry in value))
    if isinstance(value, dict):
        return {key: _rebuild(entry, leaf) for key, entry in value.items()}
    return leaf(value)


def _restore(value: Any, load: Callable[[Any], np.ndarray], block: Any) -> Any:
    if isinstance(value, _Stored):
        array = load(value.array)
        return array if value.kind is None else from_host(array, _find(value.kind, block))
    if isinstance(value, _Record):
        return value.cls(**{name: _restore(entry, load, block) for name, entry in value.values.items()})
    if isinstance(value, tuple | list):
        return _like(value, (_restore(entry, load, block) for entry in value))
    if isinstance(value, dict):
        return {key: _restore(entry, load, block) for key, entry in value.items()}
    return value


def _like(value: Any, entries: Iterator[Any]) -> Any:
    return value._make(entries) if hasattr(value, "_make") else type(value)(entries)


def _is_array(leaf: Any) -> bool:
    if isinstance(leaf, np.ndarray):
        return not leaf.dtype.hasobject
    try:
        return hasattr(leaf, "shape") and not isinstance(leaf, np.generic) and namespace(leaf) is not None
    except TypeError:
        return False


def _kind(array: Any) -> str:
    return f"{type(array).__module__}.{type(array).__qualname__}"


def _find(kind: str, block: Any) -> Any:
    """Return an array of a type in the data of a block."""
    found: list[Any] = []
    _rebuild(block, lambda leaf: found.append(leaf) if _kind(leaf) == kind else None)
    if not found:
        raise TypeError(f"A value with arrays of type {kind} was kept beside a block of data that has none of them.")
    return found[0]
