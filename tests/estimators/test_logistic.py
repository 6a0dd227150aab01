"""LogisticRegression against scikit-learn: the same objective, the same coefficients, whatever the container."""

import itertools
import pickle
from functools import partial

import dask
import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose
from pairwise import cases
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Reference
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dask_newton import LogisticRegression
from dask_newton.auto import linear as auto
from dask_newton.auto.machine import Machine
from dask_newton.data import save_splits
from dask_newton.solvers import SOLVERS, NewtonCG

# Coefficients are lam2 = 1/(C n) times less certain than the gradient; 1e-11 leaves 1e-8 on these data.
TOL = 1e-11
SMOOTH = ["newton-cholesky", "newton-cg", "sampled-newton", "giant", "newton-admm"]


def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return X[order] / 16, y[order]


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return ((X - X.mean(0)) / X.std(0))[order], y[order]


def uneven(n, n_blocks):
    """Row chunks of unequal sizes, one of them empty."""
    if n_blocks == 1:
        return (n,)
    cuts = np.sort(np.random.default_rng(n_blocks).choice(np.arange(1, n), n_blocks - 1, replace=False))
    sizes = np.diff([0, *cuts, n]).tolist()
    return tuple([sizes[0], 0, *sizes[1:]])


def as_dask(X, y, n_blocks):
    chunks = uneven(len(X), n_blocks)
    return da.from_array(X, chunks=(chunks, -1)), da.from_array(y, chunks=(chunks,))


@pytest.fixture(scope="module")
def references():
    return {
        "digits": Reference(solver="newton-cholesky", tol=1e-12, max_iter=500).fit(*digits()),
        "cancer": Reference(solver="newton-cholesky", tol=1e-12, max_iter=500).fit(*cancer()),
    }


def assert_same_coefficients(fitted, reference, atol):
    np.testing.assert_allclose(fitted.coef_, reference.coef_, rtol=0, atol=atol)
    expected = reference.intercept_ - (reference.intercept_.mean() if len(reference.intercept_) > 1 else 0)
    np.testing.assert_allclose(fitted.intercept_, expected, rtol=0, atol=atol)


@cases("data, solver, n_blocks", itertools.product(["digits", "cancer"], SMOOTH, [None, 1, 2, 4, 7]), together=1)
def test_coefficients_equal_scikit_learns(references, data, solver, n_blocks):
    X, y = digits() if data == "digits" else cancer()
    given = (X, y) if n_blocks is None else as_dask(X, y, n_blocks)
    fitted = LogisticRegression(solver=solver, tol=TOL, max_iter=500).fit(*given)
    assert fitted.converged_
    assert_same_coefficients(fitted, references[data], 1e-6)


@pytest.mark.cluster
@cases("solver, n_blocks", itertools.product(SMOOTH, [1, 4, 7]), together=1)
def test_coefficients_on_a_cluster_have_the_bits_of_one_process(cluster_client, solver, n_blocks):
    X, y = cancer()
    model = LogisticRegression(solver=solver, max_iter=500)
    there = clone(model).fit(*as_dask(X, y, n_blocks))
    with dask.config.set(scheduler="threads"):
        here = clone(model).fit(*as_dask(X, y, n_blocks))
    np.testing.assert_array_equal(there.coef_, here.coef_)
    assert (there.n_passes_, there.n_rounds_) == (here.n_passes_, here.n_rounds_)
    assert b"distributed" not in pickle.dumps(there), "a fitted estimator must not hold on to the cluster"


@cases("solver, l1_ratio, n_blocks", itertools.product(["newton-admm", "prox-newton"], [0.5, 1.0], [None, 4]))
def test_l1_solutions_satisfy_their_optimality_conditions(solver, l1_ratio, n_blocks):
    # An independent certificate is sharper than saga, whose own residual is 1e-10 here.
    X, y = cancer()
    fitted = LogisticRegression(solver=solver, l1_ratio=l1_ratio, tol=1e-10, max_iter=300).fit(
        *((X, y) if n_blocks is None else as_dask(X, y, n_blocks))
    )
    n, w = len(y), fitted.coef_[0]
    p = 1 / (1 + np.exp(-(X @ w + fitted.intercept_)))
    g = X.T @ (p - y) / n + (1 - l1_ratio) / n * w
    on, lam1 = w != 0, l1_ratio / n
    assert 0 < on.sum() < len(w)
    np.testing.assert_allclose(g[on], -lam1 * np.sign(w[on]), rtol=0, atol=2e-10)
    assert np.all(np.abs(g[~on]) <= lam1 + 2e-10)
    assert abs((p - y).mean()) <= 2e-10


def test_l1_agrees_with_saga_on_support_and_coefficients():
    X, y = cancer()
    reference = Reference(solver="saga", C=0.1, l1_ratio=1.0, tol=1e-10, max_iter=100_000).fit(X, y)
    fitted = LogisticRegression(C=0.1, l1_ratio=1.0, tol=1e-10, max_iter=300).fit(X, y)
    np.testing.assert_array_equal(fitted.coef_ != 0, reference.coef_ != 0)
    assert_same_coefficients(fitted, reference, 1e-6)


