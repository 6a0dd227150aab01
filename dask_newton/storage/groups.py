"""Groups of this library on disk: opened for reading, with every problem in a sentence; and their finishing touches."""

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

from dask_newton.storage.checksums import DatasetError
from dask_newton.storage.integrity import check_codecs, check_marker, local_path, read_chunk

__all__ = ["array_of", "consolidate", "created_by", "member_of", "open_group", "plain_dtype"]


def open_group(path: str | os.PathLike[str] | zarr.Group) -> tuple[zarr.Group, str]:
    """Open a group for reading and check its marker; return it with its name for messages."""
    if isinstance(path, zarr.Group):
        folder = local_path(path)
        where = str(folder or path.path or path.store)
        if folder is None:
            check_marker(path, where)
            return path, where
        path = folder  # opened again by path, for reading, past any cached metadata
    where = os.fspath(path)
    if "://" not in where and not Path(where).exists():
        raise FileNotFoundError(f"There is nothing at {where}.")
    try:
        group = zarr.open_group(where, mode="r", use_consolidated=False)
    except ContainsArrayError as error:
        raise DatasetError(f"{where} is a Zarr array; give the group that holds 'X' and 'y'.") from error
    except FileNotFoundError as error:
        raise DatasetError(
            f"{where} is not a Zarr group: it has no zarr.json or .zgroup. Write one with save_dataset or convert it."
        ) from error
    except (JSONDecodeError, UnicodeDecodeError, ValueError, KeyError, TypeError, OSError) as error:
        raise DatasetError(f"The metadata of {where} cannot be read, the file is damaged: {error}") from error
    check_marker(group, where)
    return group, where


def member_of(group: zarr.Group, name: str, where: str) -> zarr.Group | zarr.Array | None:
    """Return the array or group ``name`` of a group, None if there is none."""
    try:
        return group.get(name)
    except Exception as error:  # zarr raises many kinds for metadata that it does not understand
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
    """Convert a dtype to native byte order; give text of variable width the width of its longest value."""
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
        # Readers such as xarray want it; that it is not in the specification yet is known.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(path, zarr_format=3)
