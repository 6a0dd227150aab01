"""Checks of ``fit``: the same result as NumPy arrays for all chunks, and no Dask objects in the fitted estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from dask.base import is_dask_collection
from sklearn.base import clone

from dask_newton.testing.conventions import (
    assert_same_attributes,
    assert_same_values,
    convention,
    fitted,
    fitted_attributes,
    methods_of,
    pickled,
    require,
)
from dask_newton.testing.problems import Problem, problem_for

__all__ = [
    "check_dask_fit_equals_numpy",
    "check_dask_fit_forgets_data",
    "check_dask_fit_is_concrete",
    "check_dask_fit_on_mixed_arrays",
    "check_dask_fit_twice",
    "check_dask_inputs_are_untouched",
    "check_dask_labels_by_chunk",
    "check_dask_one_class",
    "check_dask_parameters_are_untouched",
    "check_dask_sample_weight",
    "check_dask_sample_weight_is_repetition",
    "check_dask_several_targets",
]


@convention
def check_dask_fit_equals_numpy(estimator: Any, *, layout: str, rtol: float) -> None:
    """A fit on Dask arrays gives the attributes of a fit on NumPy arrays, whatever the chunks."""
    problem = problem_for(estimator)
    _assert_same_fit(fitted(estimator, *problem.chunked(layout)), fitted(estimator, *problem.columns), problem.X, rtol)


@convention
def check_dask_fit_on_mixed_arrays(estimator: Any, *, rtol: float) -> None:
    """If X is a Dask array, y and sample_weight may be NumPy arrays, or Dask arrays with other chunks."""
    problem = problem_for(estimator)
    theirs = fitted(estimator, *problem.columns)
    X, y, _ = problem.chunked("unequal chunks")
    _assert_same_fit(fitted(estimator, X, problem.y), theirs, problem.X, rtol)
    _assert_same_fit(fitted(estimator, X, y.rechunk({0: 25})), theirs, problem.X, rtol)


@convention
def check_dask_fit_is_concrete(estimator: Any) -> None:
    """A fitted estimator can be pickled, and holds no Dask collection, future or client."""
    problem = problem_for(estimator)
    model = fitted(estimator, *problem.chunked("unequal chunks"))
    for name, value in fitted_attributes(model).items():
        try:
            _, found = pickled(value)
        except AssertionError as error:
            raise AssertionError(f"of the attribute {name}: {error}") from error
        require(not found, f"the attribute {name} holds {', '.join(sorted(set(found)))}.")
    pickled(model)


@convention
def check_dask_fit_forgets_data(estimator: Any) -> None:
    """A fitted estimator holds neither the graph nor the chunks of the data: its pickle is as small as for NumPy."""
    problem = problem_for(estimator, 2000)
    mine, _ = pickled(fitted(estimator, *problem.chunked("unequal chunks")))
    theirs, _ = pickled(fitted(estimator, *problem.columns))
    require(
        mine <= theirs + problem.X.nbytes // 2,
        f"the pickle has {mine} bytes, {theirs} after a fit on NumPy arrays; X has {problem.X.nbytes}.",
    )


@convention
def check_dask_fit_twice(estimator: Any, *, rtol: float) -> None:
    """A second fit on Dask arrays forgets the first and gives the same result."""
    problem = problem_for(estimator)
    X, y, _ = problem.chunked("unequal chunks")
    theirs = fitted(estimator, X, y)
    other = problem_for(estimator, 50)
    again = fitted(estimator, other.X[:, 1:], other.y).fit(X, y)
    _assert_same_fit(again, theirs, problem.X, rtol)
    _assert_same_fit(again.fit(X, y), theirs, problem.X, rtol)


@convention
def check_dask_parameters_are_untouched(estimator: Any) -> None:
    """A fit on Dask arrays returns the estimator itself and changes no parameter."""
    problem = problem_for(estimator)
    model = clone(estimator)
    before = model.get_params()
    X, y, _ = problem.chunked("unequal chunks")
    require(model.fit(X, y) is model, "fit does not return the estimator itself.")
    after = model.get_params()
    changed = [name for name in before if before[name] is not after[name]]
    require(not changed, f"fit changes the parameters {changed}.")
    clone(model)


@convention
def check_dask_inputs_are_untouched(estimator: Any) -> None:
    """Fit and predict change neither the entries nor the chunks of their arguments."""
    for layout in ("one chunk", "unequal chunks", "unknown chunk sizes"):
        # Persisted chunks, since Dask copies an array that it splits into chunks.
        X, y, _ = (None if a is None else a.persist() for a in problem_for(estimator).chunked(layout))
        arrays = [a for a in (X, y) if a is not None]
        before = [(a.name, str(a.chunks), a.compute().copy()) for a in arrays]
        model = fitted(estimator, X, y)
        for method in methods_of(estimator):
            getattr(model, method)(X).compute()
        for label, a, (name, chunks, entries) in zip("Xy", arrays, before, strict=False):
            require(np.array_equal(a.compute(), entries), f"entries of {label} are written to ({layout}).")
            now = (a.name, str(a.chunks))
            require(now == (name, chunks), f"the array {label} itself is changed: {(name, chunks)} became {now}.")


@convention
def check_dask_sample_weight(estimator: Any, *, layout: str, rtol: float) -> None:
    """A fit on Dask arrays with a Dask array of weights gives the attributes of a fit on NumPy arrays with them."""
    problem = problem_for(estimator).weighted()
    theirs = fitted(estimator, *problem.columns)
    X, y, weight = problem.chunked(layout)
    _assert_same_fit(fitted(estimator, X, y, weight), theirs, problem.X, rtol)
    if layout == "unequal chunks":
        _assert_same_fit(fitted(estimator, X, y, problem.weight), theirs, problem.X, rtol)


@convention
def check_dask_sample_weight_is_repetition(estimator: Any, *, rtol: float) -> None:
    """A weight of 2 is the row given twice, and a weight of 0 is the row left out."""
    problem = problem_for(estimator).weighted()
    counts = np.asarray(problem.weight, dtype=int)
    repeated = problem.take(np.repeat(np.arange(len(counts)), counts))
    X, y, _ = repeated.chunked("unequal chunks")
    theirs = fitted(estimator, X, y)
    _assert_same_fit(fitted(estimator, *problem.chunked("unequal chunks")), theirs, problem.X, rtol)


@convention
def check_dask_labels_by_chunk(estimator: Any, *, rtol: float) -> None:
    """Classes, numbers or strings, are collected from all chunks, even if every chunk has only one."""
    problem = problem_for(estimator)
    problem = problem.take(np.argsort(problem.y, kind="stable"))
    for names in (np.array([7, 40, -3]), np.array(["low", "middle", "a long name"])):
        named = Problem(problem.X, names[problem.y])
        theirs = fitted(estimator, *named.columns)
        X, y, _ = named.chunked("single-row chunks")
        mine = fitted(estimator, X.rechunk({0: 20}), y.rechunk({0: 20}))
        _assert_same_fit(mine, theirs, problem.X, rtol)


@convention
def check_dask_one_class(estimator: Any) -> None:
    """Labels of one class are refused with a ValueError that says so, or are always predicted."""
    problem = problem_for(estimator)
    X, y, _ = Problem(problem.X, np.full(len(problem.X), 3)).chunked("unequal chunks")
    try:
        model = fitted(estimator, X, y)
    except ValueError as error:
        require("class" in str(error), f"the message does not say that there is only one class: {error}")
    else:
        require(np.all(np.asarray(model.predict(X)) == 3), "it fits, and predicts labels other than the only one.")


@convention
def check_dask_several_targets(estimator: Any, *, layout: str, rtol: float) -> None:
    """A fit to several targets on Dask arrays gives the attributes and predictions of NumPy arrays."""
    problem = problem_for(estimator)
    y = np.reshape(problem.y, (len(problem.X), -1))[:, 0]
    problem = Problem(problem.X, np.column_stack([y, np.sqrt(y) + problem.X[:, 0] ** 2]))
    mine, theirs = fitted(estimator, *problem.chunked(layout)), fitted(estimator, *problem.columns)
    _assert_same_fit(mine, theirs, problem.X, rtol)
    X, y, _ = problem.chunked(layout)
    lazy = mine.predict(X)
    require(
        is_dask_collection(lazy) and str(lazy.chunks) == str(y.chunks),
        f"predictions have chunks {getattr(lazy, 'chunks', None)}, and the targets {y.chunks}.",
    )
    assert_same_values(lazy.compute(), theirs.predict(problem.X), rtol, "predict")


def _assert_same_fit(mine: Any, theirs: Any, X: np.ndarray, rtol: float) -> None:
    """Compare attributes, and predictions for NumPy arrays, which must be NumPy arrays."""
    assert_same_attributes(mine, theirs, rtol)
    for method in methods_of(theirs):
        values = getattr(mine, method)(X)
        require(not is_dask_collection(values), f"{method} of a NumPy array returns a Dask collection.")
        assert_same_values(values, getattr(theirs, method)(X), rtol, method)
