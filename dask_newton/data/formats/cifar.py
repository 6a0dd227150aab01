"""The binary version of CIFAR-10 and CIFAR-100: records of labels and 3,072 pixels, without a header.

A record of CIFAR-10 is one byte of label and 1,024 bytes each of red, green and blue, row by row; one of CIFAR-100
has two labels, the coarse and the fine one, of which the fine one is used (A. Krizhevsky, "Learning multiple
layers of features from tiny images", 2009).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dask_newton.data.aliases import Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.files import opened
from dask_newton.data.formats.raw import RawData, RawFormat, ReadOptions, Splits
from dask_newton.storage.kinds import DatasetError

__all__ = ["FORMAT"]

_PIXELS = 3072
_BATCH_ROWS = 4096


def _recognise(path: Path, head: bytes) -> bool:
    return path.suffix == ".bin" and _n_labels(path) is not None


def _n_labels(path: Path) -> int | None:
    size = path.stat().st_size
    return next((n for n in (1, 2) if size and size % (n + _PIXELS) == 0), None)


def _read(splits: Splits, options: ReadOptions, progress: Progress | None) -> RawData:
    batches: dict[str, Any] = {}
    for name, paths in splits.items():
        n_rows = 0
        for path in paths:
            labels = _n_labels(path)
            if labels is None:
                raise DatasetError(
                    f"{path} takes {path.stat().st_size} bytes, which is not a multiple of 3073 or 3074, the "
                    "size of a record of CIFAR; it is truncated or not the binary version."
                )
            n_rows += path.stat().st_size // (labels + _PIXELS)
        batches[name] = RowBatches(n_rows, _rows(paths))
    return RawData(batches)


def _rows(paths: Sequence[Path]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for path in paths:
        n_labels = _n_labels(path) or 1
        with opened(path) as (file, _):
            while data := file.read(_BATCH_ROWS * (n_labels + _PIXELS)):
                records = np.frombuffer(data, np.uint8).reshape(-1, n_labels + _PIXELS)
                yield np.ascontiguousarray(records[:, n_labels:]), records[:, n_labels - 1].copy()


FORMAT = RawFormat("cifar", "the binary version of CIFAR", _recognise, _read)
