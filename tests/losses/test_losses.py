"""Contract of every loss: its derivatives, its bounds, its numbers far out, and its independence of the array type."""

import array_api_strict as strict
import numpy as np
import pytest
from catalogue import LOSSES
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_newton.losses import Gamma, Logistic, Poisson, Softmax, Squared, SquaredSoftplus, Tweedie
from dask_newton.losses.log_link import LogLink

STEP = 1e-5  # central differences err by step^2 and by rounding / step, both about 1e-10 of the loss here


@pytest.fixture(params=LOSSES)
def case(request):
    return LOSSES[request.param]


def sample(case, n=30, scale=2.0, seed=3):
    rng = np.random.default_rng(seed)
    return case.targets(rng, n), scale * rng.normal(size=(n, case.loss.n_outputs)), rng


def explicit(loss, curvature):
    """Return the Hessian of each row, (n, K, K), by products with unit vectors."""
    n, K = len(curvature), loss.n_outputs
    columns = [loss.hess_mul(curvature, np.broadcast_to(np.eye(K)[k], (n, K))) for k in range(K)]
    return np.stack(columns, axis=2)


def test_value_is_that_of_an_independent_formula(case):
    y, z, _ = sample(case)
    np.testing.assert_allclose(case.loss.value(y, z), case.value(y, z), rtol=1e-12, atol=1e-14)


def test_value_and_linearize_agree(case):
    y, z, _ = sample(case)
    np.testing.assert_array_equal(case.loss.value(y, z), case.loss.linearize(y, z)[0])


def test_gradient_agrees_with_differences(case):
    y, z, rng = sample(case)
    d = rng.normal(size=z.shape)
    slope = (case.loss.value(y, z + STEP * d) - case.loss.value(y, z - STEP * d)) / (2 * STEP)
    gradient = case.loss.linearize(y, z)[1]
    np.testing.assert_allclose(np.sum(gradient * d, axis=1), slope, rtol=1e-7, atol=1e-7)


def test_hessian_agrees_with_differences(case):
    y, z, rng = sample(case)
    d = rng.normal(size=z.shape)
    up, down = (case.loss.linearize(y, z + sign * STEP * d)[1] for sign in (1, -1))
    product = case.loss.hess_mul(case.loss.linearize(y, z)[2], d)
    np.testing.assert_allclose(product, (up - down) / (2 * STEP), rtol=1e-7, atol=1e-7)


def test_hessian_is_symmetric_and_has_the_entries_it_tells(case):
    y, z, _ = sample(case)
    curvature = case.loss.linearize(y, z)[2]
    H = explicit(case.loss, curvature)
    np.testing.assert_allclose(H, H.transpose(0, 2, 1), atol=1e-16)
    for k in range(case.loss.n_outputs):
        for j in range(case.loss.n_outputs):
            np.testing.assert_allclose(case.loss.hess_entry(curvature, k, j), H[:, k, j], atol=1e-15)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.0, 0.1, 1.0, 10.0, 100.0]))
@pytest.mark.parametrize("name", LOSSES)
def test_hessian_lies_between_zero_and_the_bound(name, seed, scale):
    case = LOSSES[name]
    y, z, _ = sample(case, scale=scale, seed=seed)
    eigenvalues = np.linalg.eigvalsh(explicit(case.loss, case.loss.linearize(y, z)[2]))
    rounding = 1e-15 * case.loss.n_outputs
    if case.loss.convex:
        assert eigenvalues.min() >= -rounding
    if case.loss.curvature_bound is not None:
        assert eigenvalues.max() <= case.loss.curvature_bound + rounding


