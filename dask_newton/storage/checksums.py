"""Formats and checksums: what every group of this library on disk carries.

The checksum of a chunk is the CRC-32 of its values, not of the file, so that it outlives another compression.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FORMAT", "FORMAT_KEY", "DatasetError", "checksum", "dimensions", "is_string", "jsonable"]


FORMAT = 1


FORMAT_KEY = "dask_newton_format"


class DatasetError(ValueError):
    """A data set or raw file is not what it should be; the message says where, what and what to do."""


def is_string(dtype: np.dtype[Any]) -> bool:
    """Whether ``dtype`` holds text: fixed width (U) or variable width (T)."""
    return dtype.kind in "UT"


def dimensions(name: str, ndim: int) -> tuple[str, ...]:
    """Names of the dimensions of a column."""
    return ("sample", "feature" if name == "X" else "target")[:ndim]


def checksum(values: np.ndarray) -> int:
    """CRC-32 of the values of a chunk: their little-endian bytes in C order, or NUL-joined UTF-8 for text."""
    if is_string(values.dtype):
        return zlib.crc32("\0".join(values.ravel().tolist()).encode())
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return zlib.crc32(little.view(np.uint8).reshape(-1).data)


def jsonable(value: Any) -> Any:
    """Turn NumPy scalars and arrays, paths and mappings into what JSON holds; leave the rest to JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    return value
