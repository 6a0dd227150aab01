"""``compare``: the runs are those of the estimator, every failure is a row, and the data are read once."""

import dataclasses
import logging
import math
import re

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from matplotlib.figure import Figure
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from dask_newton import (
    Comparison,
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    PoissonRegressor,
    compare,
    make_problem,
)
from dask_newton.comparison import Run
from dask_newton.containers.inputs import open_rows
from dask_newton.containers.placement import share_rows
from dask_newton.data import save_dataset
from dask_newton.losses import Softmax
from dask_newton.penalties import L1, L2
from dask_newton.solvers import GIANT, SOLVERS, NewtonCG, UnsupportedError

X, Y = load_iris(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(Y))
X, Y = ((X - X.mean(axis=0)) / X.std(axis=0))[ORDER], Y[ORDER]
TRAIN, TEST = slice(0, 120), slice(120, 150)
TIMES = ["seconds"]


@dataclasses.dataclass(frozen=True)
class Broken(NewtonCG):
    """Fails in its third step."""

    name = "broken"

    def step(self, problem, state):
        if state.value < 0.4:
            raise FloatingPointError("the floor is gone")
        return super().step(problem, state)


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(
        LogisticRegression(tol=1e-7), X[TRAIN], Y[TRAIN], n_blocks=4, X_test=X[TEST], y_test=Y[TEST],
        solvers={
            "exact": "newton-cholesky", "giant": "giant", "giant, 5 products": GIANT(cg_max_iter=5),
            "prox-newton": "prox-newton", "broken": Broken(), "short": GIANT(cg_max_iter=1),
        },
        max_iter=20,
    )  # fmt: skip


