"""The raw formats by name, and the conversion of raw files to a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dask_newton.data.aliases import PathLike, Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats import cifar, documents, hdf5, idx, libsvm, matlab, npy, table
from dask_newton.data.formats.files import peek
from dask_newton.data.formats.idx import pixel_converter
from dask_newton.data.formats.labels import LabelConversion, TargetKind
from dask_newton.data.formats.raw import RawData, RawFormat, ReadOptions
from dask_newton.data.writer import save_dataset, save_splits
from dask_newton.storage.atomic import check_target
from dask_newton.storage.kinds import DatasetError

__all__ = ["FORMATS", "convert_files", "guess_format"]

# The first format that recognises a file is used: formats with a magic number, then text from strict to lenient.
FORMATS: dict[str, RawFormat] = {
    module.FORMAT.name: module.FORMAT for module in (idx, npy, hdf5, matlab, cifar, libsvm, documents, table)
}


def guess_format(path: PathLike) -> RawFormat:
    """Guess the format of a file from its name and its first bytes.

    Raises
    ------
    DatasetError
        If no format recognises it.
    """
    head = peek(path)
    for known in FORMATS.values():
        if known.recognise(Path(path), head):
            return known
    raise DatasetError(
        f"The format of {path} is not recognised; it begins with {head[:20]!r}. Name it with format=, one of "
        f"{', '.join(FORMATS)}."
    )


def convert_files(
    raw: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    test: PathLike | Sequence[PathLike] = (),
    format: str | None = None,
    label: str | int | None = None,
    drop: Iterable[str | int] = (),
    header: bool | None = None,
    zero_based: bool | None = None,
    n_features: int | None = None,
    labels: PathLike | None = None,
    target: TargetKind = "auto",
    rename_labels: Mapping[str, str] | None = None,
    scale: float | None = None,
    dtype: Any = None,
    attrs: Mapping[str, Any] | None = None,
    chunk_rows: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], object] | None = None,
) -> Path:
    """Convert raw files to a data set, in bounded memory.

    Parameters
    ----------
    raw : path or sequence of path
        Files of one format; text and IDX files may be compressed with gzip, bzip2 or xz. Several tables, LIBSVM
        or document files are read one after the other; IDX and NumPy files are images and labels, or X and y.
    out : path
        The Zarr group to create; it appears only when it is complete.
    test : path or sequence of path
        Files of the test split; if given, ``out`` has the groups ``train`` and ``test``.
    format : str, optional
        A name in ``FORMATS``; by default it is guessed from the files.
    label : str or int, optional
        Of a table: the column with the label, by name or by number from 0 (-1 is the last), or "none". By default
        the column named label, class, target or y; else the only column without numbers, if it is the first or
        the last; else the first column.
    drop : iterable of str or int
        Of a table: columns to leave out.
    header : bool, optional
        Of a table: whether the first line names the columns; detected by default.
    zero_based : bool, optional
        Of LIBSVM text: whether indices start at 0; by default they do if a 0 occurs.
    n_features : int, optional
        Of LIBSVM text: the number of features, if it is larger than the largest index.
    labels : path, optional
        Of 10x Genomics: a table of barcodes and labels with a header.
    target : {"auto", "classes", "numbers"}, default "auto"
        Kind of the labels. With "auto", labels are classes if they are strings, or whole numbers with at most 100
        distinct values in the first batch.
    rename_labels : mapping of str to str, optional
        Labels to replace, for example ``{"-1": "0"}``.
    scale : float, optional
        Factor on X, for example 1 / 255; X of whole numbers becomes float32.
    dtype : dtype, optional
        Dtype of X; by default that of the file, or float64 for text.
    attrs, chunk_rows, overwrite
        As for :func:`dask_newton.data.save_dataset`.
    progress : callable, optional
        ``progress(done, total)`` while reading, in rows, or in bytes if the number of rows is not known.
    tell : callable, optional
        ``tell(sentence)`` is called with what was detected or assumed.

    Returns
    -------
    pathlib.Path
        ``out``.

    Raises
    ------
    DatasetError
        If a file is not valid; the message names the file and, for text, the line.

    Examples
    --------
    >>> convert_files("a9a.txt", "a9a.zarr", test="a9a.t", rename_labels={"-1": "0"})  # doctest: +SKIP
    """
    splits = {"train": _paths(raw), "test": _paths(test)} if _paths(test) else {"": _paths(raw)}
    tell = tell or (lambda sentence: None)
    check_target(Path(os.path.abspath(out)), overwrite)
    known = _format(format, splits, tell)
    options = ReadOptions(
        None if label is None else str(label),
        tuple(map(str, drop)),
        header,
        zero_based,
        n_features,
        None if labels is None else Path(labels),
    )
    unknown = set(options.given()) - known.options
    if unknown:
        raise DatasetError(f"{known.title} has no option {', '.join(sorted(unknown))}; leave it out.")
    data = known.read(splits, options, progress)
    for note in data.notes:
        tell(note)
    return write_raw(
        data,
        out,
        labels=LabelConversion(target, rename_labels or {}),
        scale=scale,
        dtype=dtype,
        attrs=attrs,
        chunk_rows=chunk_rows,
        overwrite=overwrite,
        progress=progress,
    )


def write_raw(
    data: RawData,
    out: PathLike,
    *,
    labels: LabelConversion,
    scale: float | None = None,
    dtype: Any = None,
    progress: Progress | None = None,
    **options: Any,
) -> Path:
    """Write the splits of raw files that were opened."""
    totals = {name: getattr(batches, "n_rows", None) for name, batches in data.splits.items()}
    streams = labels.streams(data.splits)
    splits: dict[str, Any] = {
        name: _announced(totals[name], _converted(stream, scale, dtype)) for name, stream in streams.items()
    }
    position = data.position

    def report(done: int, total: int | None) -> None:
        if progress is not None:
            progress(*(position() if position is not None else (done, total)))

    options |= {
        "feature_names": data.feature_names,
        "classes": None if labels.classes is None else "auto",
        "progress": report,
    }
    if set(splits) == {""}:
        return save_dataset(out, splits[""], **options)
    return save_splits(out, splits, **options)


def _announced(n_rows: int | None, batches: Iterator[Any]) -> Iterable[Any]:
    return batches if n_rows is None else RowBatches(n_rows, batches)


def _converted(batches: Iterator[Any], scale: float | None, dtype: Any) -> Iterator[Any]:
    if scale is None and dtype is None:
        yield from batches
        return
    for batch in batches:
        X, *y = batch if isinstance(batch, tuple) else (batch,)
        target = dtype if dtype is not None or X.dtype.kind != "f" else X.dtype
        X = pixel_converter(scale, target)(X)
        yield (X, *y) if y else X


def _paths(given: PathLike | Sequence[PathLike]) -> list[Path]:
    return [Path(given)] if isinstance(given, str | os.PathLike) else [Path(path) for path in given]


def _format(name: str | None, splits: Mapping[str, Sequence[Path]], tell: Callable[[str], object]) -> RawFormat:
    files = [path for paths in splits.values() for path in paths]
    if not files:
        raise ValueError("There are no files to convert.")
    if name is not None:
        if name not in FORMATS:
            raise ValueError(f"format is {name!r}; give one of {', '.join(FORMATS)}.")
        return FORMATS[name]
    guessed = {path: guess_format(path) for path in files}
    found = guessed[files[0]]
    for path, other in guessed.items():
        if other is not found:
            raise DatasetError(
                f"{files[0]} looks like {found.title} and {path} like {other.title}; give files of one format, or "
                "name it with format=."
            )
    tell(f"Read as {found.title} (format={found.name}).")
    return found
