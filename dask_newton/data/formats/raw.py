"""The interface of a raw format: how it is recognised, which options it has, and how it reads row batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dask_newton.data.aliases import Progress

__all__ = ["RawData", "RawFormat", "ReadOptions"]

Splits = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class ReadOptions:
    """How to read raw files. Each format supports some of the options; the others keep their defaults.

    Attributes
    ----------
    label : str, optional
        Column that holds the label: its name, its number from 0 (-1 is the last), or "none".
    drop : tuple of str
        Columns to leave out, by name or number.
    header : bool, optional
        Whether the first line names the columns; by default that is detected.
    zero_based : bool, optional
        Whether indices count from 0; by default that is detected.
    n_features : int, optional
        Number of columns, if it is larger than the largest index.
    labels : path, optional
        A table with the name of each row of the data and its label.
    """

    label: str | None = None
    drop: tuple[str, ...] = ()
    header: bool | None = None
    zero_based: bool | None = None
    n_features: int | None = None
    labels: Path | None = None

    def given(self) -> list[str]:
        """Return the names of the options that differ from their defaults."""
        return [option.name for option in fields(self) if getattr(self, option.name) != option.default]


@dataclass
class RawData:
    """Raw files that were opened; their rows are read while iterating over the batches.

    Attributes
    ----------
    splits : dict of str to iterable
        For each split the row batches, as :func:`dask_newton.data.save_dataset` takes them. They can be iterated
        over once.
    feature_names : list of str or None
        Names of the columns of X.
    notes : list of str
        What was detected or assumed, one sentence each.
    position : callable or None
        Returns the bytes read and their total, for formats whose number of rows is not known.
    """

    splits: dict[str, Iterable[Any]]
    feature_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    position: Callable[[], tuple[int, int | None]] | None = None


@dataclass(frozen=True)
class RawFormat:
    """A raw format.

    Attributes
    ----------
    name : str
        A word such as "libsvm".
    title : str
        Its description in messages.
    recognise : callable
        ``recognise(path, head)`` says, from the name of a file and its first bytes after decompression, whether it
        has this format.
    read : callable
        ``read(splits, options, progress)`` opens the files of each split and returns :class:`RawData`. It
        raises errors as early as it can; ``progress(done, total)`` is called during long scans.
    options : frozenset of str
        The fields of :class:`ReadOptions` that the format supports.
    """

    name: str
    title: str
    recognise: Callable[[Path, bytes], bool]
    read: Callable[[Splits, ReadOptions, Progress | None], RawData]
    options: frozenset[str] = frozenset()
