"""IDX files, the format of MNIST and its relatives, plain or compressed.

Two zero bytes, one byte for the dtype, one for the number of dimensions d, d big-endian 32-bit sizes, then
the values in C order, big-endian (format: Y. LeCun, "The MNIST database of handwritten digits").
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from dask_newton.data.aliases import PathLike, Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.files import opened
from dask_newton.data.formats.raw import RawData, RawFormat, ReadOptions, Splits
from dask_newton.data.writer import save_dataset, save_splits
from dask_newton.storage.kinds import DatasetError

__all__ = ["FORMAT", "IdxHeader", "convert_idx", "idx_batches", "iter_idx", "read_idx_header"]

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_BATCH_ROWS = 8192


@dataclass(frozen=True)
class IdxHeader:
    """The first bytes of an IDX file.

    Attributes
    ----------
    dtype : numpy.dtype
        Type of the values, in native byte order.
    shape : tuple of int
        Sizes; the first is the number of samples.
    compressed : bool
        Whether the file is compressed.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    compressed: bool


def read_idx_header(path: PathLike) -> IdxHeader:
    """Read the header of an IDX file.

    Parameters
    ----------
    path : path
        The file, plain or gzip-compressed (detected by its first bytes).

    Returns
    -------
    IdxHeader
        Its dtype and shape.

    Raises
    ------
    DatasetError
        If the file is not an IDX file, or if a plain file is longer or shorter than its header says.
    FileNotFoundError
        If there is no such file.
    """
    with opened(path) as (file, raw):
        return _parse_header(file, path, file is not raw)[0]


def iter_idx(path: PathLike, rows: int = _BATCH_ROWS) -> Iterator[np.ndarray]:
    """Read an IDX file a batch of rows at a time.

    Parameters
    ----------
    path : path
        The file, plain or gzip-compressed.
    rows : int
        Rows per batch; the last one may be shorter.

    Yields
    ------
    numpy.ndarray of shape (at most rows, ...)
        The values in native byte order.

    Raises
    ------
    DatasetError
        If the file is not an IDX file, is damaged, or is longer or shorter than its header says.
    """
    if rows < 1:
        raise ValueError(f"rows is {rows}; give at least 1.")
    with opened(path) as (file, raw):
        header, stored = _parse_header(file, path, file is not raw)
        row_bytes = math.prod(header.shape[1:]) * header.dtype.itemsize
        for start in range(0, header.shape[0], rows):
            expected = min(rows, header.shape[0] - start)
            data = file.read(expected * row_bytes)
            if len(data) < expected * row_bytes:
                raise DatasetError(
                    f"{path} ends after {start + len(data) // row_bytes} rows, but its header says {header.shape[0]}; "
                    "it is truncated: download it again."
                )
            batch = np.frombuffer(data, dtype=stored).reshape(expected, *header.shape[1:])
            yield batch.astype(header.dtype)
        if file.read(1):
            raise DatasetError(f"{path} continues after the {header.shape[0]} rows that its header announces.")


def idx_batches(
    images: PathLike,
    labels: PathLike,
    *,
    scale: float | None = None,
    dtype: Any = None,
    label_dtype: Any = None,
    rows: int = _BATCH_ROWS,
) -> RowBatches:
    """Pair a file of images with one of labels, as batches for ``save_dataset``.

    Parameters
    ----------
    images, labels : path
        IDX files; the images are flattened to one row each.
    scale : float, optional
        Factor on the pixels, such as 1 / 255.
    dtype : dtype, optional
        Type of the pixels; by default that of the file, or float32 with ``scale``.
    label_dtype : dtype, optional
        Type of the labels; by default that of the file.
    rows : int
        Rows per batch.

    Returns
    -------
    RowBatches
        Tuples (X, y).

    Raises
    ------
    DatasetError
        If the headers are wrong or the numbers of images and labels differ.
    """
    pixels, targets = read_idx_header(images), read_idx_header(labels)
    if len(pixels.shape) < 2:
        raise DatasetError(f"{images} holds {len(pixels.shape)}-dimensional data; images have two or three dimensions.")
    if len(targets.shape) != 1:
        raise DatasetError(f"{labels} holds data of shape {targets.shape}; labels have one dimension.")
    if pixels.shape[0] != targets.shape[0]:
        raise DatasetError(
            f"{images} holds {pixels.shape[0]} images, but {labels} holds {targets.shape[0]} labels; "
            "they are not a pair."
        )
    convert = pixel_converter(scale, dtype)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for X, y in zip(iter_idx(images, rows), iter_idx(labels, rows), strict=True):
            yield convert(X.reshape(len(X), -1)), y.astype(label_dtype or y.dtype, copy=False)

    return RowBatches(pixels.shape[0], batches())


