"""Backtracking: the largest acceptable step, whatever is asked for at once, and what each way costs."""

import dataclasses

import numpy as np
import pytest
from problems import known, objective

from dask_newton.losses import SquaredSoftplus
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import NoPenalty
from dask_newton.solvers.parts.line_search import LineSearch

WAYS = [LineSearch(batch=b, speculative=s) for b in (1, 4, 51) for s in (True, False)]
every_way = pytest.mark.parametrize("search", WAYS, ids=lambda s: f"batch={s.batch}-speculative={s.speculative}")


def descent(F, factor):
    """Return a point and a direction of descent that is ``factor`` times too long, in steps that matter."""
    point = F.at(np.full(F.shape, 0.1))
    return point, -factor * point.gradient


@every_way
@pytest.mark.parametrize("factor", [0.5, 8.0, 300.0, 1e6])
def test_the_largest_step_that_suffices_is_taken(search, factor):
    problem = known()
    F = problem.objective
    point, D = descent(F, factor)
    slope = np.vdot(point.gradient, D)
    new, size = search.search(F, point, D)
    suffices = [problem.dense.value(point.W + a * D) <= point.value + 1e-4 * a * slope for a in 2.0 ** -np.arange(51)]
    assert size == 2.0 ** -suffices.index(True)
    np.testing.assert_allclose(new.W, point.W + size * D, rtol=1e-14)
    assert new.value == pytest.approx(problem.dense.value(new.W), rel=1e-12)
    np.testing.assert_allclose(new.gradient, problem.dense.gradient(new.W), atol=1e-12)


@every_way
def test_the_result_does_not_depend_on_the_batch(search):
    for factor in (0.5, 300.0):
        F = known().objective
        expected, size = LineSearch().search(F, *descent(F, factor))
        found, same = search.search(F, *descent(F, factor))
        assert same == size
        np.testing.assert_array_equal(found.W, expected.W)
        assert found.value == pytest.approx(expected.value, rel=1e-14)


@pytest.mark.parametrize(
    ("search", "factor", "passes"),
    [
        (LineSearch(), 0.5, 1),  # the gradient at 1 comes with the value
        (LineSearch(speculative=False), 0.5, 2),  # values, then the gradient: the papers' four rounds
        (LineSearch(), 300.0, 3),  # 1 is rejected, the next dozen is looked at, then the gradient
        (LineSearch(batch=51, speculative=False), 300.0, 2),  # all values at once
        (LineSearch(batch=51), 300.0, 2),
    ],
)
def test_passes(search, factor, passes):
    F = known().objective
    point, D = descent(F, factor)
    before = F.blocks.meter.snapshot()
    search.search(F, point, D)
    after = F.blocks.meter.snapshot()
    assert after["passes"] - before["passes"] == passes
    assert after["rounds"] - before["rounds"] == 2 * passes


def test_the_hessian_comes_along_where_the_step_is():
    problem = known()
    F = problem.objective
    for factor in (0.5, 300.0):
        point, D = descent(F, factor)
        new, _ = LineSearch().search(F, point, D, hessian=True)
        np.testing.assert_allclose(new.hessian, problem.dense.hessian(new.W), atol=1e-13)


@every_way
def test_a_direction_that_does_not_descend_is_a_mistake_of_the_solver(search):
    F = known().objective
    point = F.at(np.zeros(F.shape))
    for D in (point.gradient, 0 * point.gradient, np.nan * point.gradient):
        with pytest.raises(AssertionError, match="does not descend"):
            search.search(F, point, D)


@every_way
def test_infinite_values_are_rejected(search):
    """Of a loss that overflows: (log(1 + e^z) - t)^2 at z = 1e200."""
    X = np.array([[1.0], [-1.0]])
    block = RowBlock(X, np.array([5.0, 5.0]), None, None, SquaredSoftplus())
    F = objective([block], NoPenalty(), fit_intercept=False)
    point = F.at(np.array([[0.1]]))
    D = -point.gradient * 1e165
    new, size = LineSearch(max_halvings=600, batch=search.batch, speculative=search.speculative).search(F, point, D)
    assert 0 < size < 1e-150
    assert np.isfinite(new.value)
    assert new.value < point.value


@every_way
def test_at_the_end_of_the_arithmetic_the_slope_decides(search):
    """A Newton step from where F can fall no further: values are equal up to rounding, the gradient still shrinks."""
    problem = known()
    F = problem.objective
    W = problem.W + 1e-9
    point = F.at(W, hessian=True)
    D = -np.linalg.solve(point.hessian, point.gradient.ravel()).reshape(W.shape)
    new, size = search.search(F, point, D)
    assert size == 1.0
    assert np.abs(new.gradient).max() < 0.01 * np.abs(point.gradient).max()


@every_way
def test_a_value_that_rises_by_rounding_alone_is_no_failure(search):
    """Here by two units; a step of the same values that overshoots, with a larger slope, is one."""
    problem = known()
    F = problem.objective
    point = F.at(problem.W + 1e-9, hessian=True)
    D = -np.linalg.solve(point.hessian, point.gradient.ravel()).reshape(F.shape)
    there = float(F.along(point, D, (1.0,)).values[0])
    lower = dataclasses.replace(point, value=there * (1 - 2 * np.finfo(float).eps))
    new, size = search.search(F, lower, D)
    assert size == 1.0
    assert np.abs(new.gradient).max() < np.abs(point.gradient).max()
    assert search.search(F, lower, 5 * D) == (None, 0.0)


@every_way
def test_no_step_at_all_is_none(search):
    """Steps far too short for values to change, and a slope that does not shrink."""
    F = known().objective
    point, D = descent(F, 1e30)
    found = LineSearch(max_halvings=3, batch=search.batch, speculative=search.speculative).search(F, point, D)
    assert found == (None, 0.0)