def test_the_bound_of_the_curvature_is_reached(case):
    """At two equally likely classes; a larger bound would shorten every step that relies on it."""
    if case.loss.curvature_bound is None:
        pytest.skip("there is no bound")
    z = np.full((1, case.loss.n_outputs), -50.0)
    z[0, :2] = 0.0
    if getattr(case.loss, "reference", False):
        z[0, :2] = 50.0  # above the reference class, whose margin is 0
    y = 0 * sample(case, n=1)[0]
    H = explicit(case.loss, case.loss.linearize(y, z)[2])
    assert np.linalg.eigvalsh(H).max() == pytest.approx(case.loss.curvature_bound, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("magnitude", [30.0, 1e4])
def test_far_margins_are_finite_and_right(case, dtype, magnitude):
    """Warnings are errors, so overflow inside would be seen as well."""
    y, z, _ = sample(case, n=64, scale=1.0)
    y, z = y.astype(dtype), (magnitude * np.sign(z)).astype(dtype)
    value, gradient, curvature = case.loss.linearize(y, z)
    for array in (value, gradient, curvature, case.loss.hess_mul(curvature, z), case.loss.inverse_link(z)):
        assert np.all(np.isfinite(array))
        assert array.dtype == dtype
    if isinstance(case.loss, LogLink):
        if magnitude > 100:  # the exponential itself is not finite; its tangent is large enough for any line search
            assert value.max() > 1e25
            return
        np.testing.assert_allclose(value, case.value(y, z.astype("float64")), rtol=20 * np.finfo(dtype).eps)
        np.testing.assert_allclose(case.loss.inverse_link(z), case.response(z.astype("float64")), rtol=1e-5)
        return
    # Relative to the margin: values near magnitude carry its rounding errors.
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(value, case.value(y, z.astype("float64")), atol=4 * eps * magnitude, rtol=8 * eps)
    np.testing.assert_allclose(case.loss.inverse_link(z), case.response(z.astype("float64")), atol=1e-6)


def test_response_is_that_of_scipy(case):
    _, z, _ = sample(case, scale=5.0)
    response = case.loss.inverse_link(z)
    np.testing.assert_allclose(response, case.response(z), rtol=1e-12, atol=1e-15)
    if not case.loss.numeric:
        np.testing.assert_allclose(response.sum(axis=1), 1, rtol=1e-14)


def test_probability_of_the_label_is_the_exponential_of_minus_the_loss(case):
    if case.loss.numeric:
        pytest.skip("there are no labels")
    y, z, _ = sample(case)
    probabilities = case.loss.inverse_link(z)
    np.testing.assert_allclose(
        probabilities[np.arange(len(y)), y.astype(int)], np.exp(-case.loss.value(y, z)), rtol=1e-12
    )


def test_shift_invariance_is_as_declared(case):
    y, z, _ = sample(case)
    same = np.allclose(case.loss.value(y, z), case.loss.value(y, z + 1.5), rtol=0, atol=1e-12)
    assert same == case.loss.shift_invariant


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_array_type_and_device_gives_the_same_numbers(case, dtype):
    y, z, rng = sample(case)
    y, z, v = (a.astype(dtype) for a in (y, z, rng.normal(size=z.shape)))
    device = strict.Device("device1")
    ys, zs, vs = (strict.asarray(a, device=device) for a in (y, z, v))

    def check(here, there):
        assert there.device == device
        np.testing.assert_array_equal(np.asarray(there.to_device(strict.Device("CPU_DEVICE"))), here)
        assert here.dtype == dtype

    check(case.loss.value(y, z), case.loss.value(ys, zs))
    for here, there in zip(case.loss.linearize(y, z), case.loss.linearize(ys, zs), strict=True):
        check(here, there)
    curvature, curvature_s = case.loss.linearize(y, z)[2], case.loss.linearize(ys, zs)[2]
    check(case.loss.hess_mul(curvature, v), case.loss.hess_mul(curvature_s, vs))
    check(case.loss.hess_entry(curvature, 0, 0), case.loss.hess_entry(curvature_s, 0, 0))
    last = case.loss.n_outputs - 1
    check(case.loss.hess_entry(curvature, 0, last), case.loss.hess_entry(curvature_s, 0, last))
    check(case.loss.inverse_link(z), case.loss.inverse_link(zs))
    check(case.loss.deviance(y, z), case.loss.deviance(ys, zs))
    valid = np.asarray(case.loss.valid(ys).to_device(strict.Device("CPU_DEVICE")))
    np.testing.assert_array_equal(valid, case.loss.valid(y))


def test_deviance_is_that_of_sklearn(case):
    y, z, _ = sample(case)
    deviance = case.loss.deviance(y, z)
    assert deviance.shape == (len(z),)
    if case.deviance is None:
        np.testing.assert_allclose(deviance, 2 * case.value(y, z), rtol=1e-12)
    else:
        assert deviance.mean() == pytest.approx(case.deviance(y, case.response(z)), rel=1e-12)


def test_null_margin_is_the_best_constant(case):
    """Where targets are numbers the gradient of the sum of all losses is zero there."""
    y, z, _ = sample(case, n=200)
    margin = case.loss.null_margin(np.atleast_1d(y.mean(axis=0)))
    if not case.loss.numeric:
        np.testing.assert_array_equal(margin, np.zeros(case.loss.n_outputs))
        return
    gradient = case.loss.linearize(y, np.broadcast_to(margin, z.shape))[1]
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-11)


