"""MATLAB files, versions 5 to 7, with ``X`` and ``y``: tables, or images of shape (height, width, channels, n).

These files cannot be read in parts, so a whole file is in memory at a time. SVHN labels the digit 0 with 10; the
named data set renames it to 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from dask_newton.data.aliases import Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.raw import RawData, RawFormat, ReadOptions, Splits
from dask_newton.data.layout import default_chunk_rows
from dask_newton.storage.kinds import DatasetError

__all__ = ["FORMAT"]


def _recognise(path: Path, head: bytes) -> bool:
    return head.startswith(b"MATLAB 5.0")


def _read(splits: Splits, options: ReadOptions, progress: Progress | None) -> RawData:
    batches: dict[str, Any] = {}
    for name, paths in splits.items():
        if len(paths) != 1:
            raise DatasetError(f"Give one MATLAB file per split, not {len(paths)}.")
        shapes = {key: shape for key, shape, _ in _load(scipy.io.whosmat, paths[0])}
        if "X" not in shapes or "y" not in shapes:
            raise DatasetError(f"{paths[0]} holds {', '.join(shapes) or 'nothing'}; it must hold X and y.")
        n_rows = shapes["X"][0 if len(shapes["X"]) == 2 else -1]
        if int(np.prod(shapes["y"])) != n_rows:
            raise DatasetError(f"X of {paths[0]} has {n_rows} rows, but y has the shape {shapes['y']}.")
        batches[name] = RowBatches(n_rows, _rows(paths[0]))
    return RawData(batches)


def _load(read: Any, path: Path) -> Any:
    try:
        return read(path)
    except Exception as error:  # SciPy raises many types of errors for a truncated file
        raise DatasetError(f"{path} is a damaged or truncated MATLAB file ({error}); copy it again.") from error


def _rows(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    content = _load(scipy.io.loadmat, path)
    X, y = content["X"], content["y"].ravel()
    if X.ndim > 2:
        X = np.moveaxis(X, -1, 0)
    rows = default_chunk_rows(X[0].nbytes)
    for start in range(0, len(X), rows):
        part = X[start : start + rows]
        yield part.reshape(len(part), -1), y[start : start + rows]


FORMAT = RawFormat("matlab", "MATLAB", _recognise, _read)
