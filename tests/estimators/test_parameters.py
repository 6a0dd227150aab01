"""Constructors, names of scores and the public names: what every estimator of the library keeps to."""

import importlib
import inspect
import pkgutil

import dask
import dask.array as da
import numpy as np
import pytest
from dask.base import tokenize
from sklearn.base import clone
from sklearn.metrics import accuracy_score, d2_tweedie_score, r2_score

from dask_newton import estimators
from dask_newton.losses import Squared

ESTIMATORS = {name: getattr(estimators, name) for name in estimators.__all__}
POSITIONAL = {
    "ElasticNet": ["alpha"],
    "Lasso": ["alpha"],
    "LossRegressor": ["loss"],
    "MLPClassifier": ["hidden_layer_sizes", "activation"],
    "MLPRegressor": ["loss", "hidden_layer_sizes", "activation"],
    "Ridge": ["alpha"],
}
SMALL = {"MLPClassifier": ((3,), "tanh"), "MLPRegressor": ("poisson", (3,), "tanh")}


def fitted(cls, *args, **parameters):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 3))
    y = np.exp(0.3 * X @ [1.0, -1.0, 0.5] + 0.2 * rng.normal(size=60))
    if hasattr(cls, "predict_proba"):
        y = y > np.median(y)
    model = cls(*args, **parameters)
    if "random_state" in model.get_params():
        model.set_params(random_state=0, max_iter=500)
    return model.fit(X, y), X, y


@pytest.mark.parametrize("name", ESTIMATORS)
def test_parameters_are_keyword_only_but_for_those_that_scikit_learn_takes_by_position(name):
    signature = inspect.signature(ESTIMATORS[name]).parameters.values()
    assert [p.name for p in signature if p.kind is p.POSITIONAL_OR_KEYWORD] == POSITIONAL.get(name, [])
    assert all(p.kind is p.KEYWORD_ONLY for p in signature if p.name not in POSITIONAL.get(name, []))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_parameter_has_an_entry_in_the_docstring_and_a_constraint(name):
    cls = ESTIMATORS[name]
    assert "<shared" not in cls.__doc__
    entries = inspect.cleandoc(cls.__doc__).split("Attributes\n----------")[0].split("Parameters\n----------")[1]
    documented = [n.strip() for line in entries.split("\n") if " : " in line for n in line.split(" : ")[0].split(",")]
    parameters = list(inspect.signature(cls).parameters)
    assert sorted(n for n in documented if n in parameters) == sorted(parameters)
    assert set(parameters) == set(cls._parameter_constraints)


def test_a_wrong_parameter_is_refused_with_the_name_of_the_estimator():
    with pytest.raises(TypeError, match="Ridge: got an unexpected keyword argument 'alpa'"):
        estimators.Ridge(alpa=1.0)
    with pytest.raises(TypeError, match="LogisticRegression: too many positional arguments"):
        estimators.LogisticRegression(1.0)


def test_dask_tells_two_fits_apart_and_leaves_them_whole():
    X = np.arange(8.0)[:, None]
    one, other = (estimators.Ridge().fit(X, slope * X[:, 0]) for slope in (1.0, 2.0))
    assert tokenize(one) != tokenize(other)
    lazy = da.from_array(X, chunks=(4, 1))
    first, second, back = dask.compute(
        *(lazy.map_blocks(model.predict, drop_axis=1, dtype=float) for model in (one, other)), one
    )
    assert np.array_equal(first, one.predict(X)) and np.array_equal(second, other.predict(X))
    assert np.array_equal(back.coef_, one.coef_)
    assert clone(one).get_params() == one.get_params()


METRICS = {
    "accuracy": lambda model, y, predicted: accuracy_score(y, predicted),
    "R2": lambda model, y, predicted: r2_score(y, predicted),
    "D2": lambda model, y, predicted: d2_tweedie_score(y, predicted, power=model.power_of_test),
}
SCORED = [
    *((name, (), {}) for name in ESTIMATORS if name not in SMALL),
    *((name, args, {}) for name, args in SMALL.items()),
    ("TweedieRegressor", (), {"power": 1.5}),
    ("LossRegressor", (Squared(),), {}),
]
POWERS = {"PoissonRegressor": 1, "GammaRegressor": 2}


@pytest.mark.parametrize(("name", "args", "options"), SCORED)
def test_the_score_is_what_its_name_says(name, args, options):
    model, X, y = fitted(ESTIMATORS[name], *args, **options)
    model.power_of_test = POWERS.get(name, options.get("power"))
    expected = METRICS[model.score_name](model, y, model.predict(X))
    assert model.score(X, y) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("package", ["", ".losses", ".penalties", ".solvers", ".data", ".models", ".testing"])
def test_a_package_shows_its_public_names_and_its_modules_only(package):
    module = importlib.import_module(f"dask_newton{package}")
    modules = {info.name for info in pkgutil.iter_modules(module.__path__)}
    assert {name for name in dir(module) if not name.startswith("_")} <= modules | set(module.__all__)
