"""Images kept as rows of pixels in picture files or arrays: one image per row.

Some copies of MNIST are picture files with 784 columns in which every row is one digit. The caller loads a
file, with any library, and this module pairs it with labels, a file at a time:

    load = lambda file: numpy.asarray(PIL.Image.open(file))[:, :, 0]
    convert_pixel_rows([functools.partial(load, file) for file in files], labels, "mnist.zarr", scale=1 / 255)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dask_newton.data.aliases import Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.idx import pixel_converter
from dask_newton.data.writer import save_dataset
from dask_newton.storage.kinds import DatasetError

__all__ = ["convert_pixel_rows", "pixel_row_batches"]

Image = np.ndarray | Callable[[], np.ndarray]


def pixel_row_batches(
    images: Iterable[Image],
    labels: Any,
    *,
    undo_shift: bool = False,
    scale: float | None = None,
    dtype: Any = None,
    label_dtype: Any = None,
) -> RowBatches:
    """Pair rows of pixels with labels, as batches for ``save_dataset``.

    Parameters
    ----------
    images : iterable of arrays of shape (n_images, n_pixels), or of functions that return one
        Functions are called one at a time, so that one array is in memory at a time.
    labels : array-like of shape (total number of images,)
        In the order of the rows.
    undo_shift : bool, default False
        Add 1 to every non-zero pixel, for copies in which max(pixel - 1, 0) was stored. Pixels whose value
        was 1 were stored as 0 and stay so.
    scale : float, optional
        Factor on the pixels, such as 1 / 255.
    dtype : dtype, optional
        Type of the pixels; by default that of the arrays, or float32 with ``scale``.
    label_dtype : dtype, optional
        Type of the labels.

    Returns
    -------
    RowBatches
        Tuples (X, y).
    """
    targets = np.asarray(labels, dtype=label_dtype)
    if targets.ndim != 1:
        raise DatasetError(f"The labels have shape {targets.shape}; give one label per image.")
    convert = pixel_converter(scale, dtype)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        done = 0
        for number, image in enumerate(images):
            pixels = np.asarray(image() if callable(image) else image)
            if pixels.ndim != 2:
                raise DatasetError(
                    f"Array {number} of the images has shape {pixels.shape}; give one image per row (of a picture with "
                    "colour channels, one channel)."
                )
            if done + len(pixels) > len(targets):
                raise DatasetError(
                    f"There are {len(targets)} labels, but array {number} ends with image {done + len(pixels)}."
                )
            if undo_shift:
                pixels = _undo_shift(pixels, number)
            yield convert(pixels), targets[done : done + len(pixels)]
            done += len(pixels)
        if done < len(targets):
            raise DatasetError(f"There are {len(targets)} labels, but only {done} images.")

    return RowBatches(len(targets), batches())


def convert_pixel_rows(
    images: Iterable[Image],
    labels: Any,
    out: str | os.PathLike[str],
    *,
    undo_shift: bool = False,
    scale: float | None = None,
    dtype: Any = None,
    label_dtype: Any = None,
    classes: Iterable[Any] | Any = "auto",
    attrs: Mapping[str, Any] | None = None,
    chunk_rows: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Convert rows of pixels to a data set, in bounded memory.

    Parameters
    ----------
    images, labels, undo_shift, scale, dtype, label_dtype
        As for :func:`pixel_row_batches`.
    out : path
        The Zarr group to create; it appears only when it is complete.
    classes, attrs, chunk_rows, overwrite, progress
        As for :func:`dask_newton.data.save_dataset`.

    Returns
    -------
    pathlib.Path
        ``out``.
    """
    batches = pixel_row_batches(
        images, labels, undo_shift=undo_shift, scale=scale, dtype=dtype, label_dtype=label_dtype
    )
    return save_dataset(
        out,
        batches,
        classes=classes,
        attrs=attrs,
        chunk_rows=chunk_rows,
        overwrite=overwrite,
        progress=progress,
    )


def _undo_shift(pixels: np.ndarray, number: int) -> np.ndarray:
    if pixels.dtype != np.uint8:
        raise DatasetError(f"undo_shift needs pixels of dtype uint8; array {number} of the images has {pixels.dtype}.")
    if pixels.max(initial=0) == 255:
        raise DatasetError(
            f"Array {number} of the images has pixels of 255, which shifted pixels cannot have; give undo_shift=False."
        )
    return pixels + (pixels > 0).astype(np.uint8)
