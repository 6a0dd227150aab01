"""What ``solver="auto"`` chooses at given rates, what it measures, and how it explains itself."""

import dataclasses
import html
import inspect
import itertools
import logging
import math

import dask
import dask.array as da
import numpy as np
import pytest
from problems import known
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from dask_newton import ElasticNet, Lasso, LinearRegression, LogisticRegression, PoissonRegressor, Ridge, estimators
from dask_newton.auto.linear import choose_solver, compare_costs, explain
from dask_newton.auto.machine import Machine, measure
from dask_newton.blocks import SerialBlocks
from dask_newton.estimators.options import seeded
from dask_newton.losses import Logistic, Softmax, Squared, SquaredSoftplus
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.penalties import L1, L2
from dask_newton.solvers import SOLVERS

ONE_PROCESS = Machine(latency=2e-4, products=4e9, grams=3e10, driver=5e10, bandwidth=1e10)
CLUSTER = Machine(latency=2e-2, products=4e11, grams=3e12, driver=5e10, bandwidth=1e9, processes=100)
FAR_AWAY = dataclasses.replace(CLUSTER, latency=2.0, bandwidth=1e8, processes=10)


def shaped(n_rows, q, K, *, m=8, share=1.0, loss=None, penalty=None, streamed=False):
    """An objective of which nothing is known but sizes."""
    loss = loss or (Logistic() if K == 1 else Softmax(K))
    blocks = SerialBlocks(m, streamed=streamed)
    return LinearObjective(
        blocks,
        None,
        None,
        np.full(m, n_rows / m),
        np.ones(q),
        loss,
        penalty or L2(1e-3),
        (q, K),
        False,
        n_rows,
        int(share * n_rows * q),
        2e-16,
        1.0,
        np.ones((q, 1)),
        np.zeros((q, K)),
    )


BENCHMARKS = {  # asv_bench/benchmarks/problems.py in full size
    "tall": (shaped(1_000_000, 28, 1), "sampled-newton"),
    "tall, small": (shaped(50_000, 28, 1), "newton-cholesky"),
    "digits": (shaped(1797, 65, 10), "newton-cholesky"),
    "pixels": (shaped(60_000, 784, 10), "sampled-newton"),
    "images": (shaped(50_000, 3072, 10), "sampled-newton"),
    "text2": (shaped(200_000, 50_000, 1, share=0.0011), "sampled-newton"),
    "text20": (shaped(200_000, 50_000, 20, share=0.0011), "sampled-newton"),
    "breast_cancer_l1": (shaped(569, 31, 1, penalty=L1(1e-3)), "newton-cholesky"),
    "pixels_l1": (shaped(60_000, 784, 10, penalty=L1(1e-3)), "prox-newton"),
}


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_the_benchmark_problems_get_the_solver_that_was_measured_best(name, factor):
    """In one process, and on a cluster nearby; also where a rate is wrong by some factor."""
    problem, best = BENCHMARKS[name]
    for machine in (ONE_PROCESS, dataclasses.replace(CLUSTER, processes=2, products=8e9, grams=6e10)):
        for rate in ("latency", "products", "grams", "bandwidth"):
            other = dataclasses.replace(machine, **{rate: factor * getattr(machine, rate)})
            assert compare_costs(problem, other).choice == best, rate


def chosen(problem, machine):
    return compare_costs(problem, machine).choice


def test_far_away_a_dear_hessian_is_worth_its_few_rounds():
    problem = shaped(200_000, 300, 3)
    assert chosen(problem, CLUSTER) == "sampled-newton"
    assert chosen(problem, FAR_AWAY) == "newton-cholesky"


def test_far_away_large_blocks_make_giant_the_solver_with_the_fewest_rounds():
    problem = shaped(40_000_000, 20_000, 1, m=20)
    near = dataclasses.replace(CLUSTER, products=4e12)
    assert chosen(problem, near) == "newton-cg"
    assert chosen(problem, dataclasses.replace(near, latency=8.0)) == "giant"
    # With blocks that have few rows for their coefficients the local directions are worth little.
    assert chosen(shaped(4_000_000, 20_000, 1, m=200), dataclasses.replace(near, latency=8.0)) == "newton-cg"