def test_gradient_scale_follows_the_units_of_the_targets(case):
    """With targets, and means, in other units the gradient becomes as many times larger as the scale does."""
    if not case.loss.numeric:
        assert case.loss.gradient_scale(7.0) == 1
        return
    y, z, _ = sample(case)
    if isinstance(case.loss, SquaredSoftplus):
        z = np.abs(z) + 40  # where the mean is the margin
    there = 100 * z if isinstance(case.loss, Squared | SquaredSoftplus) else z + np.log(100)
    ratio = case.loss.linearize(100 * y, there)[1] / case.loss.linearize(y, z)[1]
    expected = case.loss.gradient_scale(1e4 * np.mean(y**2)) / case.loss.gradient_scale(np.mean(y**2))
    np.testing.assert_allclose(ratio, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("loss", "bad", "good"),
    [
        (Poisson(), -1.0, 0.0),
        (Gamma(), 0.0, 1e-9),
        (Tweedie(1.5), -1e-9, 0.0),
        (Logistic(), 2.0, 0.0),
        (Logistic(), -1.0, 1.0),
        (Softmax(3), 3.0, 2.0),
        (Softmax(3), 0.5, 0.0),
        (Softmax(3, "reference"), -1.0, 2.0),
    ],
)
def test_targets_outside_the_range_are_known(loss, bad, good):
    np.testing.assert_array_equal(loss.valid(np.array([bad, good, 1.0])), [False, True, True])


@pytest.mark.parametrize("power", [1.0, 2.0, 0.0, 3.0, np.nan])
def test_powers_of_other_losses_are_refused(power):
    with pytest.raises(ValueError, match="not between 1 and 2; use Poisson for 1 and Gamma for 2"):
        Tweedie(power)


def test_no_rows_give_no_rows(case):
    y, z = sample(case)[0][:0], np.zeros((0, case.loss.n_outputs))
    value, gradient, curvature = case.loss.linearize(y, z)
    assert case.loss.value(y, z).shape == value.shape == (0,)
    assert gradient.shape == case.loss.hess_mul(curvature, z).shape == z.shape
    assert case.loss.inverse_link(z).shape[0] == 0


def test_reference_form_is_the_symmetric_one_less_the_last_margin():
    rng = np.random.default_rng(5)
    symmetric, reference = Softmax(4), Softmax(4, "reference")
    y, z = rng.integers(0, 4, 50), 3 * rng.normal(size=(50, 4))
    less = z[:, :3] - z[:, 3:]
    np.testing.assert_allclose(symmetric.value(y, z), reference.value(y, less), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(symmetric.inverse_link(z), reference.inverse_link(less), rtol=1e-12)
    # The chain rule drops the last column of the gradient, and of the Hessian.
    np.testing.assert_allclose(symmetric.linearize(y, z)[1][:, :3], reference.linearize(y, less)[1], atol=1e-15)


def test_two_classes_of_the_reference_form_are_the_logistic_loss():
    """With the classes swapped, as the last one is the reference."""
    rng = np.random.default_rng(5)
    y, z = rng.integers(0, 2, 50).astype(float), 3 * rng.normal(size=(50, 1))
    np.testing.assert_allclose(Softmax(2, "reference").value(1 - y, z), Logistic().value(y, z), rtol=1e-12)


def test_unknown_parametrization_is_refused():
    with pytest.raises(ValueError, match="'simplex' is not known; choose 'symmetric' or 'reference'"):
        Softmax(3, "simplex")
