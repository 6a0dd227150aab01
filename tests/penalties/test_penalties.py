"""Contract of every penalty: the prox is a minimiser, the split adds up, gradients are those of the value."""

import pickle

import numpy as np
import pytest
import scipy.optimize
from catalogue import PENALTIES
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dask_newton.penalties import L1, L2, ElasticNet, GroupLasso, Norms, SmoothPenalty
from dask_newton.penalties.norms import best_shift

finite = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: x + 0.0)
matrices = arrays(np.float64, (3, 2), elements=finite)
steps = st.floats(1e-3, 1e3)
every_penalty = pytest.mark.parametrize("penalty", [make((3, 2)) for make in PENALTIES.values()], ids=PENALTIES)
examples = settings(max_examples=25)


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


# Strengths for each coefficient


def test_a_number_and_an_array_of_it_are_the_same():
    w, lam = np.random.default_rng(0).normal(size=(3, 2)), 0.3
    for array in (np.full(3, lam), np.full((3, 2), lam)):
        for make in (L1, L2, lambda s: ElasticNet(s, s)):
            one, other = make(lam), make(array)
            assert other.value(w) == pytest.approx(one.value(w), rel=1e-15)
            np.testing.assert_array_equal(other.prox(w, 0.7), one.prox(w, 0.7))


def test_a_strength_of_zero_is_no_penalty():
    w = np.random.default_rng(1).normal(size=(3, 2))
    for penalty in (L1([0.0, 1.0, 2.0]), L2([0.0, 1.0, 2.0]), GroupLasso([7, 3, 3], [1.0, 0.0])):
        np.testing.assert_array_equal(penalty.prox(w, 0.5)[0], w[0])
        other = w.copy()
        other[0] += 10
        assert penalty.value(other) == pytest.approx(penalty.value(w), rel=1e-15)


@pytest.mark.parametrize("make", PENALTIES.values(), ids=PENALTIES)
def test_prox_is_what_a_general_minimiser_finds(make):
    """By a derivative-free method, in two dimensions, from several starts."""
    penalty = make((2, 1))
    for seed in range(3):
        w, step = np.random.default_rng(seed).normal(size=(2, 1)) * 2, 1.3
        found = min(
            (
                scipy.optimize.minimize(
                    lambda u, w=w, step=step: moreau(penalty, u.reshape(2, 1), w, step),
                    x0,
                    method="Nelder-Mead",
                    options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 5000},
                )
                for x0 in (w.ravel(), w.ravel() / 2, [1e-3, 1e-3])
            ),
            key=lambda result: result.fun,
        )
        # The minimum is flat: an error of 1e-7 in u is one of 1e-14 in the value.
        np.testing.assert_allclose(penalty.prox(w, step).ravel(), found.x, atol=1e-6)


@pytest.mark.parametrize("make", PENALTIES.values(), ids=PENALTIES)
def test_penalties_compare_by_value_and_pickle(make):
    one, same, other = make((3, 2)), make((3, 2)), L1(np.array([1.0, 2.0, 9.0]))
    copy = pickle.loads(pickle.dumps(one))
    assert one == same == copy
    assert hash(one) == hash(same) == hash(copy)
    assert one != other
    assert len({one, same, copy, other}) == 2
    np.testing.assert_array_equal(copy.prox(np.ones((3, 2)), 0.5), one.prox(np.ones((3, 2)), 0.5))


def test_the_repr_of_an_array_is_short():
    assert repr(L1(0.5)) == "L1(lam=0.5)"
    assert repr(L1(np.linspace(0, 2, 1000))) == "L1(lam=<1000 numbers from 0 to 2>)"
    assert repr(L2(np.full((4, 3), 0.5))) == "L2(lam=<4 x 3 numbers from 0.5 to 0.5>)"
    expected = "GroupLasso(groups=<3 numbers from 0 to 1>, lam=0.1, lam2=0.0, scale_by_size=True)"
    assert repr(GroupLasso([0, 0, 1], 0.1)) == expected