def test_where_arithmetic_is_slow_and_passes_are_cheap_no_solver_is_chosen_for_its_rounds():
    slow = Machine(latency=1e-4, products=1e9, grams=1e9, driver=1e9, bandwidth=1e9)
    assert chosen(shaped(100_000, 20_000, 1, m=4), slow) == "newton-cg"
    # The usual solver where a Hessian is cheap to add up, but not at this rate of Gram matrices.
    assert chosen(shaped(9000, 100, 3), dataclasses.replace(slow, grams=1e8)) == "sampled-newton"


def test_reading_streamed_blocks_counts_like_latency():
    problem = shaped(200_000, 300, 3, streamed=True)
    assert chosen(problem, dataclasses.replace(CLUSTER, reading=0.05)) == "sampled-newton"
    assert chosen(problem, dataclasses.replace(CLUSTER, reading=60.0)) == "newton-cholesky"


def test_the_same_machine_measured_again_gives_the_same_choice():
    """Around every power of two there is room for a fifth."""
    rng = np.random.default_rng(0)
    machine = Machine(2.0**-6, 2.0**33, 2.0**36, 2.0**35, 2.0**30)
    for problem in (shaped(200_000, 300, 3), shaped(50_000, 900, 1), shaped(10**6, 5000, 2, m=64)):
        names = ("latency", "products", "grams", "driver", "bandwidth")
        noisy = [
            dataclasses.replace(machine, **{n: getattr(machine, n) * rng.uniform(0.8, 1.2) for n in names})
            for _ in range(20)
        ]
        assert {chosen(problem, m) for m in noisy} == {chosen(problem, machine)}


def test_rates_are_rounded_to_powers_of_two():
    rounded = Machine(0.03, 5e9, 2e10, 3e10, 1e9, 7, 0.4).rounded()
    assert rounded == Machine(2.0**-5, 2.0**32, 2.0**34, 2.0**35, 2.0**30, 7, 0.5)
    assert ONE_PROCESS.rounded().reading == 0


def test_little_is_not_worth_another_choice():
    """Two seconds, or half the time."""
    problem, machine = shaped(20_000, 300, 3), dataclasses.replace(FAR_AWAY, bandwidth=1e12)
    for latency, choice in ((0.0625, "sampled-newton"), (0.5, "newton-cholesky")):
        table = compare_costs(problem, dataclasses.replace(machine, latency=latency))
        costs = table.to_pandas().seconds
        assert 2 * costs["newton-cholesky"] < costs["sampled-newton"]
        assert (costs["sampled-newton"] - costs["newton-cholesky"] > 2) == (choice == "newton-cholesky")
        assert table.choice == choice
        remark = "newton-cholesky is not expected to save more than 2 seconds"
        assert (remark in str(table)) == (choice == "sampled-newton")


def test_losses_that_are_not_convex_get_a_solver_for_negative_curvature():
    table = compare_costs(shaped(1000, 20, 1, loss=SquaredSoftplus()), ONE_PROCESS)
    assert table.choice == "newton-mr"
    assert table.to_pandas().remark["giant"] == "its number of iterations cannot be predicted"
    assert "giant" not in table.then and "sampled-newton" not in table.then
    assert chosen(shaped(1000, 20, 1, loss=SquaredSoftplus()), FAR_AWAY) == table.choice


def test_solvers_without_a_guarantee_are_listed_and_never_chosen():
    everything = [
        compare_costs(shaped(10**6, q, K, loss=loss, penalty=penalty), machine)
        for q, K, loss in ((20, 1, Logistic()), (500, 3, Softmax(3)), (20_000, 2, Squared(2)))
        for penalty in (L1(1e-3), L2(1e-3))
        for machine in (ONE_PROCESS, CLUSTER, FAR_AWAY)
    ]
    for table in everything:
        rows = table.to_pandas()
        assert set(rows.index) == set(SOLVERS)
        unknown = rows[rows.seconds.isna()]
        assert table.choice not in unknown.index and not set(table.then) & set(unknown.index)
        assert (unknown.remark != "").all()
        assert not rows.supported[rows.remark.str.contains("needs a differentiable penalty")].any()


