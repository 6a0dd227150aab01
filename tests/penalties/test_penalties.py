"""Contract of every penalty: the prox is a minimiser, the split adds up, gradients are those of the value."""

import numpy as np
import pytest
from catalogue import PENALTIES
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dask_newton.penalties import L1, SmoothPenalty

finite = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: x + 0.0)
matrices = arrays(np.float64, (3, 2), elements=finite)
steps = st.floats(1e-3, 1e3)
every_penalty = pytest.mark.parametrize("penalty", [make((3, 2)) for make in PENALTIES.values()], ids=PENALTIES)
examples = settings(max_examples=60, deadline=None)


def moreau(penalty, u, w, step):
    """What the prox minimises over u."""
    return penalty.value(u) + float(np.sum((u - w) ** 2)) / (2 * step)


@every_penalty
@examples
@given(w=matrices, other=matrices, step=steps)
def test_prox_is_the_minimiser(penalty, w, other, step):
    """The objective of the prox is strongly convex with 1 / step, so it grows at least so much away from it."""
    u = penalty.prox(w, step)
    best = moreau(penalty, u, w, step)
    for trial in (other, w, u + 1e-3 * other, np.zeros_like(w)):
        growth = float(np.sum((trial - u) ** 2)) / (2 * step)
        # Sums of squares of numbers up to 1e3, over steps down to 1e-3, have rounding errors of about 1e-6.
        assert moreau(penalty, trial, w, step) >= best + growth - 1e-12 * (best + growth + 1) - 1e-6 / step * 1e-6


@every_penalty
@examples
@given(w=matrices, v=matrices, step=steps)
def test_prox_is_firmly_nonexpansive(penalty, w, v, step):
    """Which the prox of every convex function is."""
    d = penalty.prox(w, step) - penalty.prox(v, step)
    assert np.vdot(d, w - v) >= np.vdot(d, d) - 1e-12 * np.vdot(w - v, w - v)


@every_penalty
@examples
@given(w=matrices)
def test_split_adds_up(penalty, w):
    smooth, rest = penalty.split()
    assert isinstance(smooth, SmoothPenalty)
    total = smooth.value(w) + (0.0 if rest is None else rest.value(w))
    assert total == pytest.approx(penalty.value(w), rel=1e-14)
    assert (rest is None) == isinstance(penalty, SmoothPenalty)


@every_penalty
@examples
@given(w=matrices, step=steps)
def test_prox_of_the_split_is_the_prox(penalty, w, step):
    """With the l2 part shrinking what the l1 part leaves."""
    smooth, rest = penalty.split()
    by_parts = smooth.prox(w if rest is None else rest.prox(w, step), step)
    np.testing.assert_allclose(penalty.prox(w, step), by_parts, rtol=1e-14, atol=0)


@every_penalty
@examples
@given(w=matrices, d=matrices)
def test_gradient_and_curvature_are_those_of_the_value(penalty, w, d):
    smooth, _ = penalty.split()
    # The value is a quadratic, so central differences with step 1 are exact up to rounding.
    slope = (smooth.value(w + d) - smooth.value(w - d)) / 2
    bend = smooth.value(w + d) + smooth.value(w - d) - 2 * smooth.value(w)
    rounding = 1e-13 * (1 + smooth.value(w + d) + smooth.value(w - d) + smooth.value(w))
    assert np.vdot(smooth.grad(w), d) == pytest.approx(slope, abs=rounding)
    assert np.sum(smooth.hess_diag * d * d) == pytest.approx(bend, abs=rounding)


@every_penalty
def test_zero_costs_nothing_and_stays(penalty):
    zero = np.zeros((3, 2))
    assert penalty.value(zero) == 0
    np.testing.assert_array_equal(penalty.prox(zero, 2.0), zero)


@examples
@given(w=matrices, step=steps)
def test_l1_prox_makes_exact_zeros(w, step):
    u = L1(0.3).prox(w, step)
    assert np.all(u[np.abs(w) <= 0.3 * step] == 0)
    assert np.all(np.abs(w - u) <= 0.3 * step * (1 + 1e-12) + 1e-12)
    assert np.all(u * w >= 0)


@every_penalty
def test_arguments_are_left_alone(penalty):
    w = np.arange(6.0).reshape(3, 2) - 2
    before = w.copy()
    penalty.value(w)
    penalty.prox(w, 0.5)
    penalty.split()[0].grad(w)
    np.testing.assert_array_equal(w, before)
