"""Labels of streamed batches: renamed, converted, and of the same kind in every split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import numpy as np

from dask_newton.storage.checksums import is_string
from dask_newton.storage.kinds import DatasetError

__all__ = ["LabelConversion", "TargetKind"]

TargetKind = Literal["auto", "classes", "numbers"]

# Whole numbers of more distinct values than this in the first batch are counts rather than classes.
_MAX_CLASSES = 100
_MAX_WHOLE = 2.0**53  # beyond it every float64 is a whole number


@dataclass
class LabelConversion:
    """Decides from the first batch whether labels are classes or numbers, and checks all other batches against it.

    Attributes
    ----------
    kind : {"auto", "classes", "numbers"}
        With "auto", labels are classes if they are strings, or whole numbers with at most 100 distinct values.
    rename : mapping of str to str
        Labels to replace, such as ``{"-1": "0"}``.
    """

    kind: TargetKind = "auto"
    rename: Mapping[str, str] = field(default_factory=dict)
    classes: set[Any] | None = None
    whole: bool = False
    split: str | None = None

    def streams(self, splits: Mapping[str, Iterable[Any]]) -> dict[str, Iterator[Any]]:
        """Return the converted batches of every split; the splits must be read in order."""
        streams = {name: self._stream(name, iter(batches)) for name, batches in splits.items()}
        first_name, first = next(iter(streams.items()))
        # The kind of the labels must be known before anything is written.
        batch = next(first, None)
        if batch is not None:
            streams[first_name] = chain([batch], first)
        return streams

    def _stream(self, name: str, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            if not isinstance(batch, tuple):
                yield batch
                continue
            X, y = batch
            y = self._renamed(np.asarray(y))
            if self.split is None:
                self._decide(y, name)
            yield X, self._checked(y, name)

    def _renamed(self, y: np.ndarray) -> np.ndarray:
        if not self.rename:
            return y
        if is_string(y.dtype):
            return np.array([self.rename.get(label, label) for label in y.tolist()])
        try:
            pairs = {float(old): float(new) for old, new in self.rename.items()}
        except ValueError as error:
            raise DatasetError(f"The labels are numbers, so they are renamed to numbers: {error}.") from error
        renamed = y.copy()
        for old, new in pairs.items():
            renamed[y == old] = new
        return renamed

    def _decide(self, y: np.ndarray, name: str) -> None:
        self.split = name
        if self.kind == "numbers":
            if is_string(y.dtype):
                raise DatasetError(f'The labels are strings, such as {y[0]!s}, not numbers; give target="classes".')
            return
        self.whole = y.dtype.kind == "f" and bool(np.all(_is_whole(y)))
        if self.kind == "auto" and y.dtype.kind == "f":
            self.classes = set() if self.whole and len(np.unique(y)) <= _MAX_CLASSES else None
        else:
            self.classes = set()

    def _checked(self, y: np.ndarray, name: str) -> np.ndarray:
        if self.whole:
            fractions = np.flatnonzero(~_is_whole(y))
            if len(fractions):
                raise DatasetError(
                    f"The first labels are whole numbers, but a later one is {y[fractions[0]]!s}; give "
                    'target="numbers" if they are not classes.'
                )
            y = y.astype(np.int64)
        if self.classes is not None:
            labels = set(np.unique(y).tolist())
            if name == self.split:
                self.classes |= labels
            elif labels - self.classes:
                new = min(labels - self.classes)
                known = ", ".join(str(label) for label in sorted(self.classes)[:10])
                raise DatasetError(
                    f"The split {name!r} has the label {new!r}, which {self.split!r} does not have ({known}); map it "
                    "with rename_labels={OLD: NEW}, or convert the splits separately."
                )
        return y


def _is_whole(y: np.ndarray) -> np.ndarray:
    return (y == np.floor(y)) & (np.abs(y) <= _MAX_WHOLE)
