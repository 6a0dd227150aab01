"""The reference solutions are what they say: verified by optimality conditions and by a second implementation."""

import numpy as np
import pytest
from problems import NUMBERS, OPTIMA, dense, known, solution
from sklearn.linear_model import LogisticRegression

CASES = [
    ("breast_cancer", "l2", False, False, True),
    ("breast_cancer", "l2", True, True, True),
    ("breast_cancer", "l2", False, False, False),
    ("breast_cancer", "l2", True, False, True),
    ("breast_cancer", "l1", False, False, True),
    ("breast_cancer", "elastic_net", False, False, True),
    ("breast_cancer", "l1", True, True, True),
    ("digits", "l2", False, False, True),
    ("noisy", "none", False, False, True),
    ("noisy", "l2", True, True, True),
    ("noisy", "l1", False, False, True),
    ("noisy_reference", "none", False, False, True),
    ("noisy_reference", "elastic_net", False, False, True),
    *((name, "l2", True, True, True) for name in NUMBERS),
    *((name, "l1", False, False, True) for name in NUMBERS),
    ("breast_cancer", "weighted_l1", False, False, True),
    ("noisy", "weighted_elastic_net", True, True, True),
    ("breast_cancer", "group_lasso", False, False, True),
    ("noisy", "group_lasso_l2", True, False, True),
    ("noisy", "weighted_l2", False, False, True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reference_satisfies_the_optimality_condition(case):
    W, _ = solution(*case)
    # The error of F is about residual^2 / (2 lam2) < 1e-15 for the smallest lam2 here, 1 / 1797.
    assert dense(*case).residual(W) < 1e-10


@pytest.mark.parametrize("case", [case for case in CASES if case[0] != "digits"], ids=str)
def test_dense_derivatives_agree_with_differences(case):
    model, rng = dense(*case), np.random.default_rng(2)
    W = rng.normal(size=solution(*case)[0].shape) / 3
    D = rng.normal(size=W.shape)
    h = 1e-5
    kink, _ = model._norm_derivatives(W)  # no coefficient changes its sign within 1e-5 of W
    slope = (model.value(W + h * D) - model.value(W - h * D)) / (2 * h)
    assert slope == pytest.approx(np.vdot(model.gradient(W) + kink.reshape(D.shape), D), rel=1e-7, abs=1e-8)
    bend = (model.gradient(W + h * D) - model.gradient(W - h * D)) / (2 * h)
    product = (model.hessian(W) @ D.ravel()).reshape(D.shape)
    np.testing.assert_allclose(product, bend, rtol=0, atol=1e-8 * np.abs(bend).max())


@pytest.mark.parametrize("name", OPTIMA)
def test_optimum_is_that_of_the_specification(name):
    # Quadratic convergence leaves rounding errors alone: a few units of 2e-16.
    assert solution(name)[1] == pytest.approx(OPTIMA[name], rel=1e-14)


def test_elastic_net_agrees_with_saga():
    problem = known(penalty_name="elastic_net")
    n = len(problem.dense.y)
    l1, l2 = problem.dense.lam
    model = LogisticRegression(
        C=1 / (n * (l1 + l2)), l1_ratio=l1 / (l1 + l2), solver="saga", tol=1e-9, max_iter=20000, random_state=0
    ).fit(problem.dense.X, problem.dense.y)
    # saga stops at relative changes of 1e-9 per epoch; at its linear rate near 1 some 1e3 times that is left.
    np.testing.assert_allclose(np.vstack([model.coef_.T, model.intercept_]), problem.W, atol=1e-5)
    assert np.count_nonzero(problem.W[:-1]) == np.count_nonzero(model.coef_) == 13


def test_layouts_hold_the_same_rows():
    """Every layout holds all the rows, and what it adds has no weight."""
    for layout in ("equal", "unequal", "empty", "weightless"):
        problem = known(layout=layout, m=4)
        assert problem.objective.blocks.n_blocks == 4
        assert problem.objective.n_rows == 569
        assert problem.objective.total_weight == 569
