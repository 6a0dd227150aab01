"""A model that was saved is the model that is loaded, and nothing else is ever loaded."""

import json
import re
import shutil
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import sklearn.linear_model
import xarray as xr
import zarr
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from dask_newton import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    LossRegressor,
    MLPClassifier,
    MLPRegressor,
    Ridge,
    TweedieRegressor,
)
from dask_newton.data import save_dataset
from dask_newton.losses import CustomLoss
from dask_newton.models import ModelError, is_model, load_model, save_model
from dask_newton.penalties import L1
from dask_newton.solvers import GIANT, GNCG, NewtonADMM
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.storage import registry
from dask_newton.storage.registry import stored

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
TWO = Y < 2


def same(a, b):
    """Equal with nan equal to nan, which == is not."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    return a == b


CASES = {
    "three classes": ({}, X, Y),
    "strings": ({"C": 0.1}, X, NAMES[Y]),
    "objects": ({}, X, NAMES[Y].astype(object)),
    "two classes, booleans": ({"solver": "giant"}, X, Y > 0),
    "no intercept": ({"C": 1e3, "fit_intercept": False}, X[TWO], Y[TWO]),
    "feature names": ({}, pd.DataFrame(X, columns=["a", "b", "c", "é"]), Y),
    "float32": ({"tol": 1e-4}, X.astype("f4"), Y),
    "elastic net": ({"l1_ratio": 0.5, "solver": "newton-admm", "solver_options": {"rho": 2.0}}, X, Y),
    "weights by class": ({"class_weight": {0: 2.0, 2: 0.5}, "random_state": 7}, X, Y),
    "options that are objects": (
        {"solver": "giant", "solver_options": {"line_search": LineSearch(max_halvings=9), "cg_max_iter": 20}}, X, Y,
    ),
    "a solver that is an object": ({"solver": NewtonADMM(rho=0.5, polish_after=20)}, X, Y),
    "auto, with empty options": ({"solver": "auto", "solver_options": {}}, X, Y),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_round_trip(tmp_path, case):
    parameters, rows, labels = CASES[case]
    model = LogisticRegression(**parameters).fit(rows, labels)
    path = save_model(model, tmp_path / "model.zarr")
    loaded = load_model(path)

    assert type(loaded) is LogisticRegression
    assert loaded.get_params() == model.get_params()
    for name in ("coef_", "intercept_", "classes_", "n_iter_"):
        before, after = getattr(model, name), getattr(loaded, name)
        np.testing.assert_array_equal(after, before)
        assert after.dtype == before.dtype
    for name in ("converged_", "n_passes_", "n_rounds_", "n_features_in_", "solver_"):
        assert getattr(loaded, name) == getattr(model, name), name
    assert list(getattr(loaded, "feature_names_in_", [])) == list(getattr(model, "feature_names_in_", []))
    np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))
    np.testing.assert_array_equal(loaded.predict_proba(rows), model.predict_proba(rows))

    assert loaded.history_.solver == model.history_.solver
    assert len(loaded.history_) == len(model.history_) > 1
    assert all(same(dict(a), dict(b)) for a, b in zip(loaded.history_, model.history_, strict=True))
    for name in ("value", "gradient_norm", "status", "n_iter", "converged"):
        assert getattr(loaded.result_, name) == getattr(model.result_, name), name
    np.testing.assert_allclose(loaded.result_.W[:-1], model.result_.W[:-1], rtol=0)
    assert loaded.result_.W.shape == model.result_.W.shape


REGRESSORS = {
    "ridge": (Ridge(alpha=0.1), Y.astype(float)),
    "several targets": (LinearRegression(), np.column_stack([Y, X[:, 0]])),
    "weights for each coefficient": (Lasso(regularizer=L1(0.01)), Y.astype(float)),
    "tweedie": (TweedieRegressor(power=1.5, alpha=0.01), Y.astype(float)),
}


@pytest.mark.smoke
@pytest.mark.parametrize("case", REGRESSORS)
def test_regressors(tmp_path, case):
    model, targets = REGRESSORS[case]
    model.fit(X, targets)
    loaded = load_model(save_model(model, tmp_path / "model.zarr"))
    assert type(loaded) is type(model)
    assert repr(loaded.get_params()) == repr(model.get_params())
    assert loaded.n_iter_ == model.n_iter_ and type(loaded.n_iter_) is int
    for name in ("coef_", "intercept_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
        assert np.shape(getattr(loaded, name)) == np.shape(getattr(model, name))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


NETWORKS = {
    "classes": (MLPClassifier((3, 2), solver="adam", batch_size=50, max_iter=2, tol=0, random_state=0), NAMES[Y]),
    "two classes, sgd": (MLPClassifier(2, "tanh", solver="sgd", max_iter=2, random_state=0), Y > 0),
    "numbers, early stopping": (
        MLPRegressor(
            "poisson", np.array([3]), solver=GNCG(damping=2.0), early_stopping=True, max_iter=2, random_state=0
        ),
        Y,
    ),
    "several targets": (MLPRegressor(hidden_layer_sizes=[], solver="lbfgs", max_iter=2), np.column_stack([Y, X[:, 0]])),
}


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_networks(tmp_path, case, dtype):
    model, targets = NETWORKS[case]
    rows = pd.DataFrame(X, columns=["a", "b", "c", "é"]).astype(dtype)
    model.fit(rows, targets)
    path = save_model(model, tmp_path / "model.zarr")
    loaded = load_model(path)
    assert repr(loaded.get_params()) == repr(model.get_params())
    before, after = dict(vars(model)), dict(vars(loaded))
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(before.pop(name), after.pop(name), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype == dtype
    parameters = model.get_params()
    for name in [name for name in before if name.endswith("_") and name not in parameters and name != "result_"]:
        if name in ("classes_", "feature_names_in_"):
            np.testing.assert_array_equal(after[name], before[name])
        elif name != "history_":
            assert after[name] == before[name] and type(after[name]) is type(before[name]), name
    assert loaded.result_.status == model.result_.status and not loaded.result_.convex
    np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))
    with xr.open_zarr(path) as saved:
        assert saved["coef_1"].dims[0] == "feature"
        assert saved[f"coef_{len(model.coefs_)}"].dims[1] == ("class" if case == "classes" else "output")


def test_infinite_c_and_a_fit_that_did_not_converge(tmp_path):
    with pytest.warns(ConvergenceWarning):
        model = LogisticRegression(C=np.inf, max_iter=2).fit(X, Y)
    loaded = load_model(save_model(model, tmp_path / "model.zarr"))
    assert loaded.C == np.inf
    assert not loaded.converged_
    assert loaded.result_.status == "max_iter"
    json.loads((tmp_path / "model.zarr/zarr.json").read_text(), parse_constant=pytest.fail)  # no Infinity in it


def test_warm_start_goes_on_from_a_loaded_model(tmp_path):
    model = LogisticRegression(tol=1e-8, warm_start=True).fit(X, Y)
    loaded = load_model(save_model(model, tmp_path / "model.zarr")).fit(X, Y)
    assert loaded.n_iter_[0] == 0


def test_xarray_opens_it_without_a_warning(tmp_path):
    model = LogisticRegression().fit(X, NAMES[Y])
    path = save_model(model, tmp_path / "model.zarr")
    with xr.open_zarr(path) as saved:
        assert saved["coef"].dims == ("class", "feature")
        assert saved["class"].values.tolist() == NAMES.tolist()
        np.testing.assert_array_equal(saved["coef"], model.coef_)
    with xr.open_zarr(path, group="history") as history:
        assert history["objective"].dims == ("iteration",)
        assert float(history["objective"][-1]) == model.history_[-1]["objective"]


def test_is_model(tmp_path):
    save_model(LogisticRegression().fit(X, Y), tmp_path / "model.zarr")
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    assert is_model(tmp_path / "model.zarr")
    assert not is_model(tmp_path / "other.zarr")
    assert not is_model(tmp_path)
    assert not is_model(tmp_path / "nowhere")


@stored("loss/tests.log-cosh")
@dataclass(frozen=True)
class LogCosh(CustomLoss):
    """A loss that another package registers."""

    scale: float = 1.0
    convex = True

    def fun(self, y, z):
        r = (z - y) / self.scale
        return np.logaddexp(r, -r) - np.log(2)

    def grad(self, y, z):
        return np.tanh((z - y) / self.scale) / self.scale

    def hessp(self, y, z, v):
        return v / np.cosh((z - y) / self.scale) ** 2 / self.scale**2


def test_registered_losses_of_other_packages(tmp_path, monkeypatch):
    model = LossRegressor(LogCosh(2.0)).fit(X, Y)
    path = save_model(model, tmp_path / "model.zarr")
    loaded = load_model(path)
    assert loaded.loss == LogCosh(2.0)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    monkeypatch.delitem(registry._CLASSES, "loss/tests.log-cosh")  # as where the package was not imported
    with pytest.raises(ModelError, match=r"has no loss 'tests.log-cosh'. Update dask_newton, or import the package"):
        load_model(path)


# What cannot be saved


class MyGiant(GIANT):
    """A solver of the user's own."""


