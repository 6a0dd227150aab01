"""Scikit-learn's own checks: all of them on one estimator of each family by default, on every other one in ``slow``."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

import dask_newton
from dask_newton import LogisticRegression, LossRegressor, MLPClassifier, MLPRegressor, PoissonRegressor, Ridge

SMALL = {"hidden_layer_sizes": (10,), "solver": "lbfgs", "tol": 1e-2}
FAMILIES = {
    "LogisticRegression": LogisticRegression(),
    "Ridge": Ridge(),
    "PoissonRegressor": PoissonRegressor(),
    "LossRegressor": LossRegressor(),
    "MLPClassifier, small": MLPClassifier(**SMALL),
}
OTHERS = {"MLPRegressor, small": MLPRegressor(**SMALL)} | {
    name: getattr(dask_newton, name)() for name in dask_newton.estimators.__all__ if name not in FAMILIES
}


def cases():
    for name, estimator in (FAMILIES | OTHERS).items():
        for _, check in estimator_checks_generator(estimator):
            marks = () if name in FAMILIES else pytest.mark.slow
            yield pytest.param(estimator, check, marks=marks, id=f"{name}-{getattr(check, 'func', check).__name__}")


def names_of(estimators):
    return {
        getattr(check, "func", check).__name__
        for estimator in estimators
        for _, check in estimator_checks_generator(estimator)
    }


@pytest.mark.parametrize(("estimator", "check"), list(cases()))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_every_check_runs_by_default():
    assert names_of(OTHERS.values()) <= names_of(FAMILIES.values())