def convert_idx(
    images: PathLike | Mapping[str, PathLike],
    labels: PathLike | Mapping[str, PathLike],
    out: PathLike,
    *,
    scale: float | None = None,
    dtype: Any = None,
    label_dtype: Any = None,
    classes: Iterable[Any] | Any = "auto",
    attrs: Mapping[str, Any] | None = None,
    chunk_rows: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Convert IDX files to a data set, in bounded memory.

    Parameters
    ----------
    images, labels : path, or mapping of split name to path
        With mappings such as ``{"train": ..., "test": ...}`` the splits become sub-groups of ``out``.
    out : path
        The Zarr group to create; it appears only when it is complete.
    scale, dtype, label_dtype
        As for :func:`idx_batches`.
    classes, attrs, chunk_rows, overwrite, progress
        As for :func:`dask_newton.data.save_dataset`.

    Returns
    -------
    pathlib.Path
        ``out``.

    Raises
    ------
    DatasetError
        If a file is not an IDX file, is damaged, or images and labels do not fit together.

    Examples
    --------
    >>> images, labels = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
    >>> convert_idx(images, labels, "test.zarr", scale=1 / 255)  # doctest: +SKIP
    """
    read: dict[str, Any] = {"scale": scale, "dtype": dtype, "label_dtype": label_dtype}
    write: dict[str, Any] = {
        "classes": classes,
        "attrs": attrs,
        "chunk_rows": chunk_rows,
        "overwrite": overwrite,
        "progress": progress,
    }
    if isinstance(images, Mapping) and isinstance(labels, Mapping):
        if set(images) != set(labels):
            raise ValueError(f"images has the splits {sorted(images)}, but labels has {sorted(labels)}.")
        return save_splits(out, {name: idx_batches(images[name], labels[name], **read) for name in images}, **write)
    if isinstance(images, Mapping) or isinstance(labels, Mapping):
        raise TypeError("Give a mapping of splits for both images and labels, or a path for both.")
    return save_dataset(out, idx_batches(images, labels, **read), **write)


def pixel_converter(scale: float | None, dtype: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that scales pixels and sets their dtype, without a copy in float64."""
    target = np.dtype(dtype) if dtype is not None else None if scale is None else np.dtype(np.float32)
    if scale is not None and target is not None and target.kind != "f":
        raise ValueError(f"scale={scale} makes fractions, which dtype {target} cannot hold; give a float dtype.")

    def convert(pixels: np.ndarray) -> np.ndarray:
        if target is not None:
            pixels = pixels.astype(target, copy=False)
        return pixels if scale is None else pixels * pixels.dtype.type(scale)

    return convert


def _parse_header(file: IO[bytes], path: PathLike, compressed: bool) -> tuple[IdxHeader, np.dtype[Any]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise DatasetError(
            f"{path} is not an IDX file: it begins with {magic.hex(' ') or 'nothing'}, expected 00 00, a type "
            f"({', '.join(f'{code:02x}' for code in _DTYPES)}) and the number of dimensions."
        )
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DatasetError(f"{path} ends inside its header; it is truncated: download it again.")
    shape = tuple(np.frombuffer(sizes, dtype=">u4").tolist())
    if 0 in shape:
        raise DatasetError(f"{path} announces the shape {shape}, which holds no values.")
    stored = np.dtype(_DTYPES[magic[2]])
    expected = 4 + len(sizes) + math.prod(shape) * stored.itemsize
    found = None if compressed else os.fstat(file.fileno()).st_size
    if found is not None and found != expected:
        raise DatasetError(f"{path} takes {found} bytes, but its header announces {expected} (shape {shape}).")
    return IdxHeader(stored.newbyteorder("="), shape, compressed), stored


def _recognise(path: Path, head: bytes) -> bool:
    return head[:2] == b"\0\0" and len(head) > 3 and head[2] in _DTYPES and 0 < head[3] < 5


def _read(splits: Splits, options: ReadOptions, progress: Progress | None) -> RawData:
    batches: dict[str, Iterable[Any]] = {}
    for name, paths in splits.items():
        # Labels have one dimension and images more, so the order of the files does not matter.
        by_rank = sorted(paths, key=lambda path: -len(read_idx_header(path).shape))
        if len(by_rank) != 2:
            raise DatasetError(
                f"IDX files come in pairs, images and labels; there are {len(paths)}: {', '.join(map(str, paths))}."
            )
        batches[name] = idx_batches(by_rank[0], by_rank[1])
    return RawData(batches)


FORMAT = RawFormat("idx", "IDX images and labels", _recognise, _read)