def test_estimators_that_cannot_be_saved(tmp_path):
    path = tmp_path / "model.zarr"
    with pytest.raises(NotFittedError):
        save_model(LogisticRegression(), path)
    with pytest.raises(
        ModelError, match="LinearRegression cannot be saved; estimators that can be saved are .*Logistic"
    ):
        save_model(sklearn.linear_model.LinearRegression().fit(X, Y), path)
    with pytest.raises(ModelError, match="The parameter random_state cannot be saved: RandomState is neither a number"):
        save_model(LogisticRegression(random_state=np.random.RandomState(0)).fit(X, Y), path)
    with pytest.raises(ModelError, match="The parameter solver cannot be saved: MyGiant is neither"):
        save_model(LogisticRegression(solver=MyGiant()).fit(X, Y), path)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_path_is_kept_unless_told(tmp_path):
    first, second = (LogisticRegression(C=C).fit(X, Y) for C in (1.0, 0.1))
    path = save_model(first, tmp_path / "model.zarr")
    with pytest.raises(FileExistsError, match="exists already"):
        save_model(second, path)
    assert load_model(path).C == 1.0
    save_model(second, path, overwrite=True)
    assert load_model(path).C == 0.1
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.zarr"]


def test_a_failure_while_writing_leaves_the_old_model(tmp_path, monkeypatch):
    model = LogisticRegression().fit(X, Y)
    path = save_model(model, tmp_path / "model.zarr")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dask_newton.models.group.write_history", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(LogisticRegression(C=0.1).fit(X, Y), path, overwrite=True)
    assert load_model(path).C == 1.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.zarr"]


