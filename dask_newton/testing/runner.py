"""Selects the checks for an estimator, and runs them in the three ways of ``sklearn.utils.estimator_checks``."""

from __future__ import annotations

import functools
import inspect
import math
import unittest
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from dask_newton.testing import execution_checks, fit_checks, input_checks, predict_checks
from dask_newton.testing.conventions import methods_of
from dask_newton.testing.problems import LAYOUTS

__all__ = ["check_dask_estimator", "dask_estimator_checks_generator", "parametrize_with_dask_checks"]

Check = Callable[[Any], None]


def dask_estimator_checks_generator(
    estimator: Any, *, rtol: float = 1e-5, max_reads: int | None = None
) -> Iterator[tuple[Any, Check]]:
    """Yield the checks that apply to an estimator, according to its scikit-learn tags and its methods.

    Parameters
    ----------
    estimator : estimator
        Not fitted. The same class must accept NumPy and Dask arrays.
    rtol : float, default=1e-5
        Allowed difference of floating point attributes and predictions between chunkings, relative to the largest entry
        or 1. Iterative solvers agree only to their own tolerance; make that small.
    max_reads : int, optional
        Largest number of times that a fit may compute each chunk of X; None is no limit.

    Yields
    ------
    estimator, check
        ``check(estimator)`` raises an AssertionError that names the broken convention.

    Raises
    ------
    TypeError
        If ``estimator`` is a class.
    ValueError
        If, according to its tags, it does not accept rows of numbers.
    """
    if isinstance(estimator, type):
        raise TypeError(f"Pass an estimator, {estimator.__name__}(), not the class.")
    tags = get_tags(estimator)
    if not tags.input_tags.two_d_array or tags.input_tags.pairwise:
        name = type(estimator).__name__
        raise ValueError(f"The checks pass rows of numbers; according to its tags, {name} takes other input.")
    close = {"rtol": math.inf if tags.non_deterministic else rtol}
    weights, target = has_fit_parameter(estimator, "sample_weight"), tags.target_tags.required

    def checks() -> Iterator[Check]:
        yield execution_checks.check_dask_no_client
        yield from _each(fit_checks.check_dask_fit_equals_numpy, layout=LAYOUTS, **close)
        yield fit_checks.check_dask_fit_is_concrete
        yield fit_checks.check_dask_fit_forgets_data
        yield from _each(fit_checks.check_dask_fit_twice, **close)
        yield fit_checks.check_dask_parameters_are_untouched
        yield fit_checks.check_dask_inputs_are_untouched
        if target:
            yield from _each(fit_checks.check_dask_fit_on_mixed_arrays, **close)
        if weights:
            yield from _each(fit_checks.check_dask_sample_weight, layout=LAYOUTS, **close)
            yield from _each(fit_checks.check_dask_sample_weight_is_repetition, **close)
        if tags.estimator_type == "classifier":
            if tags.classifier_tags is None or tags.classifier_tags.multi_class:
                yield from _each(fit_checks.check_dask_labels_by_chunk, **close)
            yield fit_checks.check_dask_one_class
        if tags.estimator_type == "regressor" and tags.target_tags.multi_output:
            yield from _each(fit_checks.check_dask_several_targets, layout=LAYOUTS, **close)
        yield from _each(predict_checks.check_dask_method, method=methods_of(estimator), layout=LAYOUTS, **close)
        if hasattr(estimator, "score"):
            yield from _each(predict_checks.check_dask_score, layout=LAYOUTS, **close)
            if "sample_weight" in inspect.signature(estimator.score).parameters:
                yield from _each(predict_checks.check_dask_score_sample_weight, layout=LAYOUTS, **close)
        yield from _each(input_checks.check_dask_float32, **close)
        yield from _each(input_checks.check_dask_dataframe, **close)
        if tags.input_tags.sparse:
            yield from _each(input_checks.check_dask_sparse, **close)
        if not tags.no_validation:
            yield from refusals()
        if max_reads is not None:
            yield from _each(execution_checks.check_dask_fit_reads, max_reads=max_reads)
        yield execution_checks.check_dask_fit_keeps_chunks_apart
        yield from _each(execution_checks.check_dask_threads, **close)
        yield from _each(execution_checks.check_dask_distributed, **close)

    def refusals() -> Iterator[Check]:
        yield input_checks.check_dask_dataframe_columns
        bad = (math.nan, math.inf)
        if not tags.input_tags.allow_nan:
            yield from _each(input_checks.check_dask_fit_refuses_nan, value=bad)
        if tags.estimator_type == "regressor":
            yield from _each(input_checks.check_dask_fit_refuses_nan_targets, value=bad)
        if target:
            yield from _each(input_checks.check_dask_fit_refuses_lengths, weights=weights)
        yield from _each(predict_checks.check_dask_method_refuses_other_features, method=methods_of(estimator))
        if tags.requires_fit:
            yield from _each(predict_checks.check_dask_method_refuses_unfitted, method=methods_of(estimator))

    for check in checks():
        yield estimator, check


