"""``compare``: the table of the library, its files, and its exit status."""

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_iris

from dask_newton import LogisticRegression, MLPClassifier, compare
from dask_newton.cli import main
from dask_newton.data import open_dataset, save_dataset, save_splits
from dask_newton.solvers import Adam, NewtonADMM

X, Y = load_iris(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(Y))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rows, labels = X[ORDER], Y[ORDER]
    splits = {"train": (rows[:120], labels[:120]), "test": (rows[120:], labels[120:])}
    return save_splits(tmp_path_factory.mktemp("data") / "iris.zarr", splits, classes="auto", chunk_rows=50)


def run(*args, status=0):
    result = CliRunner().invoke(main, ["compare", *map(str, args)])
    assert result.exit_code == status, result.output
    return result.output


def test_the_table_the_picture_and_the_files(tmp_path, data):
    table, picture, history = tmp_path / "runs.csv", tmp_path / "gaps.png", tmp_path / "history.csv"
    output = run(
        data / "train", "--test", data / "test", "--solvers", "giant, newton-admm", "--m", 3, "--C", 0.5,
        "--option", "newton-admm.polish=false", "--max-rounds", 40, "--csv", table, "--plot", picture, "--history",
        history,
    )  # fmt: skip
    expected = compare(
        LogisticRegression(C=0.5), data / "train", X_test=data / "test", n_blocks=3, max_rounds=40,
        solvers={"giant": "giant", "newton-admm": NewtonADMM(polish=False)},
    )  # fmt: skip
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    for row, wanted in zip(rows, expected.rows, strict=True):
        for name in ("solver", "status"):
            assert row[name] == wanted[name]
        for name in ("objective", "gap", "rounds", "bytes", "score"):
            assert float(row[name]) == wanted[name]
    assert [row["status"] for row in rows] == ["converged", "max_rounds"]
    with open(history, newline="") as file:
        assert len(list(csv.DictReader(file))) == len(expected.histories())
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    shown = " ".join(output.split())
    giant = expected["giant"]
    assert "LogisticRegression, 3 blocks" in shown
    assert f"giant converged {giant.value:.8g}" in shown
    assert f"(giant, certified: gradient {giant.gradient_norm:.1e})" in shown
    assert "newton-admm max_rounds" in shown
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["gaps.png", "history.csv", "runs.csv"]


def test_nothing_certified_is_status_3(data):
    output = run(data / "train", "--solvers", "giant,lbfgs", "--max-iter", 1, status=3)
    assert "NOT certified" in " ".join(output.split())
    assert run(data / "train", "--solvers", "giant", "--quiet") == ""


def test_all_leaves_out_what_cannot(data):
    shown = run(data / "train", "--l1-ratio", 1, "--max-iter", 1, "--m", 2, status=3)
    assert "prox-newton" in shown and "lbfgs" not in shown


def test_the_data_stay_where_they_are(data):
    before = open_dataset(data / "train").X.compute()
    run(data / "train", "--solvers", "newton-cholesky")
    np.testing.assert_array_equal(open_dataset(data / "train").X, before)


@pytest.mark.parametrize(
    ("args", "status", "sentence"),
    [
        (("--solvers", "gaint"), 1, "did you mean 'giant'?"),
        (("--solvers", ","), 2, "--solvers is empty"),
        (("--option", "rho=1"), 2, "begin with the name of a compared solver"),
        (("--solvers", "giant", "--option", "lbfgs.memory=3"), 2, "begin with the name of a compared solver"),
        (("--option", "giant.rho=1"), 1, "has no option 'rho'"),
        (("--option", "giant.cg_max_iter=many"), 1, "must be a number"),
        (("--model", "ridge", "--C", 1), 1, "see dask-newton compare --help"),
        (("--m", 0), 2, "0 is not in the range x>=1"),
        (("--m", 1000), 1, "40 rows cannot be cut into 1000 blocks"),
        (("--test", "nowhere.zarr"), 1, "There is no data set at nowhere.zarr"),
        (("--csv", "taken.csv"), 1, "taken.csv exists already"),
        (("--plot", "nowhere/gaps.png"), 1, "does not exist"),
        (("--csv", "good.zarr", "--overwrite"), 1, "holds the input good.zarr"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path, monkeypatch, args, status, sentence):
    save_dataset(tmp_path / "good.zarr", X[:40], Y[:40] * 0 + np.arange(40) % 2, classes="auto")
    (tmp_path / "taken.csv").write_text("mine")
    monkeypatch.chdir(tmp_path)
    output = run("good.zarr", *args, status=status)
    assert sentence in " ".join(output.split())
    assert output.count("Error: ") == 1 and "Traceback" not in output
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["good.zarr", "taken.csv"]
    assert (tmp_path / "taken.csv").read_text() == "mine"


def test_solvers_of_networks(tmp_path, data):
    table = tmp_path / "runs.csv"
    output = run(
        data / "train", "--model", "mlp", "--hidden", 3, "--activation", "tanh", "--solvers", "adam,lbfgs,gd",
        "--option", "adam.learning_rate=0.1", "--batch-size", 60, "--max-iter", 3, "--m", 2, "--seed", 0, "--csv",
        table, status=3,
    )  # fmt: skip
    expected = compare(
        MLPClassifier((3,), "tanh", max_iter=3, random_state=0, batch_size=60),
        data / "train",
        n_blocks=2,
        solvers={"adam": Adam(0.1, batch_size=60), "lbfgs": "lbfgs", "gd": "gd"},
    )
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["objective"]) for row in rows] == [run.value for run in expected.runs]
    assert [int(row["passes"]) for row in rows] == [run.passes for run in expected.runs] == [10, 4, 10]
    best = min(expected.runs, key=lambda run: run.value).label
    assert f"({best}, the best found; the objective is not convex)" in output
    assert "giant" in run(data / "train", "--model", "mlp", "--solvers", "giant,gaint", status=1)
