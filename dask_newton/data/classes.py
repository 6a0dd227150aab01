"""Counts of the labels while rows are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from dask_newton.storage.checksums import is_string
from dask_newton.storage.kinds import DatasetError

__all__ = ["ClassCounter", "Classes"]

Classes = Iterable[Any] | Literal["auto"] | None

_MAX_CLASSES = 100_000


class ClassCounter:
    """Counts labels, and refuses labels that are not among given classes.

    Parameters
    ----------
    classes : iterable, "auto" or None
        The classes; "auto" collects them. By default strings and booleans are classes, numbers are not.
    y : ndarray or None
        Labels of the first batch.
    """

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
        """Return the labels, None if ``y`` does not hold classes."""
        if not self._active:
            return None
        return self._given if self._given is not None else np.asarray(sorted(self.counts))
