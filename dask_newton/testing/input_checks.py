"""Checks of what goes in: other dtypes and containers, and input that is refused."""

from __future__ import annotations

import functools
import unittest
from typing import Any

import numpy as np
import scipy.sparse
from dask.base import is_dask_collection

from dask_newton.testing.conventions import (
    assert_same_attributes,
    assert_same_values,
    convention,
    fitted,
    methods_of,
    refuses,
    require,
)
from dask_newton.testing.problems import Problem, problem_for

__all__ = [
    "check_dask_dataframe",
    "check_dask_dataframe_columns",
    "check_dask_float32",
    "check_dask_fit_refuses_lengths",
    "check_dask_fit_refuses_nan",
    "check_dask_fit_refuses_nan_targets",
    "check_dask_sparse",
]

_NAMES = ["length", "width", "age", "depth"]


@convention
def check_dask_float32(estimator: Any, *, rtol: float) -> None:
    """Rows of float32 give the same dtypes and values as NumPy arrays of float32."""
    problem = problem_for(estimator)
    X = problem.X.astype(np.float32)
    theirs = fitted(estimator, X, problem.y)
    dX, y, _ = Problem(X, problem.y).chunked("unequal chunks")
    mine = fitted(estimator, dX, y)
    for name, expected in vars(theirs).items():
        if isinstance(expected, np.ndarray) and name.endswith("_"):
            dtype = getattr(mine, name).dtype
            require(dtype == expected.dtype, f"{name} has dtype {dtype}; on NumPy arrays it has {expected.dtype}.")
    for method in methods_of(estimator):
        lazy, expected = getattr(mine, method)(dX), getattr(theirs, method)(X)
        computed = lazy.compute()
        require(
            lazy.dtype == computed.dtype == expected.dtype,
            f"{method} says it has dtype {lazy.dtype}, the values have {computed.dtype}, those of NumPy "
            f"{expected.dtype}.",
        )
        # float32 has 7 digits, and a fit loses some of them.
        assert_same_values(computed, expected, max(rtol, 1e-3), method)


@convention
def check_dask_sparse(estimator: Any, *, rtol: float) -> None:
    """CSR chunks give the same fit as one CSR matrix in memory, and lazy dense predictions."""
    problem = problem_for(estimator)
    whole = scipy.sparse.csr_array(problem.X)
    X, y, _ = problem.chunked("unequal chunks")
    sparse = X.map_blocks(scipy.sparse.csr_array, dtype=X.dtype, meta=scipy.sparse.csr_array((0, 0), dtype=X.dtype))
    theirs, mine = fitted(estimator, whole, problem.y), fitted(estimator, sparse, y)
    assert_same_attributes(mine, theirs, rtol)
    for method in methods_of(estimator):
        lazy = getattr(mine, method)(sparse)
        require(is_dask_collection(lazy), f"{method} of a Dask array returns a {type(lazy).__name__}.")
        assert_same_values(lazy.compute(), getattr(theirs, method)(whole), rtol, method)


@convention
def check_dask_dataframe(estimator: Any, *, rtol: float) -> None:
    """A Dask data frame gives the same fit as its values, with its column names in feature_names_in_."""
    problem, frame, y = _frame(estimator)
    theirs, mine = fitted(estimator, *problem.columns), fitted(estimator, frame, y)
    names = getattr(mine, "feature_names_in_", None)
    require(names is not None and list(names) == _NAMES, f"feature_names_in_ is {names}; the columns are {_NAMES}.")
    assert_same_attributes(mine, theirs, rtol)
    for method in methods_of(estimator):
        lazy = getattr(mine, method)(frame)
        require(is_dask_collection(lazy), f"{method} of a Dask data frame returns a {type(lazy).__name__}.")
        assert_same_values(np.asarray(lazy.compute()), getattr(theirs, method)(problem.X), rtol, method)


@convention
def check_dask_dataframe_columns(estimator: Any) -> None:
    """Data frames with columns other than in fit, or in another order, raise a ValueError that names them."""
    _, frame, y = _frame(estimator)
    model = fitted(estimator, frame, y)
    for method in methods_of(estimator):
        call = getattr(model, method)
        other = functools.partial(call, frame.rename(columns={"age": "height"}))
        refuses(other, ValueError, f"{method} with an unknown column", ("height",))
        moved = functools.partial(call, frame[_NAMES[::-1]])
        refuses(moved, ValueError, f"{method} with columns in another order")


@convention
def check_dask_fit_refuses_nan(estimator: Any, *, value: float) -> None:
    """NaN and infinity in any chunk of X are refused with a ValueError that says so."""
    problem = problem_for(estimator)
    broken = problem.X.copy()
    broken[-1, 1] = value
    X, y, _ = Problem(broken, problem.y).chunked("unequal chunks")
    refuses(lambda: fitted(estimator, X, y), ValueError, f"fit with {value} in the last chunk of X", ("nan", "inf"))


@convention
def check_dask_fit_refuses_nan_targets(estimator: Any, *, value: float) -> None:
    """NaN and infinity in any chunk of y are refused with a ValueError that says so."""
    problem = problem_for(estimator)
    broken = np.array(problem.y)
    broken[-1] = value
    X, y, _ = Problem(problem.X, broken).chunked("unequal chunks")
    refuses(lambda: fitted(estimator, X, y), ValueError, f"fit with {value} in the last chunk of y", ("nan", "inf"))


@convention
def check_dask_fit_refuses_lengths(estimator: Any, *, weights: bool) -> None:
    """Targets and weights whose length differs from X are refused with a ValueError."""
    problem = problem_for(estimator).weighted()
    X, y, weight = problem.chunked("unequal chunks")
    refuses(lambda: fitted(estimator, X, y[:-1]), ValueError, "fit with a target too few")
    refuses(lambda: fitted(estimator, X[:-1], y), ValueError, "fit with a target too many")
    refuses(lambda: fitted(estimator, X, problem.y[:-1]), ValueError, "fit with a NumPy array of a target too few")
    if weights:
        refuses(lambda: fitted(estimator, X, y, weight[:-1]), ValueError, "fit with a weight too few")


def _frame(estimator: Any) -> tuple[Any, Any, Any]:
    """Return a problem, its rows as a Dask data frame, and its targets as a Dask series."""
    try:
        import dask.dataframe as dd
        import pandas as pd
    except ImportError as error:
        raise unittest.SkipTest(f"Dask data frames need a missing package: {error}") from error
    problem = problem_for(estimator)
    frame = pd.DataFrame(problem.X, columns=_NAMES)
    y = None if problem.y is None else dd.from_pandas(_series(pd, problem.y), npartitions=3)
    return problem, dd.from_pandas(frame, npartitions=3), y


def _series(pd: Any, y: np.ndarray) -> Any:
    return pd.Series(y, name="y") if y.ndim == 1 else pd.DataFrame(y)
