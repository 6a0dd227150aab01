"""Networks as estimators: scikit-learn's objective and conventions, whatever the container."""

import pickle
from dataclasses import replace
from functools import partial

import dask
import dask.array as da
import duck
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
from networks import blobs, digits
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier as ReferenceClassifier
from sklearn.neural_network import MLPRegressor as ReferenceRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dask_newton import MLPClassifier, MLPRegressor
from dask_newton.containers.hold_out import HoldOut
from dask_newton.data import save_dataset
from dask_newton.losses import Softmax
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L1
from dask_newton.solvers import NETWORK_SOLVERS, SOLVERS, Adam, UnsupportedError

duck.register()

X, Y = blobs()
LABELS = np.array(["red", "green", "blue"])[Y.astype(int)]
WEIGHT = np.resize([1.0, 2.0, 0.0, 1.0, 3.0], 60)
NUMBERS = X @ [1.0, -2.0, 0.5, 0.0] + X[:, 0] ** 2
# A minimum that is reached, so that fits that round differently end at the same place.
SHORT = {
    "hidden_layer_sizes": (3,),
    "activation": "tanh",
    "alpha": 3.0,
    "solver": "newton-cg",
    "tol": 1e-8,
    "random_state": 0,
}


def as_dask(*arrays, rows=(25, 20, 15)):
    return tuple(None if a is None else da.from_array(a, chunks=(rows, *((-1,) * (a.ndim - 1)))) for a in arrays)


def theta(model):
    return np.concatenate([a.ravel() for a in (*model.coefs_, *model.intercepts_)])


def reference(cls, model, X, y, weight=None):
    """An estimator of scikit-learn with the parameters of ours."""
    theirs = cls(
        hidden_layer_sizes=model.hidden_layer_sizes,
        activation=model.activation,
        alpha=model.alpha,
        solver="lbfgs",
        max_iter=1,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning):
        theirs.fit(X, y, sample_weight=weight)
    theirs.coefs_, theirs.intercepts_ = model.coefs_, model.intercepts_
    return theirs


def scikit_learns_loss(theirs, X, y, weight=None):
    """Value and gradient at the parameters, by scikit-learn."""
    labels = getattr(theirs, "_label_binarizer", None)
    y = np.reshape(y if labels is None else labels.transform(y), (len(X), -1))
    A = [X, *([None] * len(theirs.coefs_))]
    grads = [[np.empty_like(a) for a in arrays] for arrays in (theirs.coefs_, theirs.intercepts_)]
    value, *grads = theirs._backprop(X, y, weight, A, [None] * len(theirs.coefs_), *grads)
    return value, np.concatenate([a.ravel() for arrays in grads for a in arrays])


