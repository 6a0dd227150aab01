"""Newton on one block: exact on quadratics, monotone elsewhere, and honest about failure."""

from dataclasses import dataclass

import numpy as np
import pytest
from problems import dense, parts

from dask_newton.inner import CG, MINRES, LocalNewton
from dask_newton.losses import SquaredSoftplus
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.local import LocalLinear
from dask_newton.objectives.rows.block import RowBlock


@dataclass
class Point:
    x: np.ndarray
    value: float
    gradient: np.ndarray
    curvature: object = None


class Smooth:
    """A function given by value, gradient and Hessian, as a local objective."""

    precision = 2.2e-16

    def __init__(self, value, gradient, curvature):
        self.value, self.gradient, self.curvature, self.trials = value, gradient, curvature, []

    def at(self, x):
        return Point(x, self.value(x), self.gradient(x), self.curvature(x))

    def hessian(self, curvature):
        return lambda v: curvature @ v

    def along(self, point, d, steps, direction_margins=()):
        assert len(steps) > 0
        self.trials += steps
        return np.array([self.value(point.x + a * d) for a in steps]), ()


def quadratic():
    rng = np.random.default_rng(0)
    M = rng.normal(size=(8, 8))
    A, b = M @ M.T + np.eye(8), rng.normal(size=8)
    return Smooth(lambda x: 0.5 * x @ A @ x - b @ x, lambda x: A @ x - b, lambda x: A), np.linalg.solve(A, b)


def logistic(ridge=1e-3):
    model = dense("breast_cancer")
    (rows,) = parts(model, 1)
    return LocalLinear(LinearBlock(rows, True), rows.total_weight, ridge)


@pytest.mark.parametrize("inner", [CG(1e-14, 50), MINRES(1e-14, 50)], ids=lambda s: type(s).__name__)
def test_one_step_solves_a_quadratic(inner):
    function, solution = quadratic()
    found = LocalNewton(max_iter=1, inner=inner).minimize(function, np.ones(8))
    np.testing.assert_allclose(found.x, solution, rtol=1e-10)
    assert function.trials == [1.0]
    assert found.status == "max_iter"
    assert found.n_products <= 10  # d, one for rounding, and one for the test of MINRES


def test_it_stops_where_the_gradient_is_small():
    function, solution = quadratic()
    found = LocalNewton(max_iter=10, inner=CG(1e-14, 50), gtol=1e-9).minimize(function, np.zeros(8))
    assert found.status == "ok"
    assert found.n_products <= 9
    assert LocalNewton(gtol=1e-9).minimize(function, solution).n_products == 0


@pytest.mark.parametrize("start", [0.0, 3.0, -10.0])
def test_values_fall_with_every_step(start):
    objective, method = logistic(), LocalNewton(max_iter=1, inner=CG(1e-4, 10))
    x = np.full(objective.block.shape, start)
    for _ in range(15):
        new = method.minimize(objective, x).x
        # Equal up to rounding at the end, where the differences vanish.
        assert objective.at(new).value <= objective.at(x).value * (1 + 1e-15)
        x = new
    assert np.abs(objective.at(x).gradient).max() < 1e-3


def test_many_steps_in_one_call_are_many_calls():
    objective, x = logistic(), np.zeros((31, 1))
    together = LocalNewton(max_iter=4).minimize(objective, x)
    products = 0
    for _ in range(4):
        found = LocalNewton(max_iter=1).minimize(objective, x)
        x, products = found.x, products + found.n_products
    np.testing.assert_array_equal(together.x, x)
    assert together.n_products == products


def test_it_reaches_the_optimum_of_a_block():
    objective = logistic()
    found = LocalNewton(max_iter=50, inner=CG(1e-6, 200), gtol=1e-10).minimize(objective, np.zeros((31, 1)))
    assert found.status == "ok"
    assert np.linalg.norm(objective.at(found.x).gradient) <= 1e-10


@pytest.mark.parametrize("halvings", [0, 1, 2, 3, 4, 5, 30])
def test_without_an_acceptable_step_x_stays(halvings):
    """A gradient of the wrong sign: every step goes up."""
    function = Smooth(lambda x: float(x @ x), lambda x: -2 * x, lambda x: 2 * np.eye(3))
    found = LocalNewton(max_halvings=halvings).minimize(function, np.ones(3))
    assert found.status == "ls_fail"
    np.testing.assert_array_equal(found.x, np.ones(3))
    assert function.trials == [2.0**-k for k in range(halvings + 1)]


