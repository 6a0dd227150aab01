"""Checks of ``predict``, ``transform``, ``score`` and similar methods: lazy, chunk by chunk, equal to NumPy."""

from __future__ import annotations

from numbers import Real
from typing import Any

import dask
import dask.array as da
import numpy as np
from sklearn.exceptions import NotFittedError

from dask_newton.testing.conventions import (
    Reads,
    assert_same_values,
    convention,
    fitted,
    refuses,
    require,
)
from dask_newton.testing.problems import N_FEATURES, Problem, problem_for

__all__ = [
    "check_dask_method",
    "check_dask_method_refuses_other_features",
    "check_dask_method_refuses_unfitted",
    "check_dask_score",
    "check_dask_score_sample_weight",
]


@convention
def check_dask_method(estimator: Any, *, method: str, layout: str, rtol: float) -> None:
    """Methods are lazy on Dask arrays: they return a Dask array with the row chunks of X and the values of NumPy."""
    problem = problem_for(estimator)
    model = fitted(estimator, *problem.columns)
    expected = getattr(model, method)(problem.X)
    reads = Reads()
    X = reads.watch(problem.chunked(layout)[0])
    lazy = getattr(model, method)(X)
    require(not reads.chunks, f"{method} computes {len(reads.chunks)} chunks of X before values are requested.")
    require(isinstance(lazy, da.Array), f"{method} returns a {type(lazy).__name__}, not a Dask array.")
    _assert_says_what_it_is(lazy, X, method)
    computed = lazy.compute()
    dtypes = (lazy.dtype, computed.dtype, expected.dtype)
    if expected.dtype.kind == "U":  # widths of strings may depend on what is there
        dtypes = tuple(dtype.kind for dtype in dtypes)
    require(
        len(set(dtypes)) == 1,
        f"{method} says it has dtype {dtypes[0]}, the values have {dtypes[1]}, and those of NumPy {dtypes[2]}.",
    )
    assert_same_values(computed, expected, rtol, method)


def _assert_says_what_it_is(lazy: da.Array, X: da.Array, method: str) -> None:
    """Require the row chunks of X, and chunks of the announced sizes."""
    require(
        str(lazy.chunks[0]) == str(X.chunks[0]),
        f"{method} returns the row chunks {lazy.chunks[0]} for those of X, {X.chunks[0]}.",
    )
    chunks = dask.compute(*lazy.to_delayed().ravel())
    sizes = np.array(np.meshgrid(*lazy.chunks, indexing="ij")).reshape(lazy.ndim, -1).T
    for said, chunk in zip(sizes, chunks, strict=True):
        known = ~np.isnan(said)
        require(
            np.ndim(chunk) == lazy.ndim and np.array_equal(said[known], np.array(np.shape(chunk))[known]),
            f"{method} announces a chunk of shape {tuple(said.tolist())}, and its shape is {np.shape(chunk)}.",
        )


@convention
def check_dask_method_refuses_other_features(estimator: Any, *, method: str) -> None:
    """Rows whose number of features differs from fit are refused at once, with a ValueError."""
    problem = problem_for(estimator)
    X, y, _ = problem.chunked("unequal chunks")
    call = getattr(fitted(estimator, X, y), method)
    refuses(lambda: call(X[:, : N_FEATURES - 1]), ValueError, f"{method} with {N_FEATURES - 1} features")


@convention
def check_dask_method_refuses_unfitted(estimator: Any, *, method: str) -> None:
    """Methods of an estimator that is not fitted raise NotFittedError."""
    X, _, _ = problem_for(estimator).chunked("unequal chunks")
    refuses(lambda: getattr(estimator, method)(X), NotFittedError, method)


@convention
def check_dask_score(estimator: Any, *, layout: str, rtol: float) -> None:
    """The score on Dask arrays is a number, and equals that on NumPy arrays."""
    _score(estimator, problem_for(estimator), layout, rtol)


@convention
def check_dask_score_sample_weight(estimator: Any, *, layout: str, rtol: float) -> None:
    """The weighted score on Dask arrays is a number, and equals that on NumPy arrays."""
    _score(estimator, problem_for(estimator).weighted(), layout, rtol)


def _score(estimator: Any, problem: Problem, layout: str, rtol: float) -> None:
    model = fitted(estimator, problem.X, problem.y)
    X, y, weight = problem.chunked(layout)
    more = {} if weight is None else {"sample_weight": weight}
    score = model.score(X, y, **more)
    require(isinstance(score, Real), f"score returns a {type(score).__name__}, not a number.")
    expected = model.score(problem.X, problem.y, **({} if weight is None else {"sample_weight": problem.weight}))
    assert_same_values(score, expected, rtol, "score")
