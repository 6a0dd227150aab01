"""Estimators go on from checkpoints."""

import dask
import dask.array as da
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning

from dask_newton import (
    Checkpoint,
    CheckpointError,
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    PoissonRegressor,
    Ridge,
)
from dask_newton.solvers import Status

X, Y = load_breast_cancer(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
AGAIN = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def cut(array, n=150):
    return da.from_array(array, chunks=(n, *array.shape[1:]))


@AGAIN
@pytest.mark.smoke
def test_auto_goes_on_with_the_solver_it_chose_then(tmp_path):
    path = tmp_path / "fit.zarr"
    first = LogisticRegression(max_iter=2, tol=1e-10).fit(X, Y, checkpoint=path)
    assert hasattr(first, "explanation_")
    second = LogisticRegression(max_iter=50, tol=1e-10).fit(X, Y, checkpoint=path)
    assert not hasattr(second, "explanation_"), "nothing was measured, and nothing chosen"
    assert repr(second.solver_) == repr(first.solver_)
    assert second.converged_
    np.testing.assert_allclose(second.coef_, LogisticRegression(tol=1e-10).fit(X, Y).coef_, atol=1e-8)
    assert len(second.history_) == second.n_iter_[0] + 1 > 3


@AGAIN
@pytest.mark.parametrize("model", [Ridge(solver="lbfgs"), PoissonRegressor(solver="newton-cg")], ids=repr)
def test_regressions_go_on(tmp_path, model):
    A, b = load_diabetes(return_X_y=True)
    model.set_params(tol=1e-9, max_iter=3).fit(A, b, checkpoint=tmp_path / "fit.zarr")
    assert not model.converged_
    model.set_params(max_iter=300).fit(A, b, checkpoint=tmp_path / "fit.zarr")
    expected = type(model)(tol=1e-9, max_iter=300).fit(A, b).coef_
    assert model.converged_
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-4)


@AGAIN
def test_seeds_of_draws_stay(tmp_path):
    def fit(max_iter, **options):
        model = MLPClassifier((5,), solver="adam", batch_size=64, random_state=3, max_iter=max_iter, tol=0)
        return model.fit(cut(X), cut(Y), **options)

    fit(4, checkpoint=Checkpoint(tmp_path / "fit.zarr", seconds=0))
    whole, found = fit(9), fit(9, checkpoint=tmp_path / "fit.zarr")
    np.testing.assert_array_equal(found.coefs_[0], whole.coefs_[0])
    assert found.loss_curve_ == whole.loss_curve_


@AGAIN
def test_a_network_that_stopped_improving_stops_again(tmp_path):
    def fit(**options):
        model = MLPRegressor(hidden_layer_sizes=(3,), solver="gd", random_state=0, max_iter=500, tol=0.1)
        return model.set_params(n_iter_no_change=4).fit(X, X[:, 0], **options)

    whole = fit()
    assert whole.result_.status is Status.NO_CHANGE
    fit(checkpoint=tmp_path / "fit.zarr")
    again = fit(checkpoint=tmp_path / "fit.zarr")
    assert again.result_.status is Status.NO_CHANGE
    assert again.n_iter_ == whole.n_iter_ + 1, "not four more: what it waited for was remembered"


def test_early_stopping_is_refused(tmp_path):
    with pytest.raises(ValueError, match="early_stopping cannot be combined with checkpoint"):
        MLPClassifier(early_stopping=True).fit(X, Y, checkpoint=tmp_path / "fit.zarr")
    assert not (tmp_path / "fit.zarr").exists()


@pytest.mark.parametrize("model", [LogisticRegression(), Ridge(), PoissonRegressor(), MLPClassifier(), MLPRegressor()])
def test_a_wrong_checkpoint_costs_no_look_at_the_data(tmp_path, model):
    looked = []
    lazy = cut(X).map_blocks(lambda block: looked.append(1) or block, meta=np.empty((0, 0)))
    with pytest.raises(FileNotFoundError, match="does not exist"), dask.config.set(scheduler="sync"):
        model.fit(lazy, cut(Y), checkpoint=tmp_path / "nowhere" / "fit.zarr")
    assert not looked


@AGAIN
def test_other_data_and_other_settings_are_refused(tmp_path):
    path = tmp_path / "fit.zarr"
    model = LogisticRegression(solver="newton-cg", max_iter=2, tol=1e-9).fit(cut(X), cut(Y), checkpoint=path)
    for change, rows, message in (
        ({"C": 2.0}, (cut(X), cut(Y)), "saved with penalty"),
        ({"solver": "giant"}, (cut(X), cut(Y)), "saved with solver newton-cg, and now it is giant"),
        ({}, (cut(X, 200), cut(Y, 200)), "saved with weights 4 blocks"),
        ({}, (cut(X[:, ::-1]), cut(Y)), "X or y are not the same"),
    ):
        other = LogisticRegression(**{**model.get_params(), **change})
        with pytest.raises(CheckpointError, match=message):
            other.fit(*rows, checkpoint=path)


@AGAIN
@pytest.mark.cluster
def test_what_began_in_threads_goes_on_in_processes(tmp_path, cluster_client):
    A, b = load_digits(return_X_y=True)
    rows = cut(A / 16, 300), cut(b, 300)
    options = {"solver": "newton-admm", "solver_options": {"polish": False}, "tol": 0}
    with dask.config.set(scheduler="threads"):
        whole = LogisticRegression(max_iter=14, **options).fit(*rows)
        LogisticRegression(max_iter=7, **options).fit(*rows, checkpoint=tmp_path / "fit.zarr")
    found = LogisticRegression(max_iter=14, **options).fit(*rows, checkpoint=tmp_path / "fit.zarr")
    np.testing.assert_array_equal(found.coef_, whole.coef_)


def test_a_fit_that_ends_on_its_seconds_is_taken_up(tmp_path):
    model, n_iter = LogisticRegression(solver="newton-cg", max_seconds=1e-9), []
    for _ in range(3):
        with pytest.warns(ConvergenceWarning, match="max_seconds"):
            model.fit(cut(X), cut(Y), checkpoint=tmp_path / "fit.zarr")
        n_iter.append(model.n_iter_[0])
    assert n_iter == [0, 1, 2], "every fit that goes on did the one iteration that its seconds allow"
    model.set_params(max_seconds=None).fit(cut(X), cut(Y), checkpoint=tmp_path / "fit.zarr")
    assert model.converged_ and model.n_iter_[0] > 2