def test_the_largest_acceptable_step_is_taken():
    """A wall that lets through steps of 1/8 and less."""
    function = Smooth(lambda x: float(x @ x) if np.all(x >= 0.85) else np.inf, lambda x: 2 * x, lambda x: 2 * np.eye(2))
    found = LocalNewton().minimize(function, np.ones(2))
    np.testing.assert_allclose(found.x, np.ones(2) * (1 - 1 / 8))


def test_a_value_that_rises_by_rounding_alone_is_no_failure():
    function = Smooth(lambda x: 1.0 + 2.2e-16 * (x[0] < 1), lambda x: 1e-9 * np.ones(1), lambda x: np.eye(1))
    found = LocalNewton().minimize(function, np.ones(1))
    assert found.status == "max_iter"
    assert function.trials == [1.0]


def test_steps_to_nan_are_rejected():
    function = Smooth(lambda x: float(x @ x) if np.all(x >= 0.6) else np.nan, lambda x: 2 * x, lambda x: 2 * np.eye(2))
    np.testing.assert_allclose(LocalNewton().minimize(function, np.ones(2)).x, 0.75 * np.ones(2))


@pytest.mark.parametrize("what", ["value", "gradient"])
def test_nan_at_the_start_is_told_and_x_stays(what):
    value = np.nan if what == "value" else 1.0
    gradient = np.full(2, np.nan if what == "gradient" else 1.0)
    function = Smooth(lambda x: value, lambda x: gradient, lambda x: np.eye(2))
    found = LocalNewton().minimize(function, np.ones(2))
    assert (found.status, found.n_products) == ("nan", 0)
    np.testing.assert_array_equal(found.x, np.ones(2))


def test_nan_in_the_curvature_gives_steepest_descent():
    function = Smooth(lambda x: float(x @ x), lambda x: 2 * x, lambda x: np.full((2, 2), np.nan))
    found = LocalNewton().minimize(function, np.ones(2))
    np.testing.assert_allclose(found.x, 0.0)  # 1 - 2 goes too far, half of it is exact


@pytest.mark.parametrize("inner", [CG(), MINRES()], ids=lambda s: type(s).__name__)
def test_negative_curvature_is_told_and_still_descends(inner):
    rng = np.random.default_rng(0)
    X, y = rng.random((80, 6)), rng.integers(0, 10, 80).astype(float)
    block = LinearBlock(RowBlock(X, y, None, None, SquaredSoftplus()), False)
    objective, x = LocalLinear(block, 80.0), np.zeros((6, 1))
    found = LocalNewton(inner=inner).minimize(objective, x)
    assert found.curvature < 0
    assert objective.at(found.x).value < objective.at(x).value


def test_steps_along_negative_curvature_are_tracked():
    """From a hill with the gradient of 1e-3: the full step is far too short, and so is any that MINRES could know."""
    function = Smooth(
        lambda x: float(-x @ x / 2 + x @ x * (x @ x) / 4e4),
        lambda x: -x + x * (x @ x) / 1e4,
        lambda x: -np.eye(2),
    )
    found = LocalNewton(inner=MINRES()).minimize(function, np.array([1e-3, 0.0]))
    assert found.curvature == pytest.approx(-1.0)
    # The valley is a circle of radius 100; steps are powers of 2 times the gradient.
    assert 50 < np.linalg.norm(found.x) <= 142
    twice = LocalNewton(max_iter=2, inner=MINRES()).minimize(function, np.array([1e-3, 0.0]))
    assert function.value(twice.x) <= function.value(found.x)


def test_a_direction_that_minres_cannot_give_is_replaced_by_steepest_descent():
    """NaN at the first product leaves x = 0."""
    function = Smooth(lambda x: float(x @ x), lambda x: 2 * x, lambda x: np.full((2, 2), np.nan))
    found = LocalNewton(inner=MINRES()).minimize(function, np.ones(2))
    np.testing.assert_allclose(found.x, 0.0)
