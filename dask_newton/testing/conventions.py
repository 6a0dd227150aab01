"""Building blocks of the checks: failures that name the convention, fits, comparisons, counts of computed chunks."""

from __future__ import annotations

import functools
import inspect
import pickle
import unittest
import warnings
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import numpy as np
from dask.base import is_dask_collection
from dask.callbacks import Callback
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "METHODS",
    "Joins",
    "Reads",
    "assert_same_attributes",
    "assert_same_values",
    "convention",
    "fitted",
    "fitted_attributes",
    "methods_of",
    "pickled",
    "refuses",
    "require",
]

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "score_samples")


def convention(check: Callable[..., None]) -> Callable[..., None]:
    """Turn a function into a check whose failures name the convention, the first line of its docstring.

    It runs on Dask's synchronous scheduler, where errors and counts are reproducible.
    """
    rule = inspect.getdoc(check).partition("\n")[0]  # type: ignore[union-attr]

    @functools.wraps(check)
    def run(estimator: Any, **options: Any) -> None:
        with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                check(estimator, **options)
            except unittest.SkipTest:
                raise
            except Exception as error:
                found = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
                case = "".join(f" [{options[name]}]" for name in ("layout", "method") if name in options)
                raise AssertionError(
                    f"{type(estimator).__name__} breaks a convention of estimators on Dask.\n"
                    f"Convention: {rule}\nFound: {found}\nCheck: {check.__name__}{case}"
                ) from error

    return run


def require(condition: Any, found: str) -> None:
    """Raise an AssertionError with what was found, unless the condition holds."""
    if not condition:
        raise AssertionError(found)


def fitted(estimator: Any, X: Any, y: Any = None, weight: Any = None) -> Any:
    """Return a fitted clone, always with the same random state."""
    model = clone(estimator)
    if "random_state" in model.get_params(deep=False):
        model.set_params(random_state=0)
    return model.fit(X, y) if weight is None else model.fit(X, y, sample_weight=weight)


def methods_of(estimator: Any) -> tuple[str, ...]:
    """Return the names of the methods that return one value, or one row of values, per row."""
    return tuple(name for name in METHODS if hasattr(estimator, name))


def fitted_attributes(estimator: Any) -> dict[str, Any]:
    """Return all attributes that are not parameters, including private ones."""
    parameters = estimator.get_params(deep=False)
    return {name: value for name, value in vars(estimator).items() if name not in parameters}


def assert_same_attributes(mine: Any, theirs: Any, rtol: float) -> None:
    """Compare the public attributes of two fits that are numbers, strings or arrays.

    Counts, ``n_..._``, may depend on the chunks, except ``n_features_in_``.
    """
    for name, expected in fitted_attributes(theirs).items():
        public = name.endswith("_") and not name.startswith("_")
        count = name.startswith("n_") and name != "n_features_in_"
        if not public or count or not isinstance(expected, np.ndarray | np.generic | int | float | str):
            continue
        require(
            hasattr(mine, name),
            f"the fit on Dask arrays does not set {name}, the fit on NumPy arrays does.",
        )
        assert_same_values(getattr(mine, name), expected, rtol, name)


def assert_same_values(mine: Any, expected: Any, rtol: float, what: str) -> None:
    """Compare arrays: floating point numbers to within ``rtol`` times the largest, other values exactly."""
    a, b = (np.asarray(v.toarray() if hasattr(v, "toarray") else v) for v in (mine, expected))
    require(a.shape == b.shape, f"{what} has shape {a.shape}; on NumPy arrays it is {b.shape}.")
    if b.dtype.kind == "f" and a.dtype.kind in "fiub":
        allowed = rtol * np.max(np.abs(b[np.isfinite(b)]), initial=1.0)
        wrong, about = ~np.isclose(a, b, rtol=0, atol=allowed), f", to within {allowed:.3g}"
    else:
        wrong, about = a != b, ""
    if np.any(wrong):
        i = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{what} differs from NumPy arrays{about}: {np.count_nonzero(wrong)} of {b.size} entries differ, first "
            f"{a[i]} from {b[i]}{f' at {i}' if i else ''}."
        )


def refuses(call: Callable[[], Any], error: type[Exception], what: str, words: tuple[str, ...] = ()) -> None:
    """Require an error whose message contains one of the words."""
    try:
        call()
    except error as caught:
        message = str(caught)
        require(
            not words or any(word.lower() in message.lower() for word in words),
            f"{what} raises {error.__name__} without saying {' or '.join(map(repr, words))}: {message}",
        )
    else:
        raise AssertionError(f"{what} raises no {error.__name__}.")


class Reads:
    """Counts how often each chunk of an array is computed by a scheduler of this process."""

    def __init__(self) -> None:
        self.chunks: Counter[tuple[int, ...]] = Counter()
        self._token = uuid4().hex

    def __dask_tokenize__(self) -> str:
        return self._token

    def watch(self, X: da.Array) -> da.Array:
        """Return the array with all chunks counted."""
        return da.map_blocks(self, X, dtype=X.dtype, meta=X._meta)

    def __call__(self, chunk: Any, block_id: tuple[int, ...] = ()) -> Any:
        """Count a chunk and return it."""
        self.chunks[block_id] += 1
        return chunk


class Joins(Callback):
    """Finds tasks on schedulers of this process whose result is as large as all of X."""

    def __init__(self, X: da.Array) -> None:
        self.found: list[str] = []
        self._shape = X.shape
        super().__init__(posttask=self._look)

    def _look(self, key: Any, result: Any, *state: Any) -> None:
        shape: tuple[int, ...] = getattr(result, "shape", ())
        if len(shape) == 2 and shape[0] >= self._shape[0] and shape[1] >= self._shape[1]:
            self.found.append(str(key))


def pickled(value: Any) -> tuple[int, list[str]]:
    """Return the size of a pickle, and the types in it that belong to Dask collections or a cluster."""
    found: list[str] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> None:
            """Inspect every object that is pickled."""
            kind = obj if isinstance(obj, type) else type(obj)
            if kind.__module__.partition(".")[0] == "distributed" or (kind is not obj and is_dask_collection(obj)):
                found.append(f"{kind.__module__}.{kind.__qualname__}")

    file = BytesIO()
    try:
        Pickler(file).dump(value)
    except Exception as error:  # whatever an object raises when it is pickled
        if not found:  # a client cannot be pickled either, but its presence is the better message
            raise AssertionError(f"it cannot be pickled ({type(error).__name__}: {error}).") from error
    return file.tell(), found
