"""Anchors: values that lie beside blocks, taken apart so that they can be kept without the passes that made them.

The structure of a value travels to the driver and back inside a recipe. Its arrays travel with it as NumPy arrays, or
stay behind as one ``.npz`` file per block. Arrays of other types come back on the device of the block's own data, the
only place where the library may assume that they can exist.
"""

from __future__ import annotations

import os
import shutil
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import align, from_host, is_sparse, namespace, to_host
from dask_newton.trees import leaves, put_together, take_apart

__all__ = ["Folder", "Packed", "Stored", "pack", "unpack"]


class Folder:
    """A folder for the files of one anchor, removed when the last column that needs it is gone."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.path = os.path.join(directory, f"dask-newton-{uuid.uuid4().hex}")
        os.makedirs(self.path)
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


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


class Stored:
    """Stands for an array: the array on the host or its number in the file, and its type where that is not NumPy."""

    def __init__(self, array: np.ndarray | int, kind: str | None) -> None:
        self.array, self.kind = array, kind


def pack(value: Any, path: str | None = None) -> Packed:
    """Return ``value`` without anything that only its worker knows; its arrays go to the file ``path``, if given."""
    arrays: list[np.ndarray] = []
    foreign: list[str] = []

    def store(leaf: Any) -> Any:
        kind = _kind(leaf)
        if kind is not None and kind != "numpy.ndarray":
            foreign.append(kind)
        if kind is None:
            return leaf
        arrays.append(to_host(leaf))
        return Stored(arrays[-1] if path is None else len(arrays) - 1, None if kind == "numpy.ndarray" else kind)

    structure = take_apart(value, store)
    if path is None or not arrays:
        return Packed(structure, None, bool(foreign))
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
    return Packed(structure, path, bool(foreign))


def unpack(packed: Packed, block: Any) -> Any:
    """Undo :func:`pack`, beside the data ``block``."""
    if packed.path is None:
        return _filled(packed.structure, align, block)
    with open(packed.path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        return _filled(packed.structure, lambda number: arrays[f"arr_{number}"], block)


def _filled(structure: Any, load: Callable[[Any], np.ndarray], block: Any) -> Any:
    """Return the value that a structure with stand-ins for its arrays is made from."""

    def fill(leaf: Any) -> Any:
        if not isinstance(leaf, Stored):
            return leaf
        array = load(leaf.array)
        return array if leaf.kind is None else from_host(array, _array_in(block, leaf.kind))

    return put_together(structure, fill)


def _kind(leaf: Any) -> str | None:
    """Return the name of the type of an array; None for anything else, which stays in the structure as it is."""
    if isinstance(leaf, np.generic) or not hasattr(leaf, "shape") or is_sparse(leaf):
        return None
    try:
        namespace(leaf)
    except TypeError:
        return None
    if isinstance(leaf, np.ndarray):
        return None if leaf.dtype.hasobject else "numpy.ndarray"
    return f"{type(leaf).__module__}.{type(leaf).__qualname__}"


def _array_in(block: Any, kind: str) -> Any:
    """Return an array of a type in the data of a block."""
    found: list[Any] = []
    leaves(block, lambda leaf: found.append(leaf) if _kind(leaf) == kind else None)
    if not found:
        raise TypeError(f"Arrays of type {kind} were kept beside a block of data that has no such array.")
    return found[0]