# What is not loaded


def attribute(*keys, value):
    """Return what changes one entry of the attributes of a model."""

    def change(path):
        file = path / "zarr.json"
        metadata = json.loads(file.read_text())
        place = metadata["attributes"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        file.write_text(json.dumps(metadata))

    return change


def flip_a_byte(path):
    chunk = next(file for file in (path / "coef").rglob("*") if file.is_file() and file.name != "zarr.json")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 0xFF
    chunk.write_bytes(content)


def replace_coef(values):
    def change(path):
        shutil.rmtree(path / "coef")
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        group.create_array("coef", data=values)

    return change


DAMAGE = {
    "flipped byte": (flip_a_byte, "'coef'"),
    "missing chunk": (lambda path: shutil.rmtree(path / "coef" / "c"), "1 of the 1 chunks of 'coef'"),
    "missing array": (lambda path: shutil.rmtree(path / "intercept"), "'coef' and 'intercept'"),
    "missing history": (lambda path: shutil.rmtree(path / "history"), "history"),
    "missing column": (lambda path: shutil.rmtree(path / "history" / "rounds"), "no 'rounds'"),
    "no classes": (lambda path: shutil.rmtree(path / "class"), "classes are missing"),
    "no checksums": (replace_coef(np.ones((3, 4))), "no checksums"),
    "newer format": (attribute("dask_newton_model_format", value=3), "reads format 2; update dask_newton, or fit the"),
    "older format": (attribute("dask_newton_model_format", value=1), "reads format 2; fit the model again and save it"),
    "foreign class": (attribute("estimator", value="os.system"), "'os.system', which this version does not know"),
    "unknown parameter": (attribute("parameters", "gamma", value=1), "has the parameter 'gamma'"),
    "parameter out of range": (attribute("parameters", "C", value=-1), "'C' parameter of LogisticRegression"),
    "unknown solver": (attribute("solver", "record", value="solver/simplex"), "no solver 'simplex'. Update"),
    "unknown option": (attribute("solver", "fields", value={"step": 1}), "has no field 'step'"),
    "missing attribute": (attribute("fitted", value={}), "'n_iter' is missing"),
    "attribute of another kind": (attribute("parameters", value=3), "damaged or was edited"),
    "odd value": (attribute("parameters", "C", value={"pickle": "gASV"}), "unknown kind 'pickle'"),
    "status": (attribute("fitted", "status", value="fine"), "'fine' is not a valid Status"),
    "metadata": (lambda path: (path / "zarr.json").write_text("{"), "cannot be read"),
}


NETWORK_DAMAGE = {
    "missing layer": (lambda path: shutil.rmtree(path / "intercept_2"), "needs the arrays 'coef_2' and 'intercept_2'"),
    "layers that do not fit": (
        lambda path: (shutil.rmtree(path / "coef_2"), shutil.copytree(path / "coef_1", path / "coef_2")),
        "coef_2 is float64 of shape (4, 2), intercept_2 of shape (3,)",
    ),
    "number of layers": (attribute("n_layers", value="two"), "a network has 'two' layers"),
    "fewer layers": (attribute("n_layers", value=1), "3 classes do not fit 2 outputs"),
    "activation": (attribute("parameters", "activation", value="sine"), "'activation' parameter of MLPClassifier"),
}


@pytest.mark.parametrize("damage", NETWORK_DAMAGE)
def test_damage_of_a_network_is_a_sentence(tmp_path, damage):
    path = save_model(MLPClassifier(2, solver="lbfgs", tol=1e-2, random_state=0).fit(X, Y), tmp_path / "model.zarr")
    change, message = NETWORK_DAMAGE[damage]
    change(path)
    with pytest.raises(ModelError, match=re.escape(message)):
        load_model(path)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return save_model(LogisticRegression().fit(X, Y), tmp_path_factory.mktemp("models") / "model.zarr")


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_a_sentence(tmp_path, model_path, damage):
    path = tmp_path / "model.zarr"
    shutil.copytree(model_path, path)
    change, message = DAMAGE[damage]
    change(path)
    with pytest.raises(ModelError, match=re.escape(message)):
        load_model(path)


def test_what_is_no_model(tmp_path):
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(FileNotFoundError, match="There is no model at"):
        load_model(tmp_path / "nowhere.zarr")
    with pytest.raises(ModelError, match="other.zarr is a Zarr group, but not a model"):
        load_model(tmp_path / "other.zarr")
    save_dataset(tmp_path / "data.zarr", X, Y)
    with pytest.raises(ModelError, match=r"data.zarr is a data set, not a model. Write one with save_model"):
        load_model(tmp_path / "data.zarr")
    for path in (tmp_path, tmp_path / "model.pkl"):
        with warnings.catch_warnings(), pytest.raises(ModelError, match="is not a model, as it is not a Zarr group"):
            load_model(path)
