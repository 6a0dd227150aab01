"""Names of tasks: every task of the library has one of those that the docs explain."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import catalogue
import dask
import dask.array as da
import numpy as np
import pytest
from catalogue import NETWORK_SOLVERS, PENALTIES, SOLVERS
from dask.callbacks import Callback
from dask.utils import key_split
from networks import blobs

import dask_newton
from dask_newton import LogisticRegression, MLPClassifier, PoissonRegressor
from dask_newton.blocks import named, task_name
from dask_newton.blocks.names import task_key
from dask_newton.losses import Softmax
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.network.activations import Tanh
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L2

PAGE = Path(__file__).parents[2] / "docs" / "tasks.rst"
EXPLAINED = set(re.findall(r"``(newton-[a-z-]+)``", PAGE.read_text(encoding="utf-8")))
# What names tasks, and which of its arguments is the name.
NAMING = {"named": 0, "task_key": 0, "delayed": 1, "_KeepOnly": 1, "_submit": 0, "submit": 0}


def names_in_the_code():
    """Return every name that a line of the library gives to tasks."""
    found = set()
    for path in Path(dask_newton.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = node.args[NAMING[called] :][:1] if called in NAMING else []
            found |= {f"newton-{name.value}" for name in given if isinstance(name, ast.Constant)}
            found |= {k.value.value for k in node.keywords if k.arg == "token" and isinstance(k.value, ast.Constant)}
    return found


class Seen(Callback):
    """Collects the names of the tasks that Dask runs in this process."""

    def __init__(self):
        self.names = set()

    def _start(self, dsk):
        self.names |= set(map(key_split, dsk))


def steps(problem, solver, n):
    """Return the names of the tasks of n steps of a solver."""
    with Seen() as seen:
        state = solver.init(problem, problem.null)
        for _ in range(n):
            state, _ = solver.step(problem, state)
    return seen.names


def test_the_page_explains_exactly_the_names_of_the_code():
    assert names_in_the_code() == EXPLAINED


def test_dask_shows_whole_names():
    assert {key_split(f"{name}-{'0123456789abcdef' * 2}") for name in EXPLAINED} == EXPLAINED


@pytest.mark.parametrize("name", SOLVERS)
def test_the_tasks_of_a_solver_have_names_that_the_page_explains(name):
    X, y = blobs()
    parts = [RowBlock(X[i::2], y[i::2], None, None, Softmax(3)) for i in range(2)]
    penalty = PENALTIES[SOLVERS[name].penalties[-1]]((4, 3))
    with dask.config.set(scheduler="sync"):
        problem = LinearObjective.from_blocks(*catalogue.dask_blocks(parts), penalty)
        names = steps(problem, SOLVERS[name].solver, 3)
    assert names
    assert names <= EXPLAINED


@pytest.mark.parametrize("name", NETWORK_SOLVERS)
def test_the_tasks_of_a_solver_of_networks_have_names_that_the_page_explains(name):
    X, y = blobs()
    parts = [RowBlock(X[i::2], y[i::2], None, None, Softmax(3)) for i in range(2)]
    with dask.config.set(scheduler="sync"):
        layers = Layers((4, 5, 3), Tanh())
        problem = NetworkObjective.from_blocks(*catalogue.dask_blocks(parts), layers, L2(0.01), penalize_bias=True)
        names = steps(problem, NETWORK_SOLVERS[name], 2)
    assert names
    assert names <= EXPLAINED


def test_the_tasks_of_a_fit_have_names_that_the_page_explains():
    X, y = blobs()
    X, y = da.from_array(X, chunks=(20, -1)), da.from_array(y, chunks=20)
    with dask.config.set(scheduler="sync"), Seen() as seen:
        model = LogisticRegression().fit(X, y)
        model.score(X, y)
        dask.compute(model.predict(X))
        PoissonRegressor().fit(X, y, exposure=y + 1)
        MLPClassifier((3,), solver="gn-cg", max_iter=2, early_stopping=True, tol=1e3).fit(X, y)
    ours = {name for name in seen.names if name.startswith("newton")}
    expected = {"read-block", "examine-rows", "gradient", "predictions", "score", "validation-score"}
    assert {f"newton-{name}" for name in expected} <= ours
    assert ours <= EXPLAINED


@pytest.mark.cluster
def test_a_cluster_runs_tasks_with_the_same_names(cluster_client):
    X, y = blobs()
    X, y = da.from_array(X, chunks=(20, -1)), da.from_array(y, chunks=20)
    with dask.config.set({"dask-newton.anchor.every": 1}):
        LogisticRegression(solver="newton-admm").fit(X, y)
    story = cluster_client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    ours = {name for name in story if name.startswith("newton")}
    expected = {"read-block", "hold-block", "examine-rows", "admm-update", "send-sums", "pack-anchor", "anchor"}
    assert {f"newton-{name}" for name in expected} <= ours


def test_names_of_passes():
    @named("two-words")
    def first(x):
        return x

    def _second_pass(x):
        return x

    assert task_name(first) == task_name(functools.partial(first)) == "two-words"
    assert task_name(_second_pass) == "second-pass"
    assert task_name(lambda x: x) == "lambda"
    assert task_name(np.add) == "add"
    assert key_split(task_key("two-words")) == "newton-two-words"
    assert task_key("two-words") != task_key("two-words")


@pytest.mark.parametrize("name", ["Gradient", "two words", "two_words", "layer-2", "hessian-diagonal", ""])
def test_names_that_the_dashboard_would_cut_are_refused(name):
    with pytest.raises(ValueError, match="lower-case words"):
        named(name)
