"""What the writer keeps of each array and of the labels while rows stream by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from dask_newton.data.integrity import stored_bytes
from dask_newton.data.layout import DatasetError, checksum, dimensions, is_string

__all__ = ["ClassCounter", "Classes", "Column"]

Classes = Iterable[Any] | Literal["auto"] | None

_MAX_CLASSES = 100_000


@dataclass
class Column:
    """One array that grows by whole chunks."""

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
        compress: bool,
        dims: tuple[str, ...] = (),
    ) -> Column:
        """Make an empty array for rows like those of ``like``, in chunks of ``rows`` rows."""
        text = is_string(like.dtype)
        array = group.create_array(
            name,
            shape=(0, *like.shape[1:]),
            chunks=(rows, *like.shape[1:]),
            dtype=str if text else like.dtype,
            dimension_names=dims or dimensions(name, like.ndim),
            # The checksum inside each chunk makes every later read notice a damaged file.
            compressors=[*([ZstdCodec(level=3)] if compress else []), Crc32cCodec()],
            config={"write_empty_chunks": True},
        )
        return cls(array, rows)

    @classmethod
    def coordinate(cls, group: zarr.Group, name: str, values: np.ndarray) -> Column:
        """Write the labels of a dimension, in one chunk."""
        if values.dtype.kind not in "biufUT":
            raise DatasetError(f"The coordinate {name!r} holds {values.dtype}; give strings or numbers.")
        column = cls.create(group, name, values, max(1, len(values)), True, dims=(name,))
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
        """Note what the chunks must look like when they are read."""
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


class ClassCounter:
    """Collect the labels that occur, and refuse those that should not."""

    def __init__(self, classes: Classes, y: np.ndarray | None) -> None:
        self.counts: Counter[Any] = Counter()
        self._given = None if classes is None or isinstance(classes, str) else np.asarray(list(classes))
        self._active = y is not None and (classes is not None or is_string(y.dtype) or y.dtype.kind == "b")
        if isinstance(classes, str) and classes != "auto":
            raise ValueError(f"classes is {classes!r}; give the labels, 'auto' or None.")
        if classes is not None and y is None:
            raise ValueError("classes were given, but there is no y.")

    def add(self, y: np.ndarray | None) -> None:
        """Count the labels of a chunk."""
        if not self._active or y is None:
            return
        labels, counts = np.unique(y, return_counts=True)
        self.counts.update(dict(zip(labels.tolist(), counts.tolist(), strict=True)))
        if self._given is not None:
            unknown = sorted(set(self.counts) - set(self._given.tolist()))
            if unknown:
                raise DatasetError(f"y holds the label {unknown[0]!r}, which is not among the classes given.")
        if len(self.counts) > _MAX_CLASSES:
            raise DatasetError(
                f"y has more than {_MAX_CLASSES} distinct values, too many for classes; give classes=None."
            )

    def classes(self) -> np.ndarray | None:
        """Return the labels, None if ``y`` is not made of classes."""
        if not self._active:
            return None
        return self._given if self._given is not None else np.asarray(sorted(self.counts))
