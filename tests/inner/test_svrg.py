"""SVRG: gradient descent where a batch is all rows, right in the mean where it is not, and honest where it diverges."""

import itertools

import array_api_strict as strict
import numpy as np
import pytest
from problems import dense, parts

from dask_newton.arrays import to_host
from dask_newton.inner import SVRG
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.local import LocalLinear


class Quadratic:
    """``norm(M d)^2 / (2 n)`` with a row of M per sample, which counts what it is asked."""

    def __init__(self, n_rows=40, size=5):
        self.M = np.random.default_rng(0).normal(size=(n_rows, size))
        self.n_rows, self.asked = n_rows, []

    def change(self, d, rows):
        self.asked.append(rows)
        M = self.M[rows]
        return M.T @ (M @ d) / len(rows)


def logistic():
    """A local objective with weights, whose rows' margins at some W are remembered."""
    model = dense("breast_cancer", "l2", weighted=True, offset=True)
    block = LinearBlock(parts(model, 3)[1], True)
    W = np.random.default_rng(5).normal(size=block.shape)
    return LocalLinear(block, block.rows.total_weight, 0.3, 0.2, margins=block.ray(W).margins), block, W


def test_a_batch_of_all_rows_is_gradient_descent():
    function, g = Quadratic(), np.arange(1.0, 6.0)
    found = SVRG(steps=7, batch_size=100, learning_rate=0.1).minimize(function, g, [0])
    H, d = function.M.T @ function.M / 40, np.zeros(5)
    for _ in range(7):
        d = d - 0.1 * (H @ d + g)
    np.testing.assert_allclose(found.x, d, rtol=1e-12)
    assert (found.n_iter, found.status) == (7, "ok")


def test_the_first_step_looks_at_no_rows():
    function, g = Quadratic(), np.ones(5)
    found = SVRG(steps=1, learning_rate=0.25).minimize(function, g, [0])
    np.testing.assert_array_equal(found.x, -0.25 * g)
    assert function.asked == []


def test_batches_take_every_row_once_before_any_row_twice():
    function = Quadratic()
    SVRG(steps=11, batch_size=8, learning_rate=0.01).minimize(function, np.ones(5), [0])
    assert [len(rows) for rows in function.asked] == [8] * 10
    assert all(np.all(np.diff(rows) > 0) for rows in function.asked)
    first, second = np.concatenate(function.asked[:5]), np.concatenate(function.asked[5:])
    np.testing.assert_array_equal(np.sort(first), np.arange(40))
    np.testing.assert_array_equal(np.sort(second), np.arange(40))
    assert not np.array_equal(first, second)


def test_the_seed_decides():
    def run(seed):
        return SVRG(steps=9, batch_size=7, learning_rate=0.1).minimize(Quadratic(), np.ones(5), seed).x

    np.testing.assert_array_equal(run([1, 2, 3]), run([1, 2, 3]))
    different = [run(seed) for seed in ([1, 2, 3], [1, 2, 4], [1, 3, 3], [2, 2, 3])]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(different, 2))


def test_nothing_moves_where_the_gradient_is_zero():
    """The change of a batch's gradient at no displacement is zero whatever the batch: there is no noise to move it."""
    function, _, _ = logistic()
    found = SVRG(steps=20, batch_size=4).minimize(function, np.zeros(function.block.shape), [0])
    np.testing.assert_array_equal(found.x, 0)


def test_estimates_are_right_in_the_mean():
    """Over all rows, one at a time, the changes have the change of the whole local gradient for their mean."""
    function, block, W = logistic()
    d = np.random.default_rng(6).normal(size=W.shape)
    estimates = [function.change(d, np.array([row])) for row in range(block.rows.n_rows)]
    plain = LocalLinear(block, block.rows.total_weight, 0.3)
    whole = plain.at(W + d).gradient - plain.at(W).gradient + 0.2 * d
    np.testing.assert_allclose(np.mean(estimates, axis=0), whole, atol=1e-13 * np.abs(whole).max())


def test_it_finds_the_minimum_with_small_batches():
    """The noise vanishes with D's movement, so that a fixed learning rate ends at the minimum and not about it."""
    function, g = Quadratic(), np.ones(5)
    found = SVRG(steps=800, batch_size=8, learning_rate=0.1).minimize(function, g, [0])
    exact = np.linalg.solve(function.M.T @ function.M / 40, -g)
    one_anchor = np.linalg.norm(found.x - exact) / np.linalg.norm(exact)
    assert one_anchor < 0.3
    # From a second anchor on, at the first result, what is left shrinks by as much again.
    left = g + function.M.T @ (function.M @ found.x) / 40
    again = found.x + SVRG(steps=800, batch_size=8, learning_rate=0.1).minimize(function, left, [1]).x
    assert np.linalg.norm(again - exact) < 0.3 * np.linalg.norm(found.x - exact)


@pytest.mark.parametrize(("rate", "reach"), [(1e30, np.inf), (10.0, 1e3), (0.1, 1e-3)])
def test_divergence_is_told(rate, reach):
    """Without end, beyond what is allowed, or not a number; without a warning of the arithmetic."""
    function, _, W = logistic()
    g = np.ones_like(W)
    found = SVRG(steps=50, batch_size=16, learning_rate=rate, reach=reach).minimize(function, g, [0])
    assert found.status == "diverged"
    assert SVRG(steps=50, batch_size=16, learning_rate=0.01).minimize(function, g, [0]).status == "ok"


def test_looks_at_the_size_change_nothing():
    function, _, W = logistic()
    found = [
        SVRG(steps=20, batch_size=16, check_every=every).minimize(function, np.ones_like(W), [0]).x
        for every in (1, 8, 100)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_any_array_type_and_device_gives_the_same_numbers():
    model = dense("noisy", "l2", weighted=True)
    device = strict.Device("device1")
    found = []
    for move in (None, lambda a: strict.asarray(a, device=device)):
        block = LinearBlock(parts(model, 1, move=move)[0], True)
        W = np.random.default_rng(1).normal(size=block.shape)
        function = LocalLinear(block, block.rows.total_weight, 0.1)
        function = LocalLinear(block, block.rows.total_weight, 0.1, margins=block.ray(function.device(W)).margins)
        result = SVRG(steps=12, batch_size=32).minimize(function, function.device(np.ones_like(W)), [3])
        found.append(to_host(result.x))
    np.testing.assert_allclose(found[1], found[0], atol=1e-13)
