"""The proximal operator of losses: against SciPy's Wright omega, optimality of every row, other array types."""

import array_api_strict as strict
import numpy as np
import pytest
import scipy.special
from catalogue import LOSSES

from dask_newton.arrays import to_host
from dask_newton.losses import Softmax, Squared, SquaredSoftplus, Tweedie
from dask_newton.solvers.layerwise.outputs import fista, initial_margins, proximal_margins, supports, wright_omega

SUPPORTED = {name: case for name, case in LOSSES.items() if supports(case.loss)}
SOFTMAX = Softmax(4)


def problem(case, spread, n=200):
    rng = np.random.default_rng(0)
    loss = case.loss
    return case.targets(rng, n), rng.normal(size=(n, loss.n_outputs)) * spread, rng.normal(size=(n, loss.n_outputs))


def test_wright_omega_is_scipys():
    x = np.r_[np.linspace(-700, 50, 20001), np.geomspace(1, 1e9, 2001)]
    np.testing.assert_allclose(wright_omega(x), scipy.special.wrightomega(x), rtol=5e-15)


def test_only_losses_without_a_bound_or_convexity_are_left_out():
    assert not supports(SquaredSoftplus())
    assert supports(Tweedie(1.3)) and supports(Softmax(3, "reference"))


@pytest.mark.parametrize("c", [1e-4, 1.0, 100.0])
@pytest.mark.parametrize("name", SUPPORTED)
def test_every_row_is_optimal(name, c):
    loss = SUPPORTED[name].loss
    for spread in (1.0, 3.0):
        y, M, Z = problem(SUPPORTED[name], spread)
        found = proximal_margins(loss, y, M, c, Z)
        gradient = loss.linearize(y, found)[1] + c * (found - M)
        if name != "softmax-reference":
            assert np.abs(gradient).max() <= 3e-11
        elif c >= 1:  # by FISTA
            assert np.abs(gradient).max() <= 2e-2 * c


@pytest.mark.parametrize("spread", [2.0, 50.0, 3000.0])
@pytest.mark.parametrize("c", [1e-6, 1e-4, 1e-2, 1.0, 100.0])
def test_softmax_is_exact_however_far_the_centre_and_small_the_weight(c, spread):
    y, M, Z = problem(LOSSES["softmax"], spread)
    found = proximal_margins(SOFTMAX, y, M, c, Z)
    rounding = 2e-16 * (1 / c + np.abs(M).max())  # of Z, on which the gradient depends with slopes up to c + 1/2
    assert np.abs(SOFTMAX.linearize(y, found)[1] + c * (found - M)).max() <= 5 * (c + 0.5) * rounding


def test_the_gradient_of_the_loss_is_minus_the_dual():
    """The identity U = Y - softmax(Z) of dlADMM, with U = c (Z - M)."""
    y, M, Z = problem(LOSSES["softmax"], 2.0)
    Z = proximal_margins(SOFTMAX, y, M, 1.0, Z)
    np.testing.assert_allclose(Z - M, np.eye(4)[y.astype(int)] - scipy.special.softmax(Z, axis=1), atol=1e-14)


@pytest.mark.parametrize(("c", "excess"), [(1e-2, 1e-3), (1.0, 1e-5), (100.0, 1e-7)])
def test_fista_gets_near(c, excess):
    y, M, Z = problem(LOSSES["softmax"], 2.0)

    def value(z):
        return (SOFTMAX.value(y, z) + c / 2 * np.sum((z - M) ** 2, axis=1)).sum()

    best = value(proximal_margins(SOFTMAX, y, M, c, Z))
    assert best <= value(fista(SOFTMAX, y, M, c, Z)) <= best * (1 + excess)
    with_option = proximal_margins(SOFTMAX, y, M, c, Z, accelerated=True)
    np.testing.assert_array_equal(with_option, fista(SOFTMAX, y, M, c, Z))
    part = slice(3, 20)  # rows have nothing to do with each other
    np.testing.assert_allclose(fista(SOFTMAX, y[part], M[part], c, Z[part]), with_option[part], rtol=1e-12)


@pytest.mark.parametrize("name", SUPPORTED)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_any_array_type_and_device_gives_the_same_numbers(name, dtype):
    loss, device = SUPPORTED[name].loss, strict.Device("device1")
    y, M, Z = (a.astype(dtype) for a in problem(SUPPORTED[name], 2.0, 30))
    there = [strict.asarray(a, device=device) for a in (y, M, Z)]
    for fn in (lambda y, M, Z: proximal_margins(loss, y, M, 0.5, Z), lambda y, M, Z: initial_margins(loss, y, M, 0.5)):
        here, other = fn(y, M, Z), fn(*there)
        assert other.device == device
        assert str(other.dtype).endswith(dtype) and here.dtype == dtype
        np.testing.assert_allclose(to_host(other), here, rtol=1e-6 if dtype == "float32" else 1e-12, atol=1e-12)


def test_margins_start_at_one_for_the_class_of_the_row():
    y, M = np.array([0.0, 2.0]), np.zeros((2, 3))
    np.testing.assert_array_equal(initial_margins(Softmax(3), y, M, 1.0), [[1, -1, -1], [-1, -1, 1]])
    np.testing.assert_array_equal(
        initial_margins(LOSSES["logistic"].loss, np.array([0.0, 1.0]), M[:, :1], 1.0), [[-1], [1]]
    )
    np.testing.assert_array_equal(initial_margins(Squared(), y, M[:, :1], 1.0), [[0], [1]])
