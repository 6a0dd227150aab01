"""Groups on disk: opened for reading, with a sentence for every problem, and closed after writing."""

from __future__ import annotations

import os
import warnings
from importlib.metadata import PackageNotFoundError, version
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.errors import ContainsArrayError

from dask_newton.storage.integrity import check_codecs, local_path, read_chunk
from dask_newton.storage.kinds import CHECKPOINT, DATASET, MODEL, DatasetError, GroupKind

__all__ = ["array_of", "consolidate", "created_by", "is_kind", "member_of", "open_group", "plain_dtype"]


def open_group(path: str | os.PathLike[str] | zarr.Group, kind: GroupKind) -> tuple[zarr.Group, str]:
    """Open a group of a kind for reading; return it with its name for messages.

    Data sets may also be groups that another program wrote.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    DatasetError, ModelError, CheckpointError
        If it is no group, of another kind or another version, half-written or damaged.
    """
    if isinstance(path, zarr.Group):
        folder = local_path(path)
        where = str(folder or path.path or path.store)
        if folder is None:
            _check_kind(path, where, kind)
            return path, where
        path = folder  # opened again by path, for reading, past any cached metadata
    where = os.fspath(path)
    if "://" not in where and not Path(where).exists():
        raise FileNotFoundError(f"There is no {kind.noun} at {where}.")
    try:
        group = zarr.open_group(where, mode="r", use_consolidated=False)
    except ContainsArrayError as error:
        raise kind.error(
            f"{where} is a Zarr array, but a {kind.noun} is a Zarr group; give the group. {kind.origin}"
        ) from error
    except FileNotFoundError as error:
        raise kind.error(
            f"{where} is not a {kind.noun}, as it is not a Zarr group: it has no zarr.json or .zgroup. {kind.origin}"
        ) from error
    except (JSONDecodeError, UnicodeDecodeError, ValueError, KeyError, TypeError, OSError) as error:
        raise kind.error(f"The {kind.noun} {where} is damaged, its metadata cannot be read: {error}") from error
    _check_kind(group, where, kind)
    return group, where


def is_kind(path: str | os.PathLike[str], kind: GroupKind) -> bool:
    """Whether there is a Zarr group at ``path`` that says it is of a kind."""
    try:
        return kind.key in zarr.open_group(os.fspath(path), mode="r", use_consolidated=False).attrs
    except (OSError, JSONDecodeError, ValueError, KeyError, TypeError):
        return False


def _check_kind(group: zarr.Group, where: str, kind: GroupKind) -> None:
    attributes: dict[str, Any] = group.attrs.asdict()
    if kind.key in attributes:
        kind.check_version(attributes, where)
        if attributes.get("complete", True) is not True:
            raise kind.error(f"{where} is half-written: its writer did not finish. Delete it and write it again.")
        return
    other = next((other for other in (DATASET, MODEL, CHECKPOINT) if other.key in attributes), None)
    if other is not None:
        raise kind.error(f"{where} is a {other.noun}, not a {kind.noun}. {kind.origin}")
    if kind is not DATASET:
        raise kind.error(f"{where} is a Zarr group, but not a {kind.noun}. {kind.origin}")


def member_of(group: zarr.Group, name: str, where: str) -> zarr.Group | zarr.Array | None:
    """Return the array or group ``name`` of a group, None if there is none."""
    try:
        return group.get(name)
    except Exception as error:  # zarr raises many types of errors for invalid metadata
        raise DatasetError(f"The metadata of {name!r} in {where} cannot be read: {error}") from error


def array_of(group: zarr.Group, name: str, where: str) -> zarr.Array | None:
    """Return the array ``name`` of a group, None if there is none; refuse one that cannot be read safely."""
    node = member_of(group, name, where)
    if node is None:
        return None
    if isinstance(node, zarr.Group):
        raise DatasetError(f"{name!r} in {where} is a group, not an array; only X may be sparse.")
    check_codecs(node, where)
    if "scale_factor" in node.attrs or "add_offset" in node.attrs:
        raise DatasetError(f"{name!r} in {where} is packed (scale_factor, add_offset); unpack it, as xarray does.")
    return node


def plain_dtype(array: zarr.Array, where: str) -> np.dtype[Any]:
    """Return the dtype in native byte order; for text of variable width, with the width of its longest value."""
    if array.dtype.kind in "biuf":
        return np.dtype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "U":
        return np.dtype(f"U{array.dtype.itemsize // 4}")
    if array.dtype.kind not in "TO":
        raise DatasetError(f"{array.basename!r} in {where} has dtype {array.dtype}; numbers and strings are read.")
    width = array.attrs.get("max_chars")
    if not isinstance(width, int):
        width = 1
        for start in range(0, array.shape[0], array.chunks[0]):
            values = read_chunk(array, start, min(start + array.chunks[0], array.shape[0]), where).ravel().tolist()
            if not all(isinstance(value, str) for value in values):
                raise DatasetError(f"{array.basename!r} in {where} holds objects that are not strings.")
            width = max(width, *(len(value) for value in values))
    return np.dtype(f"U{width}")


def created_by() -> str:
    """Return the name and, if it is installed, the version of this package."""
    try:
        return f"dask_newton {version('dask_newton')}"
    except PackageNotFoundError:
        return "dask_newton"


def consolidate(path: Path) -> None:
    """Write consolidated metadata."""
    with warnings.catch_warnings():
        # Readers such as xarray use it, although it is not in the specification yet.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(path, zarr_format=3)
