"""Checksums of what is stored.

The checksum of a chunk is the CRC-32 of its values, not of the file, so it does not depend on compression.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

__all__ = ["checksum", "is_string"]


def is_string(dtype: np.dtype[Any]) -> bool:
    """Whether ``dtype`` holds text: fixed width (U) or variable width (T)."""
    return dtype.kind in "UT"


def checksum(values: np.ndarray) -> int:
    """Return the CRC-32 of the values of a chunk: little-endian bytes in C order, or NUL-joined UTF-8 for text."""
    if is_string(values.dtype):
        return zlib.crc32("\0".join(values.ravel().tolist()).encode())
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return zlib.crc32(little.view(np.uint8).reshape(-1).data)
