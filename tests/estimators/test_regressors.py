"""The regressors against scikit-learn: the same objectives, the same coefficients, whatever the container."""

import pickle
import warnings

import dask.array as da
import numpy as np
import pytest
import sklearn.linear_model
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dask_newton import (
    ElasticNet,
    GammaRegressor,
    Lasso,
    LinearRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from dask_newton.penalties import L1, L2

X, TARGET = load_diabetes(return_X_y=True)
RNG = np.random.default_rng(5)
WEIGHT = RNG.uniform(0.5, 2, len(X)) * (RNG.random(len(X)) > 0.1)
COUNTS = RNG.poisson(np.exp(X @ RNG.normal(size=10) * 3 + 1)).astype(float)

# Estimator, its parameters, its target, and parameters of scikit-learn's class for an exact solution.
GLM = {"solver": "newton-cholesky", "tol": 1e-12}
CASES = {
    "LinearRegression": (LinearRegression, {}, TARGET, {}),
    "Ridge": (Ridge, {"alpha": 0.3}, TARGET, {"tol": 1e-12}),
    "Lasso": (Lasso, {"alpha": 0.5}, TARGET, {"tol": 1e-14, "max_iter": 10**6}),
    "ElasticNet": (ElasticNet, {"alpha": 0.01, "l1_ratio": 0.3}, TARGET, {"tol": 1e-14, "max_iter": 10**6}),
    "PoissonRegressor": (PoissonRegressor, {"alpha": 1e-3}, COUNTS, GLM),
    "GammaRegressor": (GammaRegressor, {"alpha": 1e-3}, TARGET, GLM),
    "TweedieRegressor": (TweedieRegressor, {"alpha": 1e-3, "power": 1.5}, COUNTS, GLM),
    "TweedieRegressor normal": (TweedieRegressor, {"alpha": 1e-3}, TARGET, GLM),
    "TweedieRegressor poisson": (TweedieRegressor, {"alpha": 1e-3, "power": 1}, COUNTS, GLM),
}


def made(name, **more):
    cls, parameters, y, _ = CASES[name]
    return cls(**{"tol": 1e-11, **parameters, **more}), y


def reference(name, sample_weight=None, **more):
    cls, parameters, y, exact = CASES[name]
    theirs = getattr(sklearn.linear_model, cls.__name__)(**parameters, **exact, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return theirs.fit(X, y, sample_weight=sample_weight)


def as_dask(*arrays, sizes=(100, 0, 42, 300)):
    return [da.from_array(a, chunks=(sizes, *a.shape[1:])) for a in arrays]


def check(mine, theirs, atol=1e-6):
    scale = np.max(np.abs(theirs.coef_))
    assert_allclose(mine.coef_, theirs.coef_, rtol=0, atol=atol * max(1, scale))
    assert_allclose(mine.intercept_, theirs.intercept_, rtol=1e-9)
    assert np.shape(mine.coef_) == np.shape(theirs.coef_)
    assert np.shape(mine.intercept_) == np.shape(theirs.intercept_)
    assert mine.converged_


@pytest.mark.parametrize("name", CASES)
def test_coefficients_are_those_of_sklearn(name):
    mine, y = made(name)
    theirs = reference(name)
    mine.fit(X, y)
    check(mine, theirs)
    assert_allclose(mine.predict(X), theirs.predict(X), rtol=1e-8)
    assert mine.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-9)
    assert mine.score(X, y, WEIGHT) == pytest.approx(theirs.score(X, y, WEIGHT), abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_weights_and_no_intercept(name):
    mine, y = made(name, fit_intercept=False)
    check(mine.fit(X, y, sample_weight=WEIGHT), reference(name, WEIGHT, fit_intercept=False))
    assert mine.intercept_ == 0


@pytest.mark.parametrize("name", CASES)
def test_dask_arrays_give_the_same_and_predict_lazily(name):
    mine, y = made(name)
    dX, dy, dw = as_dask(X, y, WEIGHT)
    other = clone(mine).fit(X, y, WEIGHT)
    mine.fit(dX, dy, sample_weight=dw)
    assert_allclose(mine.coef_, other.coef_, rtol=0, atol=1e-9 * max(1, np.max(np.abs(other.coef_))))
    predicted = mine.predict(dX)
    assert isinstance(predicted, da.Array) and predicted.chunks == dy.chunks
    assert_allclose(predicted.compute(), mine.predict(X), rtol=1e-12)
    assert mine.score(dX, dy, dw) == pytest.approx(mine.score(X, y, WEIGHT), abs=1e-12)


def exact_zeros(estimator):
    return estimator.coef_ == 0


@pytest.mark.parametrize("name", ["Lasso", "ElasticNet"])
@pytest.mark.parametrize("solver", ["prox-newton", "newton-admm", "newton-cholesky", "giant"])
def test_zeros_are_exact_and_where_sklearn_has_them(name, solver):
    mine, y = made(name, solver=solver, max_iter=300)
    np.testing.assert_array_equal(exact_zeros(mine.fit(X, y)), exact_zeros(reference(name)))


@pytest.mark.parametrize("name", ["LinearRegression", "Ridge", "Lasso", "ElasticNet"])
def test_several_targets(name):
    cls, parameters, _, exact = CASES[name]
    Y = np.column_stack([TARGET, COUNTS, TARGET * 2 + COUNTS])
    theirs = getattr(sklearn.linear_model, cls.__name__)(**parameters, **exact).fit(X, Y)
    mine = cls(**parameters, tol=1e-12).fit(X, Y)
    check(mine, theirs)
    assert_allclose(mine.predict(X), theirs.predict(X), rtol=1e-7)
    assert mine.score(X, Y) == pytest.approx(theirs.score(X, Y), abs=1e-9)
    dX, dY = as_dask(X, Y)
    there = cls(**parameters, tol=1e-12).fit(dX, dY)
    check(there, theirs)
    predicted = there.predict(dX)
    assert predicted.chunks == dY.chunks
    assert_allclose(predicted.compute(), mine.predict(X), rtol=1e-8)
    # A matrix of one column stays one.
    single = cls(**parameters).fit(X, TARGET[:, None])
    assert single.coef_.shape == (1, 10) and single.predict(X).shape == (len(X), 1)


def test_a_strength_for_each_target():
    Y, alpha = np.column_stack([TARGET, COUNTS]), [0.1, 3.0]
    check(Ridge(alpha=alpha, tol=1e-12).fit(X, Y), sklearn.linear_model.Ridge(alpha=alpha, tol=1e-12).fit(X, Y))


@pytest.mark.parametrize("name", ["PoissonRegressor", "GammaRegressor", "TweedieRegressor"])
def test_exposure_multiplies_the_mean(name):
    """A count over twice the time is as likely as two counts; so is a weight of exposure on the rate."""
    mine, y = made(name, alpha=0.0)
    exposure = RNG.uniform(0.5, 3, len(X))
    mine.fit(X, y, exposure=exposure)
    power = {"PoissonRegressor": 1, "GammaRegressor": 2, "TweedieRegressor": 1.5}[name]
    rate = clone(mine).fit(X, y / exposure, sample_weight=exposure ** (2 - power))
    assert_allclose(mine.coef_, rate.coef_, rtol=1e-7, atol=1e-7)
    assert_allclose(mine.predict(X, exposure=exposure), exposure * mine.predict(X), rtol=1e-12)
    assert_allclose(mine.predict(X, offset=np.log(exposure)), exposure * mine.predict(X), rtol=1e-12)
    dX, dy, de = as_dask(X, y, exposure)
    there = clone(mine).fit(dX, dy, exposure=de)
    assert_allclose(there.coef_, mine.coef_, rtol=1e-8, atol=1e-8)
    assert_allclose(there.predict(dX, exposure=de).compute(), mine.predict(X, exposure=exposure), rtol=1e-7)


def test_offset_is_subtracted_from_the_target_of_least_squares():
    offset = 10 * RNG.normal(size=len(X))
    mine = Ridge(tol=1e-12).fit(X, TARGET, offset=offset)
    check(mine, sklearn.linear_model.Ridge(tol=1e-12).fit(X, TARGET - offset))
    assert_allclose(mine.predict(X, offset=offset), mine.predict(X) + offset, rtol=1e-12)


@pytest.mark.parametrize("make", [lambda a: a, lambda a: as_dask(a)[0]])
def test_exposures_that_are_not_positive_are_counted(make):
    exposure = np.ones(len(X))
    exposure[[3, 8]] = 0
    with pytest.raises(ValueError, match="exposure has 2 values that are not positive"):
        PoissonRegressor().fit(make(X), make(COUNTS), exposure=make(exposure))


@pytest.mark.parametrize(("name", "bad"), [("PoissonRegressor", -1.0), ("GammaRegressor", 0.0)])
def test_targets_out_of_range_are_refused(name, bad):
    mine, y = made(name)
    y = y.copy()
    y[7] = bad
    with pytest.raises(ValueError, match="Block 0 of the data contains 1 targets that .* does not allow: y must be"):
        mine.fit(X, y)


def test_links_and_powers_that_do_not_go_together_are_refused():
    for power, link in [(0, "log"), (1, "identity"), (3, "auto"), (0.5, "auto"), (-1, "auto")]:
        with pytest.raises(ValueError, match="is not supported: a power of 0 goes with the identity link"):
            TweedieRegressor(power=power, link=link).fit(X, COUNTS + 1)


def test_units_do_not_matter():
    """Neither those of the targets nor of the features change how far a fit goes."""
    for solver in ("newton-cholesky", "newton-cg", "giant"):
        fits = [
            LinearRegression(solver=solver, tol=1e-8).fit(X * u, TARGET * v)
            for u, v in [(1, 1), (1e4, 1), (1, 1e6), (1e-3, 1e-4)]
        ]
        for fit, (u, v) in zip(fits, [(1, 1), (1e4, 1), (1, 1e6), (1e-3, 1e-4)], strict=True):
            assert fit.converged_
            assert_allclose(fit.coef_ * u / v, fits[0].coef_, rtol=1e-4)


def test_a_regularizer_replaces_the_penalty():
    mine = LinearRegression(regularizer=L2(0.3 / len(X)), tol=1e-12).fit(X, TARGET)
    check(mine, reference("Ridge"))
    mine = Ridge(regularizer=L1(0.5), tol=1e-11).fit(X, TARGET)
    check(mine, reference("Lasso"))


def test_warm_start_and_given_start():
    first = PoissonRegressor(alpha=1e-3, tol=1e-10, warm_start=True).fit(X, COUNTS)
    coef, intercept = first.coef_, first.intercept_
    assert first.n_iter_ > 1
    assert first.fit(X, COUNTS).n_iter_ == 0
    again = PoissonRegressor(alpha=1e-3, tol=1e-10).fit(X, COUNTS, coef_init=coef, intercept_init=intercept)
    assert again.n_iter_ == 0
    with pytest.raises(ValueError, match="coef_init is for 1 outputs and 3 features; the data have 1 and 10"):
        PoissonRegressor().fit(X, COUNTS, coef_init=np.zeros(3))
    with pytest.raises(ValueError, match="coef_init has 1 rows and intercept_init 2 entries"):
        PoissonRegressor().fit(X, COUNTS, coef_init=np.zeros(10), intercept_init=[0, 0])


def test_validation_loss_is_recorded_and_ends_the_fit():
    """Of a model that can only overfit: more features than rows, and targets that are noise."""
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(40, 60)), rng.normal(size=(40, 60))
    noise, other = rng.normal(size=40), rng.normal(size=40)
    mine = Ridge(alpha=1e-6, solver="lbfgs", early_stopping=True, n_iter_no_change=3)
    mine.fit(train, noise, X_val=held_out, y_val=other)
    losses = mine.history_.to_pandas()["validation_loss"].to_numpy()
    best = int(np.argmin(losses))
    assert mine.n_iter_ == best + 3 == len(losses) - 1
    assert not mine.converged_ and mine.result_.status.value == "stopped"
    assert np.mean((other - mine.predict(held_out)) ** 2) / 2 == pytest.approx(losses[best], rel=1e-12)
    watched = clone(mine).set_params(early_stopping=False).fit(train, noise, X_val=held_out, y_val=other)
    assert watched.converged_ and watched.n_iter_ > mine.n_iter_
    assert_allclose(watched.history_.to_pandas()["validation_loss"].to_numpy()[: len(losses)], losses, rtol=1e-9)
    with pytest.raises(ValueError, match="early_stopping=True needs X_val and y_val"):
        mine.fit(train, noise)


@pytest.mark.parametrize("name", CASES)
def test_pickle_clone_and_parameters(name):
    mine, y = made(name)
    mine.fit(X, y)
    restored = pickle.loads(pickle.dumps(mine))
    np.testing.assert_array_equal(restored.predict(X), mine.predict(X))
    assert clone(mine).get_params() == mine.get_params()


@pytest.mark.parametrize("name", CASES)
def test_to_sklearn_and_back(name):
    mine, y = made(name)
    mine.fit(X, y)
    theirs = mine.to_sklearn()
    assert type(theirs).__module__.startswith("sklearn.")
    assert_allclose(theirs.predict(X), mine.predict(X), rtol=1e-13)
    assert theirs.score(X, y) == pytest.approx(mine.score(X, y), abs=1e-12)
    for key in ("alpha", "l1_ratio", "power", "fit_intercept"):
        assert theirs.get_params().get(key) in (None, mine.get_params().get(key))
    back = type(mine).from_sklearn(theirs)
    np.testing.assert_array_equal(back.predict(X), mine.predict(X))
    assert back.get_params().get("alpha") == mine.get_params().get("alpha")
    with pytest.raises(TypeError, match="takes sklearn.linear_model"):
        type(mine).from_sklearn(StandardScaler())


def test_inside_sklearn():
    pipeline = make_pipeline(StandardScaler(), Ridge())
    search = GridSearchCV(pipeline, {"ridge__alpha": [0.1, 100.0]}, n_jobs=2).fit(X, TARGET)
    theirs = make_pipeline(StandardScaler(), sklearn.linear_model.Ridge(alpha=search.best_params_["ridge__alpha"]))
    assert search.best_score_ == pytest.approx(cross_val_score(theirs, X, TARGET).mean(), abs=1e-7)


def test_metadata_are_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        offset = RNG.normal(size=len(X))
        model = PoissonRegressor(alpha=1e-3, tol=1e-10).set_fit_request(offset=True, sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model).fit(X, COUNTS, offset=offset, sample_weight=WEIGHT)
    alone = PoissonRegressor(alpha=1e-3, tol=1e-10).fit(
        StandardScaler().fit_transform(X), COUNTS, offset=offset, sample_weight=WEIGHT
    )
    np.testing.assert_array_equal(pipeline[-1].coef_, alone.coef_)


def test_nothing_is_said_to_have_converged_that_has_not():
    with pytest.warns(ConvergenceWarning, match="stopped without converging"):
        mine = PoissonRegressor(alpha=1e-3, solver="lbfgs", max_iter=2).fit(X, COUNTS)
    assert not mine.converged_ and mine.n_iter_ == 2