def test_seconds_add_up_what_each_part_costs():
    problem = shaped(1000, 10, 2, m=4)
    work = SOLVERS["newton-cholesky"]().work(problem)
    zero = Machine(0.0, math.inf, math.inf, math.inf, math.inf)
    costs = {
        "latency": work.passes * 0.25,
        "products": work.products * 4 * 1000 * 10 * 2 / 0.25,
        "grams": work.grams / 0.25,
        "driver": work.driver / 0.25,
        "bandwidth": 8 * (work.up + work.down) / 0.25,
        "reading": work.reads * 0.25,
    }
    for name, seconds in costs.items():
        assert dataclasses.replace(zero, **{name: 0.25}).seconds(work, problem) == pytest.approx(seconds, rel=1e-14)
    assert work.grams == pytest.approx(7 * 3 * 2 * 1000 * 10**2)
    assert compare_costs(problem, ONE_PROCESS).to_pandas().MB["newton-cholesky"] == pytest.approx(
        4 * 8 * (work.up + work.down) / 1e6
    )


@pytest.mark.parametrize("m", [1, 5])
def test_measuring_takes_a_few_passes_and_little_traffic(m):
    problem = known("digits", m=m).objective
    before = problem.blocks.meter.snapshot()
    machine = measure(problem, 1.0)
    after = problem.blocks.meter.snapshot()
    assert after["passes"] - before["passes"] <= 5
    assert after["bytes_up"] + after["bytes_down"] - before["bytes_up"] - before["bytes_down"] <= m * 2**20 + 1000 * m
    assert all(value > 0 for value in dataclasses.astuple(machine)[:-1])
    assert machine.processes == 1 and machine.reading == 0  # nothing is read, however long the first pass was


def test_streamed_blocks_are_read_by_few():
    made = []

    def read(i):
        made.append(i)
        return X[25 * i : 25 * i + 25]

    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 5))
    y = (X[:, 0] + rng.logistic(size=1000) > 0).astype(int)
    parts = [da.from_delayed(dask.delayed(read, pure=False)(i), (25, 5), meta=X[:0]) for i in range(40)]
    model = LogisticRegression(persist=False)
    rows = model._open(da.concatenate(parts), da.from_array(y, chunks=25), None, None)
    problem, seconds = model._objective(rows, model._encode(rows))
    made.clear()
    explanation = explain(problem, seconds)
    assert explanation.streamed and explanation.machine.reading > 0
    assert len(made) == 4
    assert "read again in every pass" in str(explanation) and "reading all blocks" in str(explanation)


@pytest.mark.cluster
def test_measured_on_a_cluster(cluster_client):
    problem = known("breast_cancer", m=4)
    X, y = da.from_array(problem.dense.X, chunks=(150, -1)), da.from_array(problem.dense.y, chunks=150)
    explanation = LogisticRegression().explain(X, y)
    assert explanation.machine.processes == len(cluster_client.nthreads()) and explanation.n_blocks == 4
    assert explanation.choice == "newton-cholesky"


def data_for(cls):
    problem = known("breast_cancer" if is_classifier(cls()) else "counts").dense
    return problem.X, problem.y + (not is_classifier(cls()))


ESTIMATORS = [cls for name in estimators.__all__ if hasattr(cls := getattr(estimators, name), "explain")]


@pytest.mark.parametrize("cls", [cls for cls in ESTIMATORS if "loss" not in inspect.signature(cls).parameters])
def test_every_estimator_explains_before_a_fit_and_stays_as_it_is(cls):
    model, (X, y) = cls(), data_for(cls)
    before = dict(vars(model))
    explanation = model.explain(X, y)
    assert explanation.choice in SOLVERS and explanation.n_rows == len(y)
    assert vars(model) == before
    with pytest.raises(NotFittedError):
        check_is_fitted(model)