def test_strengths_are_copied_and_read_only():
    lam = np.ones(3)
    penalty = L1(lam)
    lam[:] = 5
    assert penalty.value(np.ones((3, 1))) == 3
    with pytest.raises(ValueError, match="read-only"):
        penalty.lam[0] = 2.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L1(-1.0), r"lam is -1.0; .* must be zero or positive"),
        (lambda: L1([1.0, -2.0]), r"lam\[1\] is -2.0"),
        (lambda: L2([[1.0], [np.nan]]), r"lam\[1, 0\] is nan"),
        (lambda: ElasticNet(0.1, np.inf), "lam2 is inf"),
        (lambda: L1(np.ones((2, 2, 2))), "3 dimensions"),
        (lambda: GroupLasso([0.5, 1.0], 0.1), "integer label"),
        (lambda: GroupLasso([[0, 1]], 0.1), r"shape \(1, 2\)"),
        (lambda: GroupLasso([0, 1, 1], [0.1, 0.2, 0.3]), "2 groups"),
    ],
)
def test_bad_strengths_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (L1(np.ones(4)), r"lam has the shape \(4,\), but the model has 3 features and 2 outputs"),
        (L2(np.ones((2, 3))), r"shape \(2, 3\)"),
        (ElasticNet(0.1, np.ones((3, 1))), r"lam2 has the shape \(3, 1\)"),
        (GroupLasso([0, 1], 0.1), "groups has 2 labels, but the model has 3 features"),
    ],
)
def test_strengths_that_do_not_fit_the_model_are_refused(penalty, message):
    with pytest.raises(ValueError, match=message):
        penalty.check((3, 2))


# Groups


@examples
@given(w=matrices.map(lambda w: w[:, :1]), step=steps)
def test_groups_of_one_are_l1(w, step):
    group, l1 = GroupLasso([4, 2, 9], [0.5, 0.1, 0.3]), L1([0.1, 0.5, 0.3])  # strengths in the order of the labels
    # No matter whether it is x - t or x (1 - t / x), up to rounding.
    np.testing.assert_allclose(group.prox(w, step), l1.prox(w, step), rtol=1e-12, atol=1e-12 * np.abs(w).max())
    assert group.value(w) == pytest.approx(l1.value(w), rel=1e-14)


@examples
@given(w=matrices, step=steps)
def test_one_group_shrinks_the_norm(w, step):
    group, size = GroupLasso([0, 0, 0], 0.2), np.linalg.norm(w)
    assert group.value(w) == pytest.approx(0.2 * np.sqrt(3) * size, rel=1e-14)
    u = group.prox(w, step)
    assert np.linalg.norm(u) == pytest.approx(max(0.0, size - step * 0.2 * np.sqrt(3)), rel=1e-9, abs=1e-12 * size)
    assert np.vdot(u, w) == pytest.approx(np.linalg.norm(u) * size, rel=1e-9, abs=1e-12 * size**2)  # the same direction


def test_groups_are_zero_as_a_whole():
    w = np.array([[3.0, 0.1], [0.2, 0.1], [0.1, 0.0]])
    u = GroupLasso([1, 0, 0], 0.5).prox(w, 1.0)
    np.testing.assert_array_equal(u[1:], 0)
    assert np.all(u[0] != 0)


# Sums of norms, as the solvers see them


def some_norms(labels):
    strength = np.array([0.5, 0.5, 0.0, 1.0, 1.0, 1.0]) if labels is not None else np.array([1, 0, 2, 0.5, 0.1, 3.0])
    return Norms(strength, labels)


every_norms = pytest.mark.parametrize("norms", [some_norms(None), some_norms(np.array([0, 0, 1, 2, 2, 2]))])