def check_dask_estimator(
    estimator: Any,
    *,
    rtol: float = 1e-5,
    max_reads: int | None = None,
    expected_failed_checks: dict[str, str] | None = None,
    on_fail: Literal["raise"] | None = "raise",
) -> list[dict[str, Any]]:
    """Run all checks on an estimator that accepts Dask arrays.

    They complement :func:`sklearn.utils.estimator_checks.check_estimator`, which checks NumPy input. One check needs a
    cluster. It uses the current distributed client, or else starts two worker processes on this machine, for which a
    script needs ``if __name__ == "__main__":``.

    Parameters
    ----------
    estimator : estimator
        Not fitted.
    rtol, max_reads
        As for :func:`dask_estimator_checks_generator`.
    expected_failed_checks : dict, optional
        The reasons why checks may fail, by their names.
    on_fail : 'raise' or None, default='raise'
        None continues after a failure.

    Returns
    -------
    list of dict
        For each check ``estimator``, ``check_name``, ``exception``, ``status`` ('passed', 'failed', 'skipped' or
        'xfail'), ``expected_to_fail`` and ``expected_to_fail_reason``.

    Raises
    ------
    AssertionError
        At the first failure. It names the broken convention, and what was found.

    Examples
    --------
    >>> from dask_newton import Ridge
    >>> from dask_newton.testing import check_dask_estimator
    >>> results = check_dask_estimator(Ridge())  # doctest: +SKIP
    """
    expected = expected_failed_checks or {}
    results = []
    for _, check in dask_estimator_checks_generator(estimator, rtol=rtol, max_reads=max_reads):
        name, status, exception = _name(check), "passed", None
        reason = expected.get(name)
        try:
            check(estimator)
        except (unittest.SkipTest, AssertionError) as raised:
            exception = raised
            skipped = isinstance(raised, unittest.SkipTest)
            status = "skipped" if skipped else "failed" if reason is None else "xfail"
            if status == "failed" and on_fail == "raise":
                raise
        results.append(
            {
                "estimator": estimator,
                "check_name": name,
                "exception": exception,
                "status": status,
                "expected_to_fail": reason is not None,
                "expected_to_fail_reason": reason,
            }
        )
    return results


def parametrize_with_dask_checks(
    estimators: Iterable[Any],
    *,
    rtol: float = 1e-5,
    max_reads: int | None = None,
    expected_failed_checks: Callable[[Any], dict[str, str]] | None = None,
) -> Any:
    """Make a pytest test of each check of each estimator.

    Parameters
    ----------
    estimators : iterable of estimators
        Not fitted.
    rtol, max_reads
        As for :func:`dask_estimator_checks_generator`.
    expected_failed_checks : callable, optional
        ``expected_failed_checks(estimator)`` returns the reasons why checks may fail, by their names.

    Returns
    -------
    decorator
        For a function with the arguments ``estimator`` and ``check``.

    Examples
    --------
    >>> from dask_newton import Lasso, Ridge
    >>> from dask_newton.testing import parametrize_with_dask_checks
    >>> @parametrize_with_dask_checks([Lasso(), Ridge()])
    ... def test_on_dask(estimator, check):
    ...     check(estimator)
    """
    import pytest

    cases = []
    for estimator in estimators:
        expected = expected_failed_checks(estimator) if expected_failed_checks is not None else {}
        for _, check in dask_estimator_checks_generator(estimator, rtol=rtol, max_reads=max_reads):
            reason = expected.get(_name(check))
            marks = () if reason is None else pytest.mark.xfail(reason=reason)
            cases.append(pytest.param(estimator, check, marks=marks, id=f"{type(estimator).__name__}-{_id(check)}"))
    return pytest.mark.parametrize(("estimator", "check"), cases)


def _each(check: Callable[..., None], **options: Any) -> Iterator[Check]:
    """Yield a check for every combination of the options that are tuples."""
    for name, values in options.items():
        if isinstance(values, tuple):
            for value in values:
                yield from _each(check, **{**options, name: value})
            return
    yield functools.partial(check, **options)


def _name(check: Any) -> str:
    return getattr(check, "func", check).__name__


def _id(check: Any) -> str:
    options = {name: value for name, value in getattr(check, "keywords", {}).items() if name != "rtol"}
    return _name(check) + (f"({', '.join(map(str, options.values()))})" if options else "")
