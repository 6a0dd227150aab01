"""Convert a named data set: find its files, read them, and check the numbers of rows, columns and labels."""

from __future__ import annotations

import os
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dask_newton.data.aliases import PathLike, Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.labels import LabelConversion
from dask_newton.data.formats.named_sets import NAMED_SETS, NamedSet
from dask_newton.data.formats.raw import RawData, ReadOptions
from dask_newton.data.formats.registry import FORMATS, write_raw
from dask_newton.storage.atomic import check_target
from dask_newton.storage.kinds import DatasetError

__all__ = ["convert_named", "missing_files"]


def convert_named(
    name: str | NamedSet,
    raw: PathLike,
    out: PathLike,
    *,
    scale: float | None = None,
    dtype: Any = None,
    attrs: Mapping[str, Any] | None = None,
    chunk_rows: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], object] | None = None,
) -> Path:
    """Convert a named data set to the groups ``train`` and ``test``.

    Parameters
    ----------
    name : str or NamedSet
        A key of ``NAMED_SETS``.
    raw : path
        The folder with its files as they were published; they may be in subfolders or decompressed.
    out : path
        The Zarr group to create; it appears only when it is complete.
    scale, dtype
        Factor on X and its dtype; by default those of the data set (images: 1 / 255 and float32).
    attrs, chunk_rows, overwrite, progress, tell
        As for :func:`dask_newton.data.convert_files`.

    Returns
    -------
    pathlib.Path
        ``out``.

    Raises
    ------
    FileNotFoundError
        If files are missing; the message lists what is expected.
    DatasetError
        If the numbers of rows, columns or rows per class differ from the published ones.
    """
    known = NAMED_SETS[name] if isinstance(name, str) else name
    label = name if isinstance(name, str) else known.title
    check_target(Path(os.path.abspath(out)), overwrite)
    with _found(known, Path(raw), label) as (splits, labels):
        for files in splits.values():
            for file in files:
                (tell or (lambda sentence: None))(f"Read {file}.")
        options = known.options if labels is None else ReadOptions(labels=labels)
        data = FORMATS[known.format].read(splits, options, progress)
        if known.last_rows:
            data.splits = _cut(data, known, label)
        data.splits = {split: _verified(data.splits[split], split, known, label) for split in ("train", "test")}
        return write_raw(
            data,
            out,
            labels=LabelConversion("classes", known.rename),
            scale=known.scale if scale is None else scale,
            dtype=known.dtype if dtype is None else dtype,
            attrs={"name": label, "source": known.source} | dict(attrs or {}),
            chunk_rows=chunk_rows,
            overwrite=overwrite,
            progress=progress,
        )


def missing_files(known: NamedSet, raw: Path) -> list[str]:
    """List the files that are neither in the folder nor in the archive in it."""
    if known.archive is not None and _find(raw, known.archive) is not None:
        return []
    wanted = [*(file for files in known.files.values() for file in files), *filter(None, [known.labels])]
    return [file for file in wanted if not file.startswith("|") and _find(raw, file) is None]


def _find(raw: Path, name: str) -> Path | None:
    """Find a file, or an alternative to it, in a folder or below, as it was published or decompressed."""
    for alternative in filter(None, name.split("|")):
        for form in (alternative, alternative.removesuffix(".gz")):
            found = sorted(raw.rglob(form), key=lambda path: len(path.parts))
            # Several data sets use the same file names.
            if len(found) > 1 and len(found[0].parts) == len(found[1].parts):
                raise DatasetError(f"Both {found[0]} and {found[1]} could be meant; give the folder of one of them.")
            if found:
                return found[0]
    return None


@contextmanager
def _found(known: NamedSet, raw: Path, label: str) -> Iterator[tuple[dict[str, list[Path]], Path | None]]:
    missing = missing_files(known, raw)
    if missing:
        raise FileNotFoundError(
            f"{label} needs {', '.join(file.replace('|', ' or ') for file in missing)} in {raw}"
            + (f", or the archive {known.archive}" if known.archive else "")
            + f"; get them from {known.source}"
            + (" or fetch them with fetch_named." if known.downloads else ".")
        )
    with tempfile.TemporaryDirectory() as folder:
        place = raw
        if known.archive is not None and (archive := _find(raw, known.archive)) is not None:
            place = Path(folder)
            _extract(archive, place, {file for files in known.files.values() for file in files})
            still = missing_files(known, place)
            if still:
                raise DatasetError(f"{archive} holds no {', '.join(still)}.")
        splits = {
            split: [path for file in files if (path := _find(place, file)) is not None]
            for split, files in known.files.items()
        }
        yield splits, None if known.labels is None else _find(raw, known.labels)


def _extract(archive: Path, folder: Path, names: set[str]) -> None:
    """Extract the files of these names, wherever they lie in the archive."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for entry in zipped.infolist():
                    if Path(entry.filename).name in names:
                        zipped.extract(entry, folder)
            return
        with tarfile.open(archive) as tarred:
            for member in tarred:
                if member.isfile() and Path(member.name).name in names:
                    tarred.extract(member, folder, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise DatasetError(f"{archive} is damaged or truncated ({error}); download it again.") from error


def _cut(data: RawData, known: NamedSet, label: str) -> dict[str, Any]:
    """Make the last rows of the only stream the test split. The splits must be read in order."""
    stream = iter(data.splits[""])
    n_train = sum(count for count in (known.counts["train"],) if isinstance(count, int))
    held: list[Any] = []

    def train() -> Iterator[Any]:
        left = n_train
        for batch in stream:
            X, y = _pair(batch, label)
            if X.shape[0] > left:
                held.append((X[left:], y[left:]))
            if left:
                yield X[:left], y[:left]
            left -= min(left, X.shape[0])
            if left == 0:
                return

    def test() -> Iterator[Any]:
        yield from held
        yield from stream

    return {"train": train(), "test": test()}


def _pair(batch: Any, label: str) -> tuple[Any, Any]:
    if not isinstance(batch, tuple):
        raise DatasetError(f"The files of {label} hold no labels.")
    return batch


def _verified(batches: Any, split: str, known: NamedSet, label: str) -> Any:
    """Pass batches on and compare their total with the published numbers at the end."""
    expected = known.counts[split]

    def stream() -> Iterator[Any]:
        counts: Counter[Any] = Counter()
        rename = {float(old): float(new) for old, new in known.rename.items()}
        for batch in batches:
            X, y = _pair(batch, label)
            if known.n_features not in (None, X.shape[1]):
                raise DatasetError(f"The {split} split of {label} has {X.shape[1]} columns, not {known.n_features}.")
            labels, rows = np.unique(y, return_counts=True)
            for value, number in zip(labels.tolist(), rows.tolist(), strict=True):
                counts[rename.get(value, value)] += number
            yield batch
        found = tuple(counts[value] for value in sorted(counts))
        if isinstance(expected, int) and sum(found) != expected:
            raise DatasetError(f"The {split} split of {label} has {sum(found)} rows, not {expected}: copy it again.")
        if isinstance(expected, tuple) and found != expected:
            raise DatasetError(
                f"The {split} split of {label} has {_listed(found)} rows of each class, not {_listed(expected)}: "
                "this is another data set, or only a part of it."
            )

    total = batches.n_rows if isinstance(batches, RowBatches) else expected if isinstance(expected, int) else None
    return stream() if total is None else RowBatches(total, stream())


def _listed(counts: tuple[int, ...]) -> str:
    shown = counts if len(counts) <= 12 else (*counts[:10], "...")
    return ", ".join(map(str, shown))