def test_no_penalty_is_c_infinity():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 4))
    y = (X @ [1.0, -2.0, 0.5, 0.0] + rng.logistic(size=500) > 0.3).astype(int)
    reference = Reference(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(X, y)
    assert_same_coefficients(LogisticRegression(C=np.inf, tol=TOL).fit(X, y), reference, 1e-8)


@pytest.mark.parametrize("solver", SMOOTH)
def test_without_intercept_and_with_weights(solver):
    X, y = cancer()
    weight = np.random.default_rng(1).uniform(0, 3, len(y))
    weight[::7] = 0
    options = {"C": 0.3, "fit_intercept": False, "class_weight": {0: 2.0, 1: 0.5}}
    reference = Reference(solver="newton-cholesky", tol=1e-12, **options).fit(X, y, weight)
    for given in ((X, y, weight), (*as_dask(X, y, 4), weight)):
        fitted = LogisticRegression(solver=solver, tol=TOL, max_iter=500, **options).fit(*given)
        assert_same_coefficients(fitted, reference, 1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_class_weight(weighted):
    X, y = digits()
    weight = np.random.default_rng(1).uniform(0.5, 3, len(y)) if weighted else None
    reference = Reference(solver="newton-cholesky", tol=1e-12, class_weight="balanced").fit(X, y, weight)
    for given in ((X, y), as_dask(X, y, 4)):
        fitted = LogisticRegression(class_weight="balanced", tol=TOL).fit(*given, sample_weight=weight)
        assert_same_coefficients(fitted, reference, 1e-6)


@pytest.mark.parametrize("names", [["no", "yes"], [1, 2], [-7, 40], [False, True], [0.0, 2.0]])
def test_any_two_labels(references, names):
    X, y = cancer()
    labels = np.array(names)[y]
    for given in ((X, labels), as_dask(X, labels, 4)):
        fitted = LogisticRegression(tol=TOL).fit(*given)
        np.testing.assert_array_equal(fitted.classes_, names)
        assert_same_coefficients(fitted, references["cancer"], 1e-6)
        predicted = fitted.predict(X)
        assert predicted.dtype == labels.dtype
        assert np.mean(predicted == labels) > 0.97


def test_classes_come_from_all_blocks(references):
    X, y = digits()
    order = np.argsort(y, kind="stable")  # every block sees one to three of the ten classes
    fitted = LogisticRegression(tol=TOL).fit(*as_dask(X[order], y[order], 7))
    np.testing.assert_array_equal(fitted.classes_, np.arange(10))
    assert_same_coefficients(fitted, references["digits"], 1e-6)


def test_prediction_equals_scikit_learns(references):
    X, y = digits()
    fitted, reference = LogisticRegression(tol=TOL).fit(X, y), references["digits"]
    np.testing.assert_array_equal(fitted.predict(X), reference.predict(X))
    np.testing.assert_allclose(fitted.predict_proba(X), reference.predict_proba(X), atol=1e-9)
    np.testing.assert_allclose(fitted.predict_log_proba(X), reference.predict_log_proba(X), atol=1e-7)
    assert fitted.score(X, y) == reference.score(X, y)
    assert isinstance(fitted.predict_proba(X), np.ndarray)


@pytest.mark.parametrize("data", [digits, cancer])
def test_prediction_on_dask_is_lazy_and_keeps_the_chunks(data):
    X, y = data()
    fitted = LogisticRegression().fit(X, y)
    known, targets = as_dask(X, y, 4)
    unknown = known[known[:, 0] > -np.inf]
    assert np.isnan(unknown.chunks[0][0])
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        method = getattr(fitted, name)
        lazy, expected = method(known), method(X)
        assert isinstance(lazy, da.Array)
        assert lazy.chunks[0] == known.chunks[0]
        assert lazy.dtype == expected.dtype and lazy.ndim == expected.ndim
        # Products of other row counts may round differently in the last bits.
        compare = np.testing.assert_array_equal if name == "predict" else partial(assert_allclose, rtol=1e-12)
        compare(lazy.compute(), expected)
        compare(method(unknown).compute(), expected)
    assert fitted.score(known, targets) == pytest.approx(fitted.score(X, y), abs=1e-15)
    weight = np.arange(len(y), dtype=float)
    assert fitted.score(known, targets, weight) == pytest.approx(fitted.score(X, y, weight), abs=1e-12)


def test_unknown_chunks_and_column_chunks_fit_the_same(references):
    X, y = cancer()
    known, targets = as_dask(X, y, 4)
    mask = known[:, 0] > -np.inf
    unknown = known[mask]
    fits = {
        "unknown": LogisticRegression(tol=TOL).fit(unknown, targets[mask]),
        "unknown X, y in memory": LogisticRegression(tol=TOL).fit(unknown, y),
        "columns": LogisticRegression(tol=TOL).fit(known.rechunk((200, 7)), targets),
        "other row chunks of y": LogisticRegression(tol=TOL).fit(known, targets.rechunk(100)),
    }
    for fitted in fits.values():
        assert_same_coefficients(fitted, references["cancer"], 1e-7)
    assert np.isnan(unknown.chunks[0]).all(), "the array of the user is changed"


def test_fit_from_zarr(tmp_path, references):
    X, y = digits()
    path = save_splits(tmp_path / "digits.zarr", {"train": (X, y), "test": (X[:100], y[:100])}, chunk_rows=400)
    fitted = LogisticRegression(tol=TOL).fit(str(path / "train"))
    assert_same_coefficients(fitted, references["digits"], 1e-6)
    assert fitted.score(path / "test") == fitted.score(X[:100], y[:100])
    np.testing.assert_array_equal(fitted.predict(path / "test").compute(), fitted.predict(X[:100]))


def test_float32_stays_float32():
    X, y = digits()
    reference = LogisticRegression(tol=1e-7).fit(X, y)
    fitted = LogisticRegression(tol=1e-5).fit(X.astype(np.float32), y)
    assert fitted.predict_proba(X.astype(np.float32)).dtype == np.float32
    # A gradient of 1e-5 over lam2 = 1/1797 bounds the error by 2e-2 along single coefficients.
    np.testing.assert_allclose(fitted.coef_, reference.coef_, atol=2e-2)
    assert not np.array_equal(fitted.coef_, LogisticRegression(tol=1e-5).fit(X, y).coef_)


def test_warm_start_continues_and_costs_less():
    X, y = digits()
    model = LogisticRegression(solver="newton-cg", warm_start=True).fit(X, y)
    first = model.n_passes_
    model.fit(X, y)
    assert model.n_iter_[0] == 0
    assert model.n_passes_ == 1 < first
    model.set_params(C=1.1).fit(X, y)
    assert 1 < model.n_passes_ < first


def test_what_did_not_converge_warns_with_its_gradient():
    X, y = digits()
    model = LogisticRegression(solver="giant", max_iter=2)
    with pytest.warns(ConvergenceWarning, match=r"gradient entry is .*tol is 1e-06.*raise max_iter") as caught:
        model.fit(X, y)
    assert not model.converged_
    assert f"{model.result_.gradient_norm:.3g}" in str(caught[0].message)


def test_separable_data_without_penalty_is_not_called_converged():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    for solver in SMOOTH:
        with pytest.warns(ConvergenceWarning, match="add a penalty|raise max_iter"):
            model = LogisticRegression(C=np.inf, solver=solver).fit(X, [0, 0, 1, 1])
        assert not model.converged_
        assert np.all(np.isfinite(model.coef_))


def test_attributes_tell_what_was_done():
    X, y = digits()
    model = LogisticRegression(solver="giant").fit(X, y)
    assert model.solver_ == SOLVERS["giant"]()
    assert model.n_iter_.shape == (1,)
    assert len(model.history_) == model.n_iter_[0] + 1
    assert model.history_[-1]["passes"] == model.n_passes_
    assert model.n_rounds_ == 2 * model.n_passes_
    assert model.n_features_in_ == 64
    assert model.result_.gradient_norm <= 1e-6
    assert list(model.history_.to_pandas().index) == list(range(len(model.history_)))


def test_auto_says_why(caplog, monkeypatch):
    X, y = digits()
    here = Machine(latency=1e-3, products=5e9, grams=2e10, driver=3e10, bandwidth=1e10)
    monkeypatch.setattr(auto, "measure", lambda problem, first_pass: here)  # what is measured varies with the machine
    with caplog.at_level("INFO", "dask_newton"):
        model = LogisticRegression().fit(X, y)
    assert "solver='auto' chose 'newton-cholesky'" in caplog.text
    assert model.solver_.name == "newton-cholesky"
    assert LogisticRegression(l1_ratio=1).fit(*cancer()).solver_.name == "newton-cholesky"
    assert LogisticRegression(l1_ratio=1, tol=1.0).fit(np.tile(X, (1, 4)), y).solver_.name == "prox-newton"


def test_solver_objects_and_options_are_the_same():
    X, y = digits()
    by_name = LogisticRegression(solver="newton-cg", solver_options={"preconditioner": "gram"}).fit(X, y)
    by_object = LogisticRegression(solver=NewtonCG(preconditioner="gram"), random_state=0).fit(X, y)
    np.testing.assert_array_equal(by_name.coef_, by_object.coef_)


def test_random_state_seeds_the_samples():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6000, 4))  # so many rows that the first sample is not all of them
    y = X[:, 0] + rng.logistic(size=6000) > 0

    def fit(seed):
        return LogisticRegression(solver="sampled-newton", random_state=seed).fit(X, y).coef_

    np.testing.assert_array_equal(fit(0), fit(0))
    assert not np.array_equal(fit(0), fit(1))


def test_scikit_learn_tools():
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.01, 1.0]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.96
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.best_estimator_.predict(X))


def test_verbose_shows_every_iteration(capsys):
    X, y = digits()
    model = LogisticRegression(solver="newton-cg", verbose=1).fit(X, y)
    shown = capsys.readouterr().err
    assert shown.count("objective") == model.n_iter_[0] + 1