def chunked(*arrays, m=4):
    return [da.from_array(a, chunks=(-(-len(a) // m), *a.shape[1:])) for a in arrays]


def test_a_run_is_the_fit_of_the_estimator_on_these_blocks(found):
    for label, solver in (("exact", "newton-cholesky"), ("giant, 5 products", GIANT(cg_max_iter=5))):
        expected = LogisticRegression(tol=1e-7, solver=solver, max_iter=20).fit(*chunked(X[TRAIN], Y[TRAIN]))
        run = found[label]
        np.testing.assert_array_equal(run.model.coef_, expected.coef_)
        assert (run.value, run.gradient_norm) == (expected.result_.value, expected.result_.gradient_norm)
        assert (run.passes, run.rounds, run.n_iter) == (expected.n_passes_, expected.n_rounds_, expected.n_iter_[0])
        last = expected.history_[-1]
        assert run.bytes == last["bytes_up"] + last["bytes_down"]
        assert run.score == expected.score(X[TEST], Y[TEST])
        ours, theirs = run.history.to_pandas(), expected.history_.to_pandas()
        pd.testing.assert_frame_equal(ours.drop(columns=TIMES), theirs.drop(columns=TIMES))
        assert run.history.solver == label


def test_every_failure_is_a_row_with_its_reason(found):
    assert [run.status for run in found.runs] == ["converged", "converged", "converged", "refused", "error", "max_iter"]
    assert [run.certified for run in found.runs] == [True, True, True, False, False, False]
    (refused,), (error,) = (found[label].notes for label in ("prox-newton", "broken"))
    assert "use solver='sampled-newton'" in refused  # names a solver that can
    assert error == "the floor is gone"
    assert found["short"].notes == ()  # the status says it
    assert math.isnan(found["broken"].value) and not len(found["broken"].history)


def test_the_reference_is_the_best_certified_value(found):
    best = min(found["exact"].value, found["giant"].value, found["giant, 5 products"].value)
    assert found.optimum == best
    assert "certified: gradient" in found.source
    assert found.gap(found["short"].value) == (found["short"].value - best) / best
    short = dataclasses.replace(found["short"], value=best - 1e-3)
    lower = Comparison.of([found["exact"], short], LogisticRegression(), None)
    assert lower.optimum == found["exact"].value
    assert "short ended below that, without a certificate." in lower.remarks()
    alone = Comparison.of([found["short"]], LogisticRegression(), None)
    assert alone.optimum == found["short"].value and "NOT certified" in alone.source and not alone.certified
    given = Comparison.of([found["exact"]], LogisticRegression(), 0.0)
    assert given.gap(0.25) == 0.25 and given.source == "given"
    nothing = Comparison.of([Run.failed("a", "error", "why")], LogisticRegression(), None)
    assert math.isnan(nothing.optimum) and "a: why" in str(nothing)


def test_all_are_those_that_support_the_objective():
    problem = make_problem(X, Y.astype(float), loss=Softmax(3), penalty=L2(1 / 150))

    def can(name):
        try:
            SOLVERS[name]().check(problem)
        except UnsupportedError:
            return False
        return True

    able = {name for name in SOLVERS if can(name)}
    assert {"giant", "newton-admm", "newton-cg"} <= able and "prox-newton" not in able
    smooth = compare(LogisticRegression(), X, Y, max_iter=1)
    assert {run.label for run in smooth.runs} == able
    with pytest.raises(UnsupportedError, match="differentiable penalty"):
        compare(LogisticRegression(regularizer=L1(0.1)), X, Y, solvers=["newton-cg", "lbfgs"])


def test_wrong_names_cost_no_look_at_the_data():
    def unreadable():
        raise AssertionError("read")

    lazy = da.from_delayed(dask.delayed(unreadable)(), (150, 4), dtype=float)
    for solvers, words in (
        (["giant", "gaint"], "did you mean 'giant'"),
        ([], "No solvers to compare were given"),
        ([GIANT(), GIANT(cg_max_iter=5)], "Two solvers have the label 'giant'"),
        ("gaint", "did you mean 'giant'"),
    ):
        with pytest.raises(ValueError, match=words):
            compare(LogisticRegression(), lazy, Y, solvers=solvers)


def test_what_is_wrong_for_all_solvers_is_an_error():
    with pytest.raises(ValueError, match="NaN"):
        compare(LogisticRegression(), np.where(X > 2, np.nan, X), Y, solvers=["giant", "newton-cg"])
    with pytest.raises(ValueError, match="150 rows cannot be cut into 151 blocks"):
        compare(LogisticRegression(), X, Y, n_blocks=151)


@pytest.mark.parametrize("n_blocks", [3, None])
def test_the_data_are_read_once(n_blocks):
    reads = []

    def read(i):
        reads.append(i)
        return X[30 * i : 30 * (i + 1)]

    rows = da.concatenate([da.from_delayed(dask.delayed(read)(i), (30, 4), dtype=float) for i in range(5)])
    found = compare(LogisticRegression(), rows, Y, solvers=["giant", "newton-cg", "lbfgs"], n_blocks=n_blocks)
    assert sorted(reads) == [0, 1, 2, 3, 4]
    assert found.certified
    reads.clear()
    compare(LogisticRegression(persist=False), rows, Y, solvers=["giant"], n_blocks=n_blocks, max_iter=1)
    assert len(reads) > 5


def test_blocks_of_rows_in_memory_are_views_of_equal_size():
    weight = np.arange(150.0)
    shared = share_rows(open_rows(X, Y, weight), 4, "auto")
    assert shared.X.chunks == ((38, 38, 37, 37), (4,)) and shared.y.chunks == shared.sample_weight.chunks
    for part in dask.compute(*shared.X.to_delayed().ravel()):
        assert np.shares_memory(part, X)
    np.testing.assert_array_equal(shared.sample_weight, weight)
    whole = open_rows(X, Y)
    assert share_rows(whole, None, "auto") is whole


def test_containers_give_the_same_runs(tmp_path):
    name, weight, names = "newton-cholesky", 1.0 + np.arange(150) % 3, np.array(["a", "b", "c"])[Y]
    save_dataset(tmp_path / "iris.zarr", X, names, sample_weight=weight, feature_names=list("pqrs"), chunk_rows=20)
    expected = compare(LogisticRegression(), X, Y, sample_weight=weight, solvers=name)[name]
    for container, labels, given in (
        (scipy.sparse.csr_array(X), Y, weight),
        (pd.DataFrame(X, columns=list("pqrs")), pd.Series(names), weight),
        (tmp_path / "iris.zarr", None, None),
        (da.from_array(X, chunks=(40, 2)), da.from_array(Y, chunks=70), weight),
    ):
        run = compare(
            LogisticRegression(), container, labels, sample_weight=given, solvers=name, X_test=container,
            y_test=labels,
        )[name]  # fmt: skip
        assert run.rounds == expected.rounds
        assert run.bytes == expected.bytes
        np.testing.assert_allclose(run.model.coef_, expected.model.coef_, rtol=1e-9, atol=1e-12)
        assert run.score == expected.model.score(X, Y)


def test_the_prototype_is_left_alone_and_other_estimators_will_do():
    prototype = PoissonRegressor(alpha=0.1, solver="giant", solver_options={"cg_max_iter": 3})
    counts = np.random.default_rng(1).poisson(np.exp(0.3 * X[:, 0]))
    found = compare(prototype, X, counts, solvers=["newton-cg", "auto"], tol=1e-9, max_rounds=50)
    assert prototype.get_params()["tol"] == 1e-6 and not hasattr(prototype, "coef_")
    assert found["newton-cg"].model.tol == 1e-9 and found["newton-cg"].model.max_rounds == 50
    assert found["auto"].model.solver_.name == "newton-cholesky"
    assert found["auto"].value == pytest.approx(found["newton-cg"].value, rel=1e-12)
    short = compare(prototype, X, counts, solvers="newton-cg", max_rounds=4)
    assert short["newton-cg"].status == "max_rounds"


def test_warnings_are_collected():
    rows = np.concatenate([X[Y == 0], X[Y == 1]])  # separable, so that without a penalty there is no optimum
    separable = compare(LogisticRegression(C=np.inf), rows, np.arange(100) // 50, solvers=["newton-cg", "giant"])
    for run in separable.runs:
        assert run.status == "diverged"
        assert len(run.notes) == 1 and "Advice: the iterates diverge: the classes may be separable" in run.notes[0]
        assert str(separable).count(run.notes[0]) == 1


def test_the_start_may_be_given():
    optimum = LogisticRegression(tol=1e-9).fit(X, Y)
    start = {"coef_init": optimum.coef_, "intercept_init": optimum.intercept_}
    found = compare(LogisticRegression(), X, Y, solvers=["giant", "newton-cg"], fit_params=start)
    assert [run.n_iter for run in found.runs] == [0, 0] and found.certified


def test_table_text_html_and_file_hold_the_same(found, tmp_path):
    table = found.to_pandas()
    assert table.index.tolist() == [run.label for run in found.runs]
    assert table.loc["giant", "rounds"] == found["giant"].rounds
    assert table.loc["short", "gap"] == found.gap(found["short"].value)
    found.save(tmp_path / "runs.csv")
    read = pd.read_csv(tmp_path / "runs.csv", index_col="solver")
    np.testing.assert_allclose(read["objective"], table["objective"], rtol=1e-15)
    text = str(found)
    row = next(line for line in text.splitlines() if line.startswith("giant, 5 products "))
    run = found["giant, 5 products"]
    assert row.split()[3:5] == ["converged", f"{run.value:.8g}"] and row.split()[-1] == f"{run.score:.4f}"
    assert "test accuracy" in text and "broken: the floor is gone" in text
    named = dataclasses.replace(found, runs=(dataclasses.replace(run, label="a<b"),))
    assert "<td>a&lt;b</td><td>converged</td>" in re.sub(r">\s+<", "><", named._repr_html_())
    histories = found.histories()
    assert len(histories) == sum(len(run.history) for run in found.runs)
    assert histories.loc[("giant", 2), "objective"] == found["giant"].history[2]["objective"]


def test_reaching_a_gap(found):
    spent = found.reaching(1e-3)
    run = found["giant"]
    i = int(spent.loc["giant", "iteration"])
    assert found.gap(run.history[i]["objective"]) <= 1e-3 < found.gap(run.history[i - 1]["objective"])
    assert spent.loc["giant", "bytes"] == run.history[i]["bytes_up"] + run.history[i]["bytes_down"]
    assert spent.loc[["broken", "prox-newton"]].isna().all(axis=None)


def test_the_picture_has_the_gaps(found, tmp_path):
    axes = Figure().subplots(2, 2)
    found.plot(axes)
    drawn = [run for run in found.runs if len(run.history)]
    for ax, x in zip(axes.flat, ("rounds", "passes", "bytes", "seconds"), strict=True):
        assert len(ax.lines) == len(drawn)
        line = ax.lines[1]
        assert line.get_label() == "giant"
        records = found["giant"].history
        expected = [r["bytes_up"] + r["bytes_down"] if x == "bytes" else r[x] for r in records]
        assert list(line.get_xdata()) == expected
        gaps = [max(found.gap(r["objective"]), 1e-16) for r in records]
        np.testing.assert_allclose(line.get_ydata(), gaps, rtol=1e-12)
    failed = dataclasses.replace(found["short"], status="ls_fail")
    crossed = Figure().subplots(1, 4)
    dataclasses.replace(found, runs=(found["exact"], failed)).plot(crossed)
    assert [line.get_marker() for line in crossed[0].lines] == ["o", "s", "x"]
    with pytest.raises(ValueError, match="2 axes were given; the picture needs 4"):
        found.plot(Figure().subplots(1, 2))
    found.plot(tmp_path / "gaps.svg")
    assert (tmp_path / "gaps.svg").read_text().startswith("<?xml")


def test_the_log_says_whose_turn_it_is(caplog):
    with caplog.at_level(logging.INFO, "dask_newton.comparison.compare"):
        compare(LogisticRegression(), X, Y, solvers=["giant", "newton-cg"])
    assert [record.args for record in caplog.records if record.name.endswith("compare")] == [
        ("giant", 1, 2), ("newton-cg", 2, 2),
    ]  # fmt: skip


def test_solvers_of_networks_start_at_the_same_weights():
    network = MLPClassifier((3,), "tanh", alpha=1.0, batch_size=40)
    found = compare(
        network,
        X[TRAIN],
        Y[TRAIN],
        n_blocks=3,
        X_test=X[TEST],
        y_test=Y[TEST],
        max_iter=4,
        solvers=["gn-cg", "adam", "lbfgs", "giant"],
    )
    *runs, refused = found.runs
    assert refused.status == "refused" and "is for linear models" in refused.notes[0]
    assert len({run.history[0]["objective"] for run in runs}) == 1
    gn, adam, _ = runs
    assert (adam.model.solver_.batch_size, adam.history[-1]["inner_iterations"]) == (40, 3)
    expected = MLPClassifier((3,), "tanh", alpha=1.0, max_iter=4, solver="gn-cg", random_state=gn.model.random_state)
    with pytest.warns(ConvergenceWarning):
        expected.fit(*chunked(X[TRAIN], Y[TRAIN], m=3))
    assert gn.value == expected.loss_ and gn.score == expected.score(X[TEST], Y[TEST])
    assert found.optimum == min(run.value for run in runs) and "the objective is not convex" in found.source
    limit = adam.history[2]["objective"]
    assert found.reaching(objective=limit)["passes"]["adam"] == adam.history[2]["passes"]
    with pytest.raises(ValueError, match="either a gap or a value"):
        found.reaching()


def test_all_solvers_of_networks_that_support_the_objective():
    found = compare(MLPRegressor(hidden_layer_sizes=(2,), random_state=0), X, Y, n_blocks=2, max_iter=1)
    labels = {run.label for run in found.runs}
    assert {"gn-cg", "lbfgs", "newton-cg", "adam", "sgd"} <= labels and not {"giant", "newton-cholesky"} & labels
    assert not found.certified
    done = compare(MLPRegressor(hidden_layer_sizes=(2,), random_state=0, tol=1.0), X, Y, n_blocks=2, solvers="lbfgs")
    assert done.certified