@every_norms
def test_derivatives_of_norms_agree_with_differences(norms):
    rng = np.random.default_rng(0)
    v, d, h = rng.normal(size=6), rng.normal(size=6), 1e-5
    slope = (norms.value(v + h * d) - norms.value(v - h * d)) / (2 * h)
    assert slope == pytest.approx(np.dot(norms.grad(v), d), rel=1e-8)
    bend = (norms.grad(v + h * d) - norms.grad(v - h * d)) / (2 * h)
    np.testing.assert_allclose(norms.hess_mul(v, d), bend, atol=1e-8)
    np.testing.assert_allclose(norms.hessian(v) @ d, norms.hess_mul(v, d), atol=1e-14)
    np.testing.assert_allclose(np.diagonal(norms.hessian(v)), norms.hess_diag(v), atol=1e-14)


@every_norms
@pytest.mark.parametrize("size", [10.0, 1e-9])
def test_the_chord_is_an_exact_difference(norms, size):
    """Also where the difference of the values is only rounding."""
    rng = np.random.default_rng(1)
    v, d = rng.normal(size=6), size * rng.normal(size=6)
    change = np.dot(norms.chord(v, d), d)
    if size > 1:
        assert change == pytest.approx(norms.value(v + d) - norms.value(v), rel=1e-13)
    else:
        # The second order is that of the curvature, 1e-18.
        assert change == pytest.approx(np.dot(norms.grad(v), d), abs=1e-16)
    zero = np.zeros(6)
    assert np.dot(norms.chord(zero, v), v) == pytest.approx(norms.value(v), rel=1e-14)
    np.testing.assert_array_equal(norms.chord(zero, zero), 0)


def test_cut_keeps_what_points_to_the_same_side():
    norms = Norms(np.array([1.0, 1.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 2, 2]))
    v, reference = np.array([1.0, -2.0, -1.0, 1.0, 1.0]), np.array([3.0, 1.0, 1.0, 1.0, -2.0])
    np.testing.assert_array_equal(norms.cut(v, reference), [1.0, -2.0, -1.0, 0.0, 0.0])


def test_first_zero_stops_where_a_group_turns():
    norms = Norms(np.array([1.0, 1.0, 0.0, 1.0]))
    v, d = np.array([1.0, 2.0, 1.0, -1.0]), np.array([-4.0, -4.0, -40.0, -1.0])
    step, u = norms.first_zero(v, d, v)
    assert step == 0.25  # of the first entry; the third is free
    np.testing.assert_array_equal(u, [0.0, 1.0, -9.0, -1.25])
    step, u = norms.first_zero(v, 0.1 * d, v)
    assert step == 1
    np.testing.assert_array_equal(u, v + 0.1 * d)
    groups = Norms(np.ones(4), np.array([0, 0, 1, 1]))
    step, u = groups.first_zero(v, np.array([-2.0, -4.0, 0.0, 0.0]), v)  # <v, v> = 5, <v, d> = -10
    assert step == 0.5
    np.testing.assert_array_equal(u, [0.0, 0.0, 1.0, -1.0])


@examples
@given(
    w=matrices,
    t=arrays(np.float64, (3, 2), elements=st.floats(0, 2)),
    r=arrays(np.float64, (3, 2), elements=st.floats(0, 2)),
    by=st.floats(-10, 10),
)
def test_best_shift_is_the_minimiser_over_shifts(w, t, r, by):
    def value(c):
        return np.sum(t * np.abs(w - c) + r * (w - c) ** 2 / 2, axis=1)

    c = best_shift(w, t, r)
    assert np.all(value(c) <= value(c + by) + 1e-9 * (1 + value(c + by)))
    assert np.all(value(c) <= value(0 * c) + 1e-9 * (1 + value(0 * c)))


def test_best_shift_with_hardly_any_ridge():
    W = np.array([[1.0, 3.0]])
    assert 1 <= best_shift(W, np.ones((1, 2)), np.full((1, 2), 2e-311)).item() <= 3  # all of these are medians
    np.testing.assert_allclose(best_shift(W, np.zeros((1, 2)), np.full((1, 2), 1e-300)), [[2.0]], rtol=1e-12)
