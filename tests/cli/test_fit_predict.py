"""``fit``, ``predict`` and ``info``: the numbers of the library, on disk and on the screen."""

import csv
import json

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from dask_newton import ElasticNet, LogisticRegression, MLPClassifier, PoissonRegressor, Ridge, TweedieRegressor
from dask_newton.cli import main
from dask_newton.data import dataset_info, open_dataset, save_dataset, save_splits
from dask_newton.models import load_model
from dask_newton.solvers import SOLVERS

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
ORDER = np.random.default_rng(0).permutation(len(Y))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Iris in random order, labels as strings, 120 rows in four blocks and 30 for the test."""
    rows, labels = X[ORDER], NAMES[Y[ORDER]]
    splits = {"train": (rows[:120], labels[:120]), "test": (rows[120:], labels[120:])}
    path = tmp_path_factory.mktemp("data") / "iris.zarr"
    return save_splits(path, splits, feature_names=["a", "b", "c", "d"], chunk_rows=30, attrs={"licence": "BSD"})


def run(*args, status=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == status, result.output
    return result.output


def test_fit_saves_the_model_that_the_estimator_finds(tmp_path, data):
    output = run(
        "fit", data / "train", "--test", data / "test", "--solver", "newton-admm", "--option", "rho=0.5", "--option",
        "penalty=fixed", "--C", 0.5, "--l1-ratio", 0.3, "--tol", 1e-5, "--max-iter", 500, "--class-weight", "balanced",
        "--out", tmp_path / "model.zarr",
    )  # fmt: skip
    options = {"rho": 0.5, "penalty": "fixed"}
    expected = LogisticRegression(
        solver="newton-admm", solver_options=options, C=0.5, l1_ratio=0.3, tol=1e-5, max_iter=500,
        class_weight="balanced",
    ).fit(data / "train")  # fmt: skip
    model = load_model(tmp_path / "model.zarr")
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    np.testing.assert_array_equal(model.intercept_, expected.intercept_)
    assert model.get_params() == expected.get_params()
    shown = " ".join(output.split())
    assert f"solver newton-admm status converged after {expected.n_iter_[0]} iterations" in shown
    assert f"communication rounds {expected.n_rounds_} " in shown
    assert f"accuracy (training) {expected.score(data / 'train'):.4f} " in shown
    assert f"accuracy (test) {expected.score(data / 'test'):.4f} " in shown


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(120, 3))
    targets = rng.poisson(np.exp(rows @ [0.3, -0.2, 0.1] + 1)).astype(float)
    return save_dataset(tmp_path_factory.mktemp("data") / "counts.zarr", rows, targets, chunk_rows=50)


@pytest.mark.parametrize(
    ("options", "expected", "score"),
    [
        (("--model", "poisson", "--alpha", 0.01), PoissonRegressor(alpha=0.01), "D2"),
        (("--model", "tweedie", "--power", 1.5, "--l1-ratio", 1), TweedieRegressor(power=1.5, l1_ratio=1.0), "D2"),
        (("--model", "ridge", "--no-intercept"), Ridge(fit_intercept=False), "R2"),
        (("--model", "elastic-net", "--alpha", 0.1), ElasticNet(alpha=0.1), "R2"),
    ],
)
def test_regressors(tmp_path, counts, options, expected, score):
    shown = " ".join(run("fit", counts, *options, "--test", counts, "--out", tmp_path / "model.zarr").split())
    expected.fit(counts)
    model = load_model(tmp_path / "model.zarr")
    assert type(model) is type(expected) and model.get_params() == expected.get_params()
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    assert f"{score} (test) {expected.score(counts):.4f}" in shown
    output = run("predict", tmp_path / "model.zarr", counts, "--out", tmp_path / "predicted.zarr")
    assert f"{score}: {expected.score(counts):.4f}" in output
    np.testing.assert_array_equal(
        xr.open_zarr(tmp_path / "predicted.zarr")["prediction"], expected.predict(open_dataset(counts).X.compute())
    )
    assert "has no classes" in run(
        "predict", tmp_path / "model.zarr", counts, "--out", tmp_path / "other.zarr", "--proba", status=1
    )


def test_a_network_is_fitted_shown_and_used(tmp_path, data):
    output = run(
        "fit", data / "train", "--model", "mlp", "--hidden", "4,3", "--activation", "tanh", "--solver", "adam",
        "--option", "learning_rate=0.1", "--batch-size", 40, "--alpha", 0.01, "--max-iter", 4, "--tol", 0, "--seed", 1,
        "--out", tmp_path / "model.zarr", status=3,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning):
        expected = MLPClassifier(
            (4, 3),
            "tanh",
            solver="adam",
            solver_options={"learning_rate": 0.1},
            batch_size=40,
            alpha=0.01,
            max_iter=4,
            tol=0,
            random_state=1,
        ).fit(data / "train")
    model = load_model(tmp_path / "model.zarr")
    assert model.get_params() == expected.get_params()
    for a, b in zip(model.coefs_, expected.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert f"accuracy (training) {expected.score(data / 'train'):.4f}" in " ".join(output.split())
    shown = " ".join(run("info", tmp_path / "model.zarr").split())
    assert "estimator MLPClassifier" in shown and "layers 4 x 4 x 3 x 3" in shown and "37 of 37" in shown
    run("predict", tmp_path / "model.zarr", data / "test", "--out", tmp_path / "predicted.zarr", "--proba")
    predicted = xr.open_zarr(tmp_path / "predicted.zarr")
    np.testing.assert_array_equal(predicted["probability"], expected.predict_proba(data / "test").compute())


def test_a_network_for_numbers(tmp_path, counts):
    output = run(
        "fit",
        counts,
        "--model",
        "mlp-regressor",
        "--hidden",
        "",
        "--alpha",
        0,
        "--tol",
        1e-7,
        "--early-stopping",
        "--validation-fraction",
        0.3,
        "--patience",
        3,
        "--seed",
        0,
        "--out",
        tmp_path / "model.zarr",
    )
    model = load_model(tmp_path / "model.zarr")
    parameters = (model.hidden_layer_sizes, model.early_stopping, model.validation_fraction, model.n_iter_no_change)
    assert parameters == ((), True, 0.3, 3)
    assert f"R2 (training) {model.score(counts):.4f}" in " ".join(output.split())
    assert f"solver {model.solver_.name}, as " in " ".join(output.split())
    assert f"iterations {model.n_iter_} " in " ".join(run("info", tmp_path / "model.zarr").split())


def test_options_of_another_model_are_refused(counts):
    assert "The model 'ridge' has no option --C, --power" in run(
        "fit", counts, "--model", "ridge", "--C", 2, "--power", 1, status=1
    )


def test_auto_says_what_it_chose_and_why(data):
    output = run("fit", data / "train")
    assert "solver newton-cholesky, as the Hessian has 15 rows" in " ".join(output.split())


@pytest.mark.parametrize("options", [[], ["--l1-ratio", 0.5, "--C", 0.1, "--class-weight", "balanced"]])
def test_explain_shows_the_table_and_fits_nothing(data, options):
    output = run("explain", data / "train", *options)
    shown = " ".join(output.split())
    l1 = bool(options)
    assert f"Softmax(n_classes=3, parametrization='symmetric') + {'ElasticNet' if l1 else 'L2'}" in shown
    assert "data 120 rows, coefficients 5 x 3" in shown and "blocks 4 blocks in 1 process" in shown
    assert "an empty pass" in shown and "solver iterations passes rounds MB seconds remark" in shown
    assert "solver='auto' chooses 'newton-cholesky': the Hessian has 15 rows" in shown
    for name in SOLVERS:
        assert f"\n{name} " in output
    assert ("'lbfgs' needs a differentiable penalty" in shown) == l1
    assert "--power" in run("explain", data / "train", "--power", 1, status=1)


def test_no_intercept_and_no_penalty(tmp_path, data):
    save_dataset(tmp_path / "noisy.zarr", X, (Y + (np.arange(150) % 5 == 0)) % 3, classes="auto")
    run("fit", tmp_path / "noisy.zarr", "--no-intercept", "--C", "inf", "--out", tmp_path / "model.zarr")
    model = load_model(tmp_path / "model.zarr")
    assert not model.intercept_.any()
    assert model.C == np.inf
    assert model.converged_


def test_history_and_plot(tmp_path, data):
    history, plot = tmp_path / "history.csv", tmp_path / "convergence.png"
    output = run("fit", data / "train", "--history", history, "--plot", plot, "--quiet")
    assert output == ""
    expected = LogisticRegression().fit(data / "train").history_
    with open(history, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["objective"]) for row in rows] == [record["objective"] for record in expected]
    assert [int(row["rounds"]) for row in rows] == [record["rounds"] for record in expected]
    assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["convergence.png", "history.csv"]


def test_a_fit_that_does_not_converge_saves_and_exits_with_3(tmp_path, data):
    output = run("fit", data / "train", "--max-iter", 2, "--out", tmp_path / "model.zarr", status=3)
    assert "Warning: newton-cholesky stopped without converging (max_iter) after 2 iterations" in output
    assert "max_iter after 2 iterations" in output
    assert load_model(tmp_path / "model.zarr").n_iter_[0] == 2


@pytest.mark.parametrize("budget", [("--max-rounds", 4), ("--max-bytes", 5e3), ("--max-seconds", 0)])
def test_a_fit_that_spends_a_budget_says_which(data, budget):
    name = budget[0].strip("-").replace("-", "_")
    output = run("fit", data / "train", "--solver", "lbfgs", *budget, status=3)
    assert f"Warning: lbfgs stopped without converging ({name}) after " in output
    assert f"raise {name}" in " ".join(output.split())


def test_verbose_logs_every_iteration(data):
    output = run("fit", data / "train", "--verbose")
    assert "iteration   1   objective" in output


def test_overwrite(tmp_path, data):
    out = tmp_path / "model.zarr"
    run("fit", data / "train", "--out", out, "--C", 1)
    run("fit", data / "train", "--out", out, "--C", 2, status=1)
    assert load_model(out).C == 1
    run("fit", data / "train", "--out", out, "--C", 2, "--overwrite")
    assert load_model(out).C == 2


@pytest.mark.smoke
def test_predict_writes_what_predict_returns(tmp_path, data):
    run("fit", data / "train", "--out", tmp_path / "model.zarr", "--quiet")
    model = load_model(tmp_path / "model.zarr")
    out = tmp_path / "predictions.zarr"
    output = run("predict", tmp_path / "model.zarr", data / "train", "--out", out, "--proba")
    train = open_dataset(data / "train")
    with xr.open_zarr(out) as predictions:
        assert predictions["prediction"].dims == ("sample",)
        assert predictions["probability"].dims == ("sample", "class")
        assert predictions["class"].values.tolist() == NAMES.tolist()
        assert predictions["prediction"].values.tolist() == model.predict(train).compute().tolist()
        np.testing.assert_array_equal(predictions["probability"], model.predict_proba(train).compute())
    assert "Wrote 120 predictions" in output
    assert f"Accuracy: {model.score(data / 'train'):.4f}" in output


def test_predict_without_labels_and_with_weights(tmp_path):
    weight = np.where(np.arange(150) % 2, 3.0, 0.0)
    save_dataset(tmp_path / "plain.zarr", X, chunk_rows=40)
    save_dataset(tmp_path / "weighted.zarr", X, Y, sample_weight=weight, classes="auto", chunk_rows=40)
    run("fit", tmp_path / "weighted.zarr", "--out", tmp_path / "model.zarr")
    model = load_model(tmp_path / "model.zarr")
    assert "Accuracy" not in run("predict", tmp_path / "model.zarr", tmp_path / "plain.zarr", "--out", tmp_path / "p")
    output = run("predict", tmp_path / "model.zarr", tmp_path / "weighted.zarr", "--out", tmp_path / "w")
    assert f"Accuracy: {model.score(X, Y, weight):.4f}" in output
    with xr.open_zarr(tmp_path / "p") as predictions:
        assert list(predictions) == ["prediction"]
        assert predictions["prediction"].dtype == np.int64
        np.testing.assert_array_equal(predictions["prediction"], model.predict(X))


@pytest.mark.cluster
def test_fit_and_predict_on_the_cluster_of_an_address(tmp_path, data, session_client):
    run("fit", data / "train", "--out", tmp_path / "here.zarr")
    there = "--scheduler", session_client.cluster.scheduler_address
    run("fit", data / "train", "--out", tmp_path / "there.zarr", *there)
    run("predict", tmp_path / "there.zarr", data / "test", "--out", tmp_path / "predictions.zarr", *there)
    here, there = load_model(tmp_path / "here.zarr"), load_model(tmp_path / "there.zarr")
    # The sums are the same; the threads of the BLAS may differ.
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-10, atol=1e-12)
    expected = here.predict(open_dataset(data / "test")).compute()
    with xr.open_zarr(tmp_path / "predictions.zarr") as predictions:
        assert predictions["prediction"].values.tolist() == expected.tolist()


def test_info_of_a_data_set(data):
    output = run("info", data)
    assert "train/X 120 x 4 float64 30 x 4 4 0.00384" in " ".join(output.split())
    assert "classes test setosa (8), versicolor (12), virginica (10)" in " ".join(output.split())
    assert json.loads(run("info", data, "--json")) == json.loads(json.dumps(dataset_info(data)))


def test_info_of_a_model(tmp_path, data):
    run("fit", data / "train", "--C", 0.5, "--l1-ratio", 1, "--out", tmp_path / "model.zarr")
    model = load_model(tmp_path / "model.zarr")
    found = json.loads(run("info", tmp_path / "model.zarr", "--json"))
    assert found["estimator"] == "LogisticRegression"
    assert found["classes"] == NAMES.tolist()
    assert found["non-zero coefficients"] == f"{np.count_nonzero(model.coef_)} of 12"
    assert found["objective"] == model.result_.value
    assert found["rounds"] == model.n_rounds_
    output = run("info", tmp_path / "model.zarr")
    assert "C=0.5, l1_ratio=1.0" in output
    assert "setosa, versicolor, virginica" in output


def test_fit_goes_on_from_a_checkpoint(tmp_path, data):
    path, out = tmp_path / "fit.zarr", tmp_path / "model.zarr"
    command = ("fit", data / "train", "--checkpoint", path, "--solver", "newton-cg", "--tol", "1e-9", "--out", out)
    run(*command, "--max-iter", "2", status=3)
    found = json.loads(run("info", path, "--json"))
    assert found["iterations"] == 2
    assert found["blocks"] == 4
    assert found["checkpoint of"] == "newton-cg"
    assert "L2(" in run("info", path)
    run(*command, "--max-iter", "50", "--overwrite")
    model = load_model(out)
    assert model.converged_
    assert [record["iteration"] for record in model.history_] == list(range(model.n_iter_[0] + 1))
    dataset = open_dataset(data / "train")
    expected = LogisticRegression(tol=1e-9).fit(dataset.X, dataset.y)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-6)
    assert "is a model, not a checkpoint" in run("fit", data / "train", "--checkpoint", out, status=1)
    assert "holds the input" in run("fit", data / "train", "--checkpoint", path, "--out", path, status=1)
    assert "saved with solver newton-cg, and now it is lbfgs" in run(
        "fit", data / "train", "--checkpoint", path, "--solver", "lbfgs", status=1
    )
