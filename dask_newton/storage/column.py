"""An array on disk to which whole chunks are appended, each with a checksum."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from dask_newton.storage.checksums import checksum, is_string
from dask_newton.storage.integrity import stored_bytes
from dask_newton.storage.kinds import DatasetError

__all__ = ["Column"]


@dataclass
class Column:
    """An array to which whole chunks are appended.

    Attributes
    ----------
    array : zarr.Array
    rows : int
        Rows of a chunk.
    checksums : list of int
        Of the chunks so far.
    max_chars : int
        Length of the longest string so far.
    """

    array: zarr.Array
    rows: int
    checksums: list[int] = field(default_factory=list)
    max_chars: int = 1

    @classmethod
    def create(
        cls,
        group: zarr.Group,
        name: str,
        like: np.ndarray,
        rows: int,
        dims: tuple[str, ...],
        compress: bool = True,
    ) -> Column:
        """Create an empty array for rows like those of ``like``, in chunks of ``rows`` rows."""
        text = is_string(like.dtype)
        array = group.create_array(
            name,
            shape=(0, *like.shape[1:]),
            chunks=(rows, *like.shape[1:]),
            dtype=str if text else like.dtype,
            dimension_names=dims,
            # With a checksum inside each chunk, every later read detects a damaged file.
            compressors=[*([ZstdCodec(level=3)] if compress else []), Crc32cCodec()],
            config={"write_empty_chunks": True},
        )
        return cls(array, rows)

    @classmethod
    def coordinate(cls, group: zarr.Group, name: str, values: np.ndarray) -> Column:
        """Write the labels of a dimension, in one chunk."""
        if values.dtype.kind not in "biufUT":
            raise DatasetError(f"The coordinate {name!r} holds {values.dtype}; give strings or numbers.")
        column = cls.create(group, name, values, max(1, len(values)), (name,))
        column.append(values)
        return column

    def append(self, values: np.ndarray) -> None:
        """Write a whole chunk at the end; only the last one may be shorter than ``rows``."""
        start = self.array.shape[0]
        self.array.resize((start + len(values), *self.array.shape[1:]))
        self.array[start:] = values
        self.checksums.append(checksum(values))
        if is_string(values.dtype):
            self.max_chars = max(self.max_chars, *(len(value) for value in values.ravel().tolist()))

    def finish(self) -> None:
        """Store the checksums as attributes of the array."""
        noted: dict[str, Any] = {
            "checksum_algorithm": "crc32 of the little-endian bytes, or of the NUL-joined UTF-8 strings",
            "checksum_rows": self.rows,
            "checksums": self.checksums,
            "stored_bytes": stored_bytes(self.array),
        }
        if not isinstance(self.array.dtype, np.dtypes.StringDType):
            self.array.attrs.update(noted)
        else:
            self.array.attrs.update(noted | {"max_chars": self.max_chars})
