"""Small data sets that suit an estimator, according to its tags, and ways to chunk them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from sklearn.utils import get_tags

__all__ = ["LAYOUTS", "Problem", "problem_for"]

N_FEATURES = 4
_FURTHER_ROWS = [3, 30]  # rows are inserted before these, and filtered out again

# Sizes of the row chunks. Filtering rows makes the sizes unknown.
_SIZES: dict[str, Callable[[int], tuple[int, ...]]] = {
    "one chunk": lambda n: (n,),
    "unequal chunks": lambda n: (n // 2, 3, n - n // 2 - 3),
    "empty chunks": lambda n: (0, n // 3, 0, n - n // 3, 0),
    "single-row chunks": lambda n: (1,) * n,
    "column chunks": lambda n: (n // 2, n - n // 2),
    "unknown chunk sizes": lambda n: (n // 2, n - n // 2 + len(_FURTHER_ROWS)),
}
LAYOUTS = tuple(_SIZES)


@dataclass(frozen=True)
class Problem:
    """Rows in memory.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_targets), or None
    weight : ndarray of shape (n_samples,), or None
    """

    X: Any
    y: Any = None
    weight: Any = None

    @property
    def columns(self) -> tuple[Any, Any, Any]:
        """X, y and the weights, the arguments of fit."""
        return self.X, self.y, self.weight

    def chunked(self, layout: str) -> tuple[Any, Any, Any]:
        """Return the columns as Dask arrays with the chunks of :data:`LAYOUTS`."""
        X = _chunked(self.X, layout)
        if layout == "column chunks":
            X = X.rechunk({1: (1, N_FEATURES - 1)})
        return X, *(a if a is None else _chunked(a, layout) for a in (self.y, self.weight))

    def take(self, rows: Any) -> Problem:
        """Return the rows with these indices."""
        return Problem(*(a if a is None else a[rows] for a in self.columns))

    def weighted(self) -> Problem:
        """Return the same rows with integer weights, some of them zero."""
        return replace(self, weight=np.resize([1.0, 2.0, 0.0, 1.0, 3.0], len(self.X)))


def problem_for(estimator: Any, n: int = 60) -> Problem:
    """Return rows that suit the estimator, with positive targets or three overlapping classes."""
    tags = get_tags(estimator)
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n, N_FEATURES)) * [1.0, 2.0, 0.5, 1.0] + [0.5, 0.0, -1.0, 0.0]
    X[np.abs(X) < 0.2] = 0
    if tags.input_tags.positive_only:
        X = np.abs(X)
    z = X @ [0.5, -0.3, 0.8, 0.0] + 0.7 * rng.normal(size=n)
    y = None
    if tags.estimator_type == "classifier":
        several = tags.classifier_tags is None or tags.classifier_tags.multi_class
        y = np.searchsorted(np.quantile(z, [1 / 3, 2 / 3] if several else [0.5]), z)
    elif tags.target_tags.required:
        y = np.exp(0.5 * z)
        if not tags.target_tags.single_output:
            y = y[:, None]
    problem = Problem(X, y)
    for a in problem.columns:
        if a is not None:
            a.flags.writeable = False  # writing into the arrays raises an error
    return problem


def _chunked(a: Any, layout: str) -> Any:
    unknown = layout == "unknown chunk sizes"
    keep = np.ones(len(a), dtype=bool)
    sizes = _SIZES[layout](len(a))
    if unknown:
        a, keep = np.insert(a, _FURTHER_ROWS, a[:2], axis=0), np.insert(keep, _FURTHER_ROWS, False)
    array = da.from_array(a, chunks=(sizes, *((-1,) * (a.ndim - 1))))
    return array[da.from_array(keep, chunks=(sizes,))] if unknown else array