CASES = {
    "three classes": (MLPClassifier, ReferenceClassifier, LABELS, (3, 1)),
    "two classes": (MLPClassifier, ReferenceClassifier, LABELS == "red", (3, 1)),
    "numbers": (MLPRegressor, ReferenceRegressor, NUMBERS, (3, 1)),
    "three layers": (MLPClassifier, ReferenceClassifier, LABELS, (4, 3, 2)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_objective_and_predictions_are_scikit_learns(case, weight):
    cls, theirs, y, hidden = CASES[case]
    mine = cls(**{**SHORT, "hidden_layer_sizes": hidden, "max_iter": 3})
    with pytest.warns(ConvergenceWarning, match=r"gradient entry is .*raise max_iter"):
        mine.fit(X, y, weight)
    sklearn_model = reference(theirs, mine, X, y, weight)
    value, gradient = scikit_learns_loss(sklearn_model, X, y, weight)
    assert mine.loss_ == pytest.approx(value, rel=1e-12)
    unit = 1.0 if cls is MLPClassifier else np.sqrt(np.cov(y, aweights=weight, ddof=0))
    assert mine.result_.gradient_norm * unit == pytest.approx(np.max(np.abs(gradient)), rel=1e-9)
    assert [a.shape for a in mine.coefs_] == [a.shape for a in sklearn_model.coefs_]
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(mine, name) == getattr(sklearn_model, name)
    for name in ["predict_proba", "predict_log_proba"] if cls is MLPClassifier else ["predict"]:
        assert_allclose(getattr(mine, name)(X), getattr(sklearn_model, name)(X), rtol=1e-10)
    if cls is MLPClassifier:
        assert_array_equal(mine.classes_, sklearn_model.classes_)
        assert_array_equal(mine.predict(X), sklearn_model.predict(X))
    assert mine.score(X, y, weight) == pytest.approx(sklearn_model.score(X, y, weight), rel=1e-12)


def test_several_targets_have_the_minimum_of_scikit_learns_gradient():
    y = np.column_stack([NUMBERS, X[:, 1] * X[:, 2]])
    model = MLPRegressor(**SHORT).fit(X, y)
    theirs = reference(ReferenceRegressor, model, X, y)
    assert np.max(np.abs(scikit_learns_loss(theirs, X, y)[1])) < 1e-8 * np.sqrt(y.var(axis=0).mean())
    assert_allclose(model.predict(X), theirs.predict(X), rtol=1e-10)
    assert model.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-10)
    assert model.predict(as_dask(X)[0]).chunks == ((25, 20, 15), (2,))


def test_a_mean_of_the_targets_far_from_zero_need_not_be_learnt():
    model = MLPRegressor(hidden_layer_sizes=(5,), activation="tanh", solver="newton-cg", random_state=0)
    near, far = clone(model).fit(X, NUMBERS), clone(model).fit(X, 1e4 + 10 * NUMBERS)
    assert near.converged_ and far.converged_
    assert near.score(X, NUMBERS) > 0.95 and far.score(X, 1e4 + 10 * NUMBERS) > 0.95
    with pytest.warns(ConvergenceWarning):
        start = clone(model).set_params(max_iter=0).fit(X, 1e4 + 10 * NUMBERS)
    assert start.intercepts_[-1] == pytest.approx(1e4 + 10 * NUMBERS.mean())


def test_counts_have_the_objective_of_scikit_learn_up_to_what_depends_on_them_alone():
    counts = np.random.default_rng(0).poisson(np.exp(0.5 * X[:, 0]))
    model = MLPRegressor(loss="poisson", **SHORT).fit(X, counts, WEIGHT)
    theirs = reference(partial(ReferenceRegressor, loss="poisson"), model, X, counts, WEIGHT)
    value, gradient = scikit_learns_loss(theirs, X, counts, WEIGHT)
    assert model.loss_ == pytest.approx(value - np.average(xlogy(counts, counts) - counts, weights=WEIGHT), rel=1e-9)
    assert np.max(np.abs(gradient)) < 1e-6 and model.out_activation_ == theirs.out_activation_
    assert_allclose(model.predict(X), theirs.predict(X), rtol=1e-9)
    assert model.score(X, counts) == pytest.approx(theirs.score(X, counts), rel=1e-9)


CONTAINERS = {
    "csr": lambda: (sp.csr_array(X), LABELS),
    "pandas": lambda: (pd.DataFrame(X, columns=list("abcd")), pd.Series(LABELS)),
    "xarray": lambda: (xr.DataArray(X, dims=("sample", "feature")), LABELS),
    "Dask": lambda: as_dask(X, LABELS),
    "Dask, rows not known": lambda: tuple(a[as_dask(X)[0][:, 0] > -9] for a in as_dask(X, LABELS)),
    "on a device": lambda: (duck.asduck(X), LABELS),
    "Dask of csr": lambda: (as_dask(X)[0].map_blocks(sp.csr_array), as_dask(LABELS)[0]),
}


@pytest.fixture(scope="module")
def expected():
    return MLPClassifier(**SHORT).fit(X, LABELS)


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_network(expected, container):
    rows, labels = CONTAINERS[container]()
    model = MLPClassifier(**SHORT).fit(rows, labels)
    assert model.converged_
    assert_allclose(theta(model), theta(expected), atol=1e-6)
    assert model.score(rows, labels) == expected.score(X, LABELS)
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        lazy, eager = getattr(model, name)(rows), getattr(model, name)(X if container != "pandas" else rows)
        if isinstance(rows, da.Array):
            assert isinstance(lazy, da.Array) and lazy.dtype == eager.dtype and lazy.ndim == eager.ndim
            assert_array_equal(lazy.chunks[0], rows.chunks[0])
        compare = assert_array_equal if name == "predict" else partial(assert_allclose, rtol=1e-12)
        compare(lazy.get() if isinstance(lazy, duck.DuckArray) else np.asarray(lazy), eager)


def test_zarr_by_path(tmp_path, expected):
    save_dataset(tmp_path / "rows.zarr", X, LABELS, feature_names=list("abcd"), chunk_rows=20)
    model = MLPClassifier(**SHORT).fit(tmp_path / "rows.zarr")
    assert_allclose(theta(model), theta(expected), atol=1e-6)
    assert model.feature_names_in_.tolist() == list("abcd")
    streamed = MLPClassifier(**SHORT, persist=False).fit(tmp_path / "rows.zarr")
    assert_array_equal(theta(streamed), theta(model))


@pytest.mark.cluster
def test_a_cluster_gives_the_bits_of_one_process(cluster_client):
    model = MLPClassifier(
        (3,), solver="lbfgs", early_stopping=True, validation_fraction=0.2, max_iter=3, random_state=0
    )
    with pytest.warns(ConvergenceWarning):
        there = clone(model).fit(*as_dask(X, LABELS))
        with dask.config.set(scheduler="threads"):
            here = clone(model).fit(*as_dask(X, LABELS))
    assert_array_equal(theta(there), theta(here))
    assert there.n_rounds_ == here.n_rounds_ and there.validation_scores_ == here.validation_scores_
    assert b"distributed" not in pickle.dumps(there)


def test_float32_stays_float32():
    rows, labels = digits()
    model = MLPClassifier((8,), "tanh", solver="lbfgs", random_state=0, max_iter=20, tol=1e-2).fit(
        rows.astype("f4"), labels
    )
    assert {a.dtype for a in (*model.coefs_, *model.intercepts_)} == {np.dtype("f4")}
    assert model.predict_proba(rows.astype("f4")).dtype == np.float32
    assert MLPClassifier(**SHORT).fit((8 * X).astype(int), LABELS).coefs_[0].dtype == np.float64


def test_training_ends_by_its_loss_as_scikit_learns_does():
    rows, labels = digits()
    model = MLPClassifier(
        (10,),
        "tanh",
        solver="gd",
        solver_options={"learning_rate": 0.5},
        random_state=0,
        tol=1e-3,
        n_iter_no_change=3,
        max_iter=500,
    ).fit(rows, labels)
    curve = np.array([model.history_[0]["objective"], *model.loss_curve_])
    best = np.minimum.accumulate(curve)
    better = curve[1:] < best[:-1] - 1e-3
    assert not better[-3:].any() and all(better[i : i + 3].any() for i in range(len(better) - 3))
    assert model.converged_ and model.result_.status == "no_change" and not model.result_.converged
    assert model.n_iter_ == len(model.loss_curve_) and model.loss_ == model.loss_curve_[-1]
    assert model.best_loss_ == min(model.loss_curve_)
    assert model.validation_scores_ is None and model.best_validation_score_ is None


@pytest.mark.parametrize("given", ["rows of its own", "X_val"])
@pytest.mark.parametrize("lazy", [False, True])
def test_early_stopping_keeps_the_best_score(given, lazy):
    """Labels that are noise: whatever is learnt is of no use for other rows."""
    rng = np.random.default_rng(3)
    rows, noise = rng.normal(size=(300, 20)), rng.integers(0, 3, 300)
    other = (rows[200:], noise[200:])
    more = {"X_val": other[0], "y_val": other[1]} if given == "X_val" else {}
    train = (rows[:200], noise[:200]) if more else (rows, noise)
    model = MLPClassifier((20,), solver="lbfgs", alpha=0, early_stopping=True, n_iter_no_change=4, random_state=1)
    model.fit(*(as_dask(*train, rows=(100,) * (len(train[0]) // 100)) if lazy else train), **more)
    scores = [record["validation_score"] for record in model.history_]
    assert model.validation_scores_ == scores[1:] and model.best_validation_score_ == max(scores)
    best = np.maximum.accumulate(scores)
    assert not any(scores[i] > best[i - 1] + model.tol for i in range(len(scores) - 4, len(scores)))
    assert model.converged_ and model.result_.status == "no_change" and model.best_loss_ is None
    if given == "X_val":
        assert model.score(*other) == max(scores)
        p = model.predict_proba(other[0])[np.arange(100), other[1]]
        losses = {record["validation_loss"] for record in model.history_ if record["validation_score"] == max(scores)}
        assert min(abs(-np.mean(np.log(p)) - loss) for loss in losses) < 1e-12


def test_rows_held_out_are_drawn_from_every_class_and_not_fitted():
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    seed = int(np.random.RandomState(SHORT["random_state"]).randint(2**31 - 1))
    held = HoldOut(0.1, seed, validation=True)
    block = RowBlock(X, labels, None, None, Softmax(3))
    assert np.bincount(held(block).y).tolist() == [3, 2, 1]
    train = replace(held, validation=False)(block)
    assert train.X is X and train.weight.sum() == 54
    outside = set(map(tuple, X[train.weight == 0]))
    assert outside == set(map(tuple, held(block).X))
    # What the rows held out are cannot matter to the network.
    far = X.copy()
    far[train.weight == 0] += 100
    short = {**SHORT, "early_stopping": True, "max_iter": 2, "n_iter_no_change": 9}
    with pytest.warns(ConvergenceWarning):
        fits = [MLPClassifier(**short).fit(rows, labels) for rows in (X, far)]
    assert [r["objective"] for r in fits[0].history_] == [r["objective"] for r in fits[1].history_]
    assert fits[0].validation_scores_ != fits[1].validation_scores_


@pytest.mark.parametrize("solver", [*NETWORK_SOLVERS, "lbfgs", "newton-cg"])
def test_every_solver_of_networks_is_reached_by_name(solver):
    with pytest.warns(ConvergenceWarning):
        model = MLPClassifier((3,), "tanh", alpha=1.0, solver=solver, max_iter=3, tol=0, random_state=0).fit(X, LABELS)
    assert type(model.solver_) is {**SOLVERS, **NETWORK_SOLVERS}[solver]
    assert model.loss_ < model.history_[0]["objective"]


def test_mini_batches_are_scikit_learns_for_solvers_that_have_them():
    short = MLPClassifier((3,), solver="adam", max_iter=1, random_state=0)
    rows, labels = np.tile(X, (10, 1)), np.tile(LABELS, 10)

    def fit(**options):
        with pytest.warns(ConvergenceWarning):
            return clone(short).set_params(**options).fit(rows, labels)

    assert fit().solver_.batch_size == 200 and fit().history_[-1]["inner_iterations"] == 3
    assert fit(batch_size=100).history_[-1]["inner_iterations"] == 6
    assert fit(batch_size=None).history_[-1]["inner_iterations"] == 1
    assert fit(solver_options={"batch_size": 300}).history_[-1]["inner_iterations"] == 2
    assert fit(solver=Adam()).solver_.batch_size is None
    assert fit().solver_.seed != fit(random_state=1).solver_.seed
    with pytest.raises(ValueError, match="batch_size=100 needs a named solver with mini-batches.*solver='lbfgs'"):
        clone(short).set_params(batch_size=100, solver="lbfgs").fit(rows, labels)


def test_solver_objects_and_options_are_the_same():
    short = MLPClassifier(**{**SHORT, "max_iter": 5, "solver_options": {"learning_rate": 0.1}, "solver": "adam"})
    with pytest.warns(ConvergenceWarning):
        by_name = clone(short).fit(X, LABELS)
        by_object = short.set_params(solver=Adam(learning_rate=0.1), solver_options=None).fit(X, LABELS)
    assert_array_equal(theta(by_name), theta(by_object))


def test_random_state_is_the_start():
    start = MLPClassifier((3,), max_iter=0, random_state=0)
    with pytest.warns(ConvergenceWarning):
        one, two, other, none, again = (
            theta(clone(start).set_params(random_state=seed).fit(X, LABELS)) for seed in (0, 0, 1, None, None)
        )
    assert_array_equal(one, two)
    assert not np.array_equal(one, other) and not np.array_equal(none, again)


def test_warm_start_goes_on_and_costs_less():
    model = MLPClassifier(**SHORT, warm_start=True).fit(X, LABELS)
    first = model.n_passes_
    model.fit(X, LABELS)
    assert model.n_iter_ == 0 and model.n_passes_ == 1 < first
    model.set_params(hidden_layer_sizes=(4,)).fit(X, LABELS)
    assert model.n_iter_ > 0 and model.coefs_[0].shape == (4, 4)


def test_class_weights_are_weights():
    expected = MLPClassifier(**SHORT).fit(X, LABELS, np.where(LABELS == "red", 3.0, 1.0))
    assert_allclose(theta(MLPClassifier(**SHORT, class_weight={"red": 3.0}).fit(X, LABELS)), theta(expected), atol=1e-9)
    labels = np.repeat([0, 1], [45, 15])
    balanced = MLPClassifier(**SHORT, class_weight="balanced").fit(*as_dask(X, labels))
    weighted = MLPClassifier(**SHORT).fit(X, labels, np.where(labels == 1, 2.0, 2 / 3))
    assert_allclose(theta(balanced), theta(weighted), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, r"hidden_layer_sizes must be > 0, .*got \(3, 0\)"),
        ({"hidden_layer_sizes": (2.5,)}, r"hidden_layer_sizes must be > 0"),
        ({"activation": "sine"}, "The 'activation' parameter of MLPClassifier must be a str among"),
        ({"alpha": -1.0}, "The 'alpha' parameter"),
        ({"solver": "gncg"}, "did you mean 'gn-cg'"),
        ({"solver": "adam", "solver_options": {"learning_rat": 1}}, "did you mean 'learning_rate'"),
        ({"solver": "newton-cholesky"}, "is for linear models.*use solver='lbfgs'"),
        ({"early_stopping": True, "validation_fraction": 1e-6}, "validation set is too small: it has 0 rows.*Increase"),
    ],
)
def test_wrong_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**{**SHORT, **change}).fit(X, LABELS)


def test_solvers_of_linear_models_say_so():
    with pytest.raises(UnsupportedError):
        MLPRegressor(solver="giant").fit(X, NUMBERS)


@pytest.mark.parametrize("make", [lambda *a: a, as_dask])
def test_wrong_data_are_refused(make):
    model = MLPClassifier(**SHORT)
    broken = np.where(X == X[50, 2], np.nan, X)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(*make(broken, LABELS))
    with pytest.raises(ValueError, match="one class"):
        model.fit(*make(X, np.full(60, "red")))
    with pytest.raises(ValueError, match="X_val and y_val go together"):
        model.fit(*make(X, LABELS), X_val=X)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4"):
        model.fit(*make(X, LABELS), X_val=X[:, 1:], y_val=LABELS)
    with pytest.raises(ValueError, match="not among the classes"):
        model.fit(*make(X, LABELS), X_val=X, y_val=np.full(60, "black"))
    with pytest.raises(ValueError, match="must be real numbers|could not convert"):
        MLPRegressor(**SHORT).fit(*make(X, LABELS))


def test_logarithms_of_probabilities_are_those_of_scikit_learn_where_they_underflow():
    model = MLPClassifier(**SHORT).fit(X, LABELS)
    model.coefs_[-1] *= 1e4
    with np.errstate(divide="ignore"):
        expected = np.log(model.predict_proba(X))
    assert np.isinf(expected).any()
    assert_array_equal(model.predict_log_proba(X), expected)
    assert_array_equal(model.predict_log_proba(as_dask(X)[0]), expected)


def test_pipelines_and_searches():
    rows, y = load_diabetes(return_X_y=True)
    network = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0, tol=1e-3)
    pipeline = make_pipeline(StandardScaler(), network)
    search = GridSearchCV(pipeline, {"mlpregressor__alpha": [1.0, 100.0]}, cv=2).fit(rows, y)
    assert search.best_score_ > 0.4
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert_array_equal(again.predict(rows), search.best_estimator_.predict(rows))


@pytest.mark.parametrize(
    ("model", "y", "expected"),
    [
        (MLPRegressor(hidden_layer_sizes=(3,)), NUMBERS, "'kfac': it needs few rounds, and layers of these widths"),
        (
            MLPClassifier((5000,)),
            LABELS,
            "'lbfgs': it needs few rounds with little work in each, and the Kronecker factors of such wide layers",
        ),
        (MLPClassifier((3,), regularizer=L1(0.01)), LABELS, "'pdadmm': the penalty L1(lam=0.01) is not diff"),
    ],
)
def test_auto_says_what_it_chose_and_why(caplog, model, y, expected):
    with caplog.at_level("INFO", "dask_newton"), pytest.warns(ConvergenceWarning):
        model.set_params(max_iter=1, tol=0).fit(X, y)
    assert f"solver='auto' chose {expected}" in caplog.text
    assert f"'{model.solver_.name}'" in expected
