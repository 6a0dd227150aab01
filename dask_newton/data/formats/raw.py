"""What a raw format is: how it is recognised, what it may be asked, and how its files become row batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

__all__ = ["RawData", "RawFormat", "ReadOptions"]

Splits = Mapping[str, Sequence[Path]]
Progress = Callable[[int, int | None], object]


@dataclass(frozen=True)
class ReadOptions:
    """How to read raw files. Each format knows some of the options; the others keep their defaults.

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
        Number of columns, if it is more than the largest index tells.
    labels : path, optional
        A table of one label per row of the data, by name of the row.
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
    """Raw files that were opened: their rows are read when the batches are asked for.

    Attributes
    ----------
    splits : dict of str to iterable
        For each split the row batches, as :func:`dask_newton.data.save_dataset` takes them, perhaps of known
        total. They can be read once.
    feature_names : list of str or None
        Names of the columns of X.
    notes : list of str
        What was found or assumed, one sentence each.
    position : callable or None
        Returns how many of how many bytes were read, for formats whose number of rows is not known.
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
        A word, such as "libsvm".
    title : str
        What it is, for messages.
    recognise : callable
        ``recognise(path, head)`` tells from the name and the first bytes, decompressed, whether a file is of
        this format.
    read : callable
        ``read(splits, options, progress)`` opens the files of each split and returns :class:`RawData`. It
        raises what it can before the data are converted; ``progress(done, total)`` hears of long scans.
    options : frozenset of str
        The fields of :class:`ReadOptions` that the format knows.
    """

    name: str
    title: str
    recognise: Callable[[Path, bytes], bool]
    read: Callable[[Splits, ReadOptions, Progress | None], RawData]
    options: frozenset[str] = frozenset()