def test_options_of_fit_are_options_of_explain():
    X, y = data_for(PoissonRegressor)
    assert "rows" in str(PoissonRegressor().explain(X, y, exposure=np.ones(len(y)), offset=np.zeros(len(y))))
    assert LogisticRegression().explain(X, y > 2, classes=[False, True, 7]).shape == (7, 3)
    with pytest.raises(TypeError, match="exposure"):
        Ridge().explain(X, y, exposure=np.ones(len(y)))


def test_a_fit_with_auto_keeps_its_explanation():
    X, y = data_for(LogisticRegression)
    auto = LogisticRegression(tol=1e-9).fit(X, y)
    assert auto.explanation_.choice == auto.solver_.name == auto.history_.solver == "newton-cholesky"
    named = LogisticRegression(tol=1e-9, solver="newton-cholesky").fit(X, y)
    np.testing.assert_array_equal(auto.coef_, named.coef_)
    assert auto.n_passes_ == named.n_passes_ and auto.n_rounds_ == named.n_rounds_  # measuring is not part of it
    assert not hasattr(named, "explanation_")
    assert not hasattr(auto.set_params(solver="lbfgs").fit(X, y), "explanation_")


def test_the_table_as_text_html_and_pandas():
    table = compare_costs(shaped(1000, 20, 2, share=0.05, penalty=L1(1e-3)), ONE_PROCESS, 0.005)
    text, page, rows = str(table), table._repr_html_(), table.to_pandas()
    for name in SOLVERS:
        assert name in text and f"<td>{name}</td>" in page
    for fact in ("0.2 ms", "4 GFlop/s", "30 GFlop/s", "8 blocks in 1 process", "1 stored entries per row", "5 ms"):
        assert fact in text and html.escape(fact) in page
    assert table.conclusion() in text and html.escape(table.conclusion()) in page
    assert table.reason in table.conclusion() and " and then ".join(table.then) in table.conclusion()
    assert rows.remark[table.choice] == "chosen"
    assert not rows.supported["newton-cg"] and np.isnan(rows.seconds["newton-cg"])
    assert (rows.rounds.dropna() == 2 * rows.passes.dropna()).all()
    known_seconds = rows.seconds.dropna()
    assert list(known_seconds) == sorted(known_seconds) and len(known_seconds) >= 4
    lines = text.splitlines()
    starts = [lines.index(line) for line in lines if line.startswith("solver  ")]
    numbers = [line for line in lines[starts[0] :] if line.split("  ")[0] in known_seconds.index]
    assert len({len(line.removesuffix("  chosen").rstrip()) for line in numbers}) == 1  # columns are aligned


def test_the_plan_begins_with_the_choice_and_goes_on_with_others(caplog):
    caplog.set_level(logging.INFO, logger="dask_newton")
    problem = known("digits").objective
    plan, explanation = choose_solver(problem, 0.1, 1e-8)
    names = [stage.solver.name for stage in plan.stages]
    assert names == [explanation.choice, *explanation.then] and len(set(names)) == len(names) == 3
    assert plan.tol == 1e-8 and plan.name == explanation.choice
    passes = explanation.to_pandas().passes
    assert [stage.passes for stage in plan.stages] == [passes[name] for name in names]


@pytest.mark.parametrize(
    ("model", "data"), [(LogisticRegression(), "digits"), (Lasso(alpha=0.1), "line"), (LinearRegression(), "plane"),
                        (ElasticNet(alpha=0.1), "line")],
    ids=lambda value: getattr(type(value), "__name__", value) if not isinstance(value, str) else value,
)  # fmt: skip
def test_the_seed_reaches_every_solver_of_the_plan(model, data):
    plan, _ = choose_solver(known(data, "l2" if data != "line" else "l1").objective, 0.1, 1e-6)
    seeds = [getattr(stage.solver, "seed", 17) for stage in seeded(plan, 17).stages]
    assert seeds == [17] * len(plan.stages)


def test_giant_is_expected_to_need_fewer_iterations_with_larger_blocks():
    counts = [SOLVERS["giant"]().work(shaped(100_000, 50, 1, m=m)).iterations for m in (1, 10, 100, 1000)]
    assert all(a < b for a, b in itertools.pairwise(counts))
