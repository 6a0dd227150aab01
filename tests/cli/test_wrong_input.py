"""Wrong input ends with one sentence and a status that is not 0, and leaves nothing behind."""

import json
import os
import sys
import tempfile

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

import dask_newton.cli.common
from dask_newton.cli import main
from dask_newton.data import save_dataset


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with data that are good and data that are not; commands run inside it."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), np.arange(40) % 2
    save_dataset(tmp_path / "good.zarr", X, y, classes="auto", chunk_rows=10)
    save_dataset(tmp_path / "wide.zarr", rng.standard_normal((8, 5)), np.arange(8) % 2, classes="auto")
    save_dataset(tmp_path / "one-class.zarr", X, np.zeros(40, int), classes="auto")
    save_dataset(tmp_path / "numbers.zarr", X, X[:, 0])
    save_dataset(tmp_path / "unlabelled.zarr", X)
    save_dataset(tmp_path / "nan.zarr", np.where(X > 2, np.nan, X), y, classes="auto")
    save_dataset(tmp_path / "half.zarr", X, y, classes="auto", chunk_rows=10)
    metadata = tmp_path / "half.zarr/zarr.json"
    content = json.loads(metadata.read_text())
    content["attributes"]["complete"] = False
    metadata.write_text(json.dumps(content))
    save_dataset(tmp_path / "torn.zarr", X, y, classes="auto", chunk_rows=10)
    (tmp_path / "torn.zarr/X/c/2/0").unlink()
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    (tmp_path / "text.zarr").write_text("no Zarr")
    (tmp_path / "taken.csv").write_text("mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dask_newton.cli.common, "CONNECT_SECONDS", 1)
    assert run("fit", "good.zarr", "--out", "model.zarr").exit_code == 0
    return tmp_path


def run(*args):
    return CliRunner().invoke(main, list(args))


def files_below(path):
    return sorted((str(file), file.stat().st_mtime_ns) for file in path.rglob("*"))


OUT = "--out", "new.zarr"

# (arguments, status, what the sentence says)
CASES = {
    "missing path": (("fit", "nowhere.zarr", *OUT), 1, "There is no data set at nowhere.zarr."),
    "missing split": (("fit", "good.zarr/train", *OUT), 1, "There is no data set at good.zarr/train"),
    "not a Zarr group": (("fit", "text.zarr", *OUT), 1, "text.zarr"),
    "a folder": (("fit", ".", *OUT), 1, "not a Zarr group"),
    "a group without X": (("fit", "empty.zarr", *OUT), 1, "has no array 'X'"),
    "half-written": (("fit", "half.zarr", *OUT), 1, "half.zarr is half-written"),
    "a missing chunk": (("fit", "torn.zarr", *OUT), 1, "1 of the 4 chunks of 'X' in torn.zarr are missing"),
    "a model as data": (("fit", "model.zarr", *OUT), 1, "model.zarr is a model, not a data set"),
    "no labels": (("fit", "unlabelled.zarr", *OUT), 1, "unlabelled.zarr has no targets 'y'"),
    "labels with fractions": (("fit", "numbers.zarr", *OUT), 1, "Unknown label type"),
    "one class": (("fit", "one-class.zarr", *OUT), 1, "only one class"),
    "NaN": (("fit", "nan.zarr", *OUT), 1, ""),
    "test of other width": (
        ("fit", "good.zarr", "--test", "wide.zarr", *OUT), 1, "good.zarr has 3 features, but wide.zarr has 5",
    ),
    "test that is missing": (("fit", "good.zarr", "--test", "nowhere", *OUT), 1, "no data set at nowhere"),
    "out exists": (("fit", "good.zarr", "--out", "model.zarr"), 1, "choose another path or give --overwrite"),
    "out is no Zarr": (("fit", "good.zarr", "--out", "text.zarr", "--overwrite"), 1, "not a Zarr group"),
    "out is the data": (("fit", "good.zarr", "--out", "good.zarr", "--overwrite"), 1, "holds the input good.zarr"),
    "folder of out": (("fit", "good.zarr", "--out", "no/model.zarr"), 1, "does not exist; create it first"),
    "history exists": (("fit", "good.zarr", "--history", "taken.csv"), 1, "taken.csv exists already"),
    "history is a folder": (("fit", "good.zarr", "--history", "good.zarr"), 1, "good.zarr is a folder"),
    "folder of plot": (("fit", "good.zarr", "--plot", "no/plot.png"), 1, "does not exist; create it first"),
    "hidden layers": (("fit", "good.zarr", "--model", "mlp", "--hidden", "4,x", *OUT), 2, "such as 400,150"),
    "network without biases": (("fit", "good.zarr", "--model", "mlp", "--no-intercept", *OUT), 1, "no option --no-int"),
    "layers of no network": (("fit", "good.zarr", "--hidden", "4", *OUT), 1, "'logistic' has no option --hidden"),
    "activation": (("fit", "good.zarr", "--model", "mlp", "--activation", "sin", *OUT), 1, "'activation' parameter"),
    "solver of linear models": (("fit", "good.zarr", "--model", "mlp", "--solver", "giant", *OUT), 1, "linear models"),
    "explain a network": (("explain", "good.zarr", "--model", "mlp"), 1, "explain is for linear models"),
    "solver": (("fit", "good.zarr", "--solver", "newton-adm", *OUT), 1, "did you mean 'newton-admm'?"),
    "option": (
        ("fit", "good.zarr", "--solver", "newton-admm", "--option", "ro=1", *OUT), 1, "did you mean 'rho'?",
    ),
    "option of auto": (("fit", "good.zarr", "--option", "rho=1", *OUT), 1, "solver_options need a named solver"),
    "option without value": (("fit", "good.zarr", "--option", "rho", *OUT), 2, "not of the form KEY=VALUE"),
    "option that is a list": (("fit", "good.zarr", "--option", "rho=[1]", *OUT), 2, "give a number, a word"),
    "option that is no number": (
        ("fit", "good.zarr", "--solver", "newton-admm", "--option", "rho=big", *OUT), 1, "rho=big of 'newton-admm'",
    ),
    "option out of range": (
        ("fit", "good.zarr", "--solver", "newton-admm", "--option", "rho=-1", *OUT), 1, "must be a positive number",
    ),
    "option that is an object": (
        ("fit", "good.zarr", "--solver", "giant", "--option", "line_search=1", *OUT), 1, "can be set in Python only",
    ),
    "solver without l1": (
        ("fit", "good.zarr", "--solver", "newton-cg", "--l1-ratio", "1", *OUT), 1, "use solver=",
    ),
    "C": (("fit", "good.zarr", "--C", "-1", *OUT), 2, "-1.0 is not in the range x>0"),
    "C is nan": (("fit", "good.zarr", "--C", "nan", *OUT), 1, "The 'C' parameter"),
    "l1-ratio": (("fit", "good.zarr", "--l1-ratio", "2", *OUT), 2, "2.0 is not in the range 0<=x<=1"),
    "max-iter": (("fit", "good.zarr", "--max-iter", "-1", *OUT), 2, "-1 is not in the range x>=0"),
    "workers": (("fit", "good.zarr", "--workers", "0", *OUT), 2, "0 is not in the range x>=1"),
    "unknown flag": (("fit", "good.zarr", "--sovler", "giant"), 2, "--solver"),
    "unknown command": (("fot", "good.zarr"), 2, "No such command 'fot'"),
    "two places": (
        ("fit", "good.zarr", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1", *OUT), 2, "not both",
    ),
    "address of nobody": (
        ("fit", "good.zarr", "--scheduler", "tcp://127.0.0.1:1", *OUT), 1, "No Dask scheduler answers at 'tcp://127",
    ),
    "address that is none": (
        ("fit", "good.zarr", "--scheduler", "http://x", *OUT), 1, "No Dask scheduler answers at 'http://x'",
    ),
    "model is missing": (("predict", "nowhere", "good.zarr", *OUT), 1, "There is no model at nowhere."),
    "data as model": (("predict", "good.zarr", "good.zarr", *OUT), 1, "good.zarr is a data set, not a model"),
    "other width": (
        ("predict", "model.zarr", "wide.zarr", *OUT), 1,
        "wide.zarr has 5 features, but the model model.zarr was fitted with 3",
    ),
    "predict torn": (("predict", "model.zarr", "torn.zarr", *OUT), 1, "chunks of 'X' in torn.zarr are missing"),
    "predict onto the model": (
        ("predict", "model.zarr", "good.zarr", "--out", "model.zarr", "--overwrite"), 1, "holds the input model.zarr",
    ),
    "predict without out": (("predict", "model.zarr", "good.zarr"), 2, "Missing option '--out'"),
    "info of nothing": (("info", "nowhere"), 1, "There is no data set at nowhere."),
    "info of an empty group": (("info", "empty.zarr"), 1, "not a data set"),
    "demo into an old one": (("demo", "--keep", "old"), 1, "old already contains digits.zarr"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_wrong_input_is_one_sentence(folder):
    (folder / "old" / "digits.zarr").mkdir(parents=True)
    before = files_below(folder)
    for name, (args, status, sentence) in CASES.items():
        result = run(*args)
        assert result.exit_code == status, (name, result.output)
        assert sentence in result.output, (name, result.output)
        assert result.output.count("Error: ") == 1, (name, result.output)
        assert "Traceback" not in result.output, name
        assert files_below(folder) == before, name


def test_debug_shows_the_traceback():
    result = run("--debug", "fit", "nowhere.zarr")
    assert isinstance(result.exception, FileNotFoundError)


def test_a_mistake_of_the_library_is_no_sentence(folder, monkeypatch):
    def broken(*_, **__):
        raise TypeError("unsupported operand")

    monkeypatch.setattr("dask_newton.LogisticRegression.fit", broken)
    result = run("fit", "good.zarr", *OUT)
    assert isinstance(result.exception, TypeError)
    assert not os.path.exists("new.zarr")


def test_plot_without_matplotlib(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("fit", "good.zarr", "--plot", "plot.png")
    assert result.exit_code == 1
    assert "pip install 'dask-newton[viz]'" in result.output


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_that_may_not_be_written(folder):
    closed = tempfile.mkdtemp(dir=folder)
    os.chmod(closed, 0o500)
    result = run("fit", "good.zarr", "--history", f"{closed}/history.csv")
    assert result.exit_code == 1
    assert "may not be written to" in result.output


@pytest.mark.parametrize("command", [(), ("demo",), ("convert",), ("convert", "idx"), ("convert", "npy"), ("fit",),
                                     ("compare",), ("predict",), ("info",)])  # fmt: skip
def test_help_has_an_example(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert f"  dask-newton {' '.join(command)}".rstrip() in result.output.partition("Example:")[2]
