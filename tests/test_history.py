"""The history as a table, a data set and a picture."""

import builtins
import pickle

import matplotlib
import numpy as np
import pytest
from problems import known

from dask_newton import minimize
from dask_newton.history import History
from dask_newton.solvers import NewtonADMM, NewtonCG

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  the backend must be chosen first


@pytest.fixture(scope="module")
def run():
    problem = known()
    return problem, minimize(problem.objective, NewtonCG(), tol=1e-8).history


@pytest.fixture
def axes():
    figure, axes = pyplot.subplots()
    yield axes
    pyplot.close(figure)


def test_it_is_a_sequence_of_records(run):
    _, history = run
    assert len(history) == len(list(history)) == len(history.records)
    assert history[0]["iteration"] == 0
    assert history[-1] is history.records[-1]
    assert history.solver == "newton-cg"


def test_table(run):
    _, history = run
    table = history.to_pandas()
    assert table.index.name == "iteration"
    assert list(table.index) == list(range(len(history)))
    np.testing.assert_array_equal(table["objective"], [r["objective"] for r in history])
    np.testing.assert_array_equal(table["rounds"], [r["rounds"] for r in history])
    assert table["objective"].dtype == float


def test_table_of_a_solver_with_columns_of_its_own():
    history = minimize(known().objective, NewtonADMM(), tol=1e-6).history
    table = history.to_pandas()
    assert {"primal_residual", "dual_residual", "rho"} <= set(table.columns)
    assert table["rho"].iloc[1] > 0
    assert np.isnan(table["primal_residual"].iloc[0])


def test_data_set(run):
    _, history = run
    data = history.to_xarray()
    assert dict(data.sizes) == {"iteration": len(history)}
    assert data.attrs["solver"] == "newton-cg"
    np.testing.assert_array_equal(data["objective"].values, [r["objective"] for r in history])
    assert float(data["gradient_norm"].sel(iteration=0)) == history[0]["gradient_norm"]


def test_data_set_can_be_stored(run, tmp_path):
    import xarray

    data = run[1].to_xarray()
    data.to_zarr(tmp_path / "history.zarr", consolidated=False)
    back = xarray.open_zarr(tmp_path / "history.zarr", consolidated=False)
    np.testing.assert_array_equal(back["objective"].values, data["objective"].values)


@pytest.mark.parametrize("x", ["iteration", "rounds", "passes", "seconds", "bytes"])
def test_picture(run, x, axes):
    _, history = run
    assert history.plot(x, ax=axes) is axes
    (line,) = axes.lines
    across = [r["bytes_up"] + r["bytes_down"] if x == "bytes" else r[x] for r in history]
    np.testing.assert_array_equal(line.get_xdata(), across)
    np.testing.assert_array_equal(line.get_ydata(), [r["objective"] for r in history])
    assert line.get_label() == "newton-cg"
    assert axes.get_ylabel() == "objective"
    assert axes.get_xlabel() != ""


def test_picture_of_the_gap(run, axes):
    problem, history = run
    history.plot(optimum=problem.optimum, ax=axes, color="k", label="mine")
    (line,) = axes.lines
    assert axes.get_yscale() == "log"
    gaps = np.array([problem.gap(r["objective"]) for r in history])
    np.testing.assert_allclose(line.get_ydata(), np.maximum(gaps, 1e-16), rtol=1e-12)
    assert np.all(line.get_ydata() > 0)  # or a logarithmic axis would lose the end
    assert (line.get_label(), line.get_color()) == ("mine", "k")
    assert "gap" in axes.get_ylabel()


def test_pictures_of_two_runs_share_axes(run, axes):
    history = run[1]
    history.plot(ax=axes)
    history.plot(ax=axes, label="again")
    assert len(axes.lines) == 2


def test_picture_makes_axes_and_a_file(run, tmp_path):
    axes = run[1].plot()
    axes.figure.savefig(tmp_path / "history.png")
    pyplot.close(axes.figure)
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_unknown_objectives_are_left_out(axes):
    history = History(
        "s",
        [
            {"iteration": 0, "objective": 1.0, "rounds": 2},
            {"iteration": 1, "objective": float("nan"), "rounds": 4},
            {"iteration": 2, "objective": 0.5, "rounds": 6},
        ],
    )
    history.plot(ax=axes)
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [2, 6])


def test_unknown_axis_is_refused(run):
    with pytest.raises(ValueError, match="x='time' is not an axis of a history; choose one of iteration, rounds"):
        run[1].plot("time")


def test_without_matplotlib_the_message_says_what_to_install(run, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"dask-newton\[viz\]"):
        run[1].plot()


def test_it_can_be_pickled(run):
    back = pickle.loads(pickle.dumps(run[1]))
    assert repr(back.records) == repr(run[1].records)  # nan is not equal to itself
    assert back.solver == "newton-cg"
