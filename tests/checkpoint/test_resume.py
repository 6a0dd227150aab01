"""A run that goes on from a checkpoint goes where it would have gone."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import array_api_strict as strict
import numpy as np
import pytest
import zarr
from catalogue import NETWORK_SOLVERS, SOLVERS
from networks import blobs, network
from problems import known
from sklearn.exceptions import ConvergenceWarning

from dask_newton import Checkpoint, CheckpointError, minimize
from dask_newton.checkpoint import open_checkpoint
from dask_newton.data import save_dataset
from dask_newton.penalties import L2
from dask_newton.solvers import GIANT, LBFGS, NewtonADMM, NewtonCG, Status
from dask_newton.solvers.base import PointState
from dask_newton.solvers.relay import Relay, Stage

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# What they carry is made of rows in this process, or lives on workers only: they begin anew at W.
BEGIN_ANEW = ("disco", "pdadmm-grid")
LINEAR = {name: case for name, case in SOLVERS.items() if name != "support-newton"}


def interrupted(make, solver, path, n, more, **options):
    """Run n iterations, and go on for some more in a problem made anew."""
    checkpoint = Checkpoint(path, seconds=0)
    minimize(make(), solver, max_iter=n, tol=0, checkpoint=checkpoint, **options)
    return minimize(make(), solver, max_iter=n + more, tol=0, checkpoint=checkpoint, **options)


def digits(**options):
    """Return a problem of 4 blocks, without anything remembered."""
    return known("digits", "l2", **options).objective


def by_default(names, *chosen):
    """Return names as cases, of which those that were not chosen, one of each kind of state, are slow."""
    assert set(chosen) <= set(names)
    return [name if name in chosen else pytest.param(name, marks=pytest.mark.slow) for name in names]


def content(path):
    return zarr.open_group(path, mode="r").attrs["state"]


@pytest.mark.parametrize(
    "name", by_default(NETWORK_SOLVERS, "kfac", "gn-cg", "adam", "newton-admm", "dladmm", "pdadmm")
)
def test_networks_go_on_with_the_same_bits(tmp_path, name):
    def make():
        return network(blobs())

    solver, path = NETWORK_SOLVERS[name], tmp_path / "fit.zarr"
    result = interrupted(make, solver, path, 3, 2)
    assert [record["iteration"] for record in result.history] == list(range(6))
    if name in BEGIN_ANEW:
        assert content(path) is None
        assert result.history[-1]["objective"] < result.history[0]["objective"]
    else:
        assert content(path) is not None
        np.testing.assert_array_equal(result.W, minimize(make(), solver, max_iter=5, tol=0).W)


@pytest.mark.parametrize("name", by_default(LINEAR, "giant", "newton-admm", "newton-cholesky", "lbfgs", "prox-newton"))
def test_linear_models_go_on_up_to_rounding(tmp_path, name):
    case, path = LINEAR[name], tmp_path / "fit.zarr"
    penalty = "l1" if "l2" not in case.penalties else "l2"

    def make():
        return known("digits", penalty, m=4).objective

    found = interrupted(make, case.solver, path, 2, 1)
    assert (content(path) is None) == (name in BEGIN_ANEW)
    # Margins are computed again, and by their rounding an inner solver may end an iteration earlier or later.
    before, after = (make().value(minimize(make(), case.solver, max_iter=n, tol=0).W) for n in (2, 3))
    assert abs(make().value(found.W) - after) <= 1e-3 * abs(after - before)


# One solver for each kind of state: curvature pairs, consensus with columns on the workers, a point, a preconditioner.
USUAL = ("lbfgs", "newton-admm", "newton-cholesky", "sampled-newton")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in USUAL else pytest.mark.slow)
        for name, case in LINEAR.items()
        if case.exact
    ],
)
def test_they_end_at_the_optimum(tmp_path, name):
    case = LINEAR[name]
    penalty = "l1" if "l2" not in case.penalties else "l2"
    options = {"tol": case.tol, "checkpoint": tmp_path / "fit.zarr"}
    minimize(known("breast_cancer", penalty).objective, case.solver, max_iter=4, **options)
    problem = known("breast_cancer", penalty)
    result = minimize(problem.objective, case.solver, max_iter=500, **options)
    assert result.converged
    assert problem.error(result.W) <= case.error


@pytest.mark.parametrize("options", [{"penalty": "hessian"}, {"penalty": "residual_balancing"}, {"polish_after": 1}])
def test_every_kind_of_consensus_goes_on(tmp_path, options):
    solver = NewtonADMM(**options)

    def make():
        return digits()

    found = interrupted(make, solver, tmp_path / "fit.zarr", 4, 2)
    history = minimize(make(), solver, max_iter=6, tol=0).history
    before, after = (history[i]["objective"] for i in (4, 6))
    assert abs(found.value - after) <= 1e-3 * abs(after - before)


def test_columns_go_back_to_the_device_of_their_blocks(tmp_path):
    device = strict.Device("device1")

    def make():
        return known("digits", "l2", move=lambda array: strict.asarray(array, device=device)).objective

    found = interrupted(make, NewtonADMM(), tmp_path / "fit.zarr", 3, 2)
    np.testing.assert_array_equal(found.W, minimize(make(), NewtonADMM(), max_iter=5, tol=0).W)


def test_a_plan_goes_on_with_the_solver_that_ran(tmp_path):
    plan = Relay((Stage(LBFGS(), passes=1.0), Stage(NewtonCG(), passes=1.0)), slow=0.0, margin=0.0)

    def make():
        return digits()

    whole = minimize(make(), plan, max_iter=24, tol=0)
    assert any("newton-cg goes on" in record["note"] for record in whole.history.records[:23])
    found = interrupted(make, plan, tmp_path / "fit.zarr", 23, 1)
    assert found.state.stage == 1
    before = whole.history[23]["objective"]
    assert abs(found.value - whole.value) <= 1e-3 * abs(before - whole.value)


def test_history_and_costs_go_on(tmp_path):
    problem = digits()
    result = interrupted(lambda: problem, "newton-admm", tmp_path / "fit.zarr", 3, 3)
    whole = minimize(digits(), "newton-admm", max_iter=6, tol=0)
    assert len(result.history) == len(whole.history) == 7
    for quantity in ("iteration", "objective", "inner_iterations"):
        assert [r[quantity] for r in result.history] == [r[quantity] for r in whole.history]
    # One pass to see that the data are the same, of which W is sent down and a number up.
    assert result.history[-1]["passes"] == whole.history[-1]["passes"] + 1
    assert result.history[3]["passes"] == whole.history[3]["passes"]
    seconds = [record["seconds"] for record in result.history]
    assert all(a <= b for a, b in itertools.pairwise(seconds))


def test_saving_is_not_on_the_meter(tmp_path):
    counts = []
    for checkpoint in (None, Checkpoint(tmp_path / "fit.zarr", seconds=0)):
        last = minimize(digits(), "newton-admm", max_iter=4, tol=0, checkpoint=checkpoint).history[-1]
        counts.append({key: last[key] for key in ("passes", "rounds", "bytes_up", "bytes_down", "epochs")})
    assert counts[0] == counts[1]


def test_what_has_ended_ends_at_once(tmp_path):
    path, problem = tmp_path / "fit.zarr", known("breast_cancer", "l2").objective
    first = minimize(problem, "newton-cholesky", tol=1e-9, checkpoint=path)
    again = minimize(problem, "newton-cholesky", tol=1e-9, checkpoint=path)
    assert first.converged and again.converged
    assert again.n_iter == first.n_iter
    np.testing.assert_array_equal(again.W, first.W)


def test_iterations_are_counted_from_the_beginning_and_seconds_from_ones_own(tmp_path):
    path = tmp_path / "fit.zarr"
    with pytest.warns(ConvergenceWarning, match="Advice: run it again, to continue from the checkpoint; or raise"):
        first = minimize(digits(), LBFGS(), max_iter=1000, tol=0, max_seconds=1e-9, checkpoint=path)
    assert first.status is Status.MAX_SECONDS
    second = minimize(digits(), LBFGS(), max_iter=1000, tol=0, max_seconds=1e-9, checkpoint=path)
    assert second.n_iter > first.n_iter
    ended = minimize(digits(), LBFGS(), max_iter=1, tol=0, checkpoint=path)
    assert ended.status is Status.MAX_ITER
    assert ended.n_iter == second.n_iter


@pytest.mark.parametrize(("every", "seconds", "writes"), [(1, 0, 6), (4, 0, 2), (1, 1000, 1)])
def test_how_often_it_is_written(tmp_path, monkeypatch, every, seconds, writes):
    saved = []
    save = Checkpoint.save
    monkeypatch.setattr(Checkpoint, "save", lambda self, *args: saved.append(1) or save(self, *args))
    minimize(digits(), LBFGS(), max_iter=6, tol=0, checkpoint=Checkpoint(tmp_path / "a", every, seconds))
    assert len(saved) == writes


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
from problems import known
from dask_newton import Checkpoint, minimize
from dask_newton.solvers import NewtonADMM

def die(record, state):
    if record["iteration"] == 6:
        os.kill(os.getpid(), signal.SIGKILL)

minimize(
    known("digits", "l2", m=3).objective, NewtonADMM(), max_iter=20, tol=0, callbacks=[die],
    checkpoint=Checkpoint({path!r}, every=2, seconds=0),
)
"""


@pytest.mark.faults
def test_another_process_goes_on_after_one_was_killed(tmp_path):
    path = str(tmp_path / "fit.zarr")
    script = KILLED.format(path=path, paths=[entry for entry in sys.path if entry])
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=540)
    assert ended.returncode == -signal.SIGKILL
    calls = []
    found = minimize(
        digits(m=3),
        NewtonADMM(),
        max_iter=10,
        tol=0,
        checkpoint=path,
        callbacks=[lambda record, state: calls.append(record["iteration"])],
    )
    assert calls == [5, 6, 7, 8, 9, 10], "written every other iteration, and killed before the write of the sixth"
    whole = minimize(digits(m=3), NewtonADMM(), max_iter=10, tol=0)
    np.testing.assert_array_equal(found.W, whole.W)


def test_a_process_killed_between_the_renames_loses_nothing(tmp_path):
    path = tmp_path / "fit.zarr"
    minimize(digits(), LBFGS(), max_iter=3, tol=0, checkpoint=path)
    path.rename(tmp_path / ".fit.zarr.old-0123abcd")
    assert minimize(digits(), LBFGS(), max_iter=3, tol=0, checkpoint=path).n_iter == 3
    assert path.exists()


def test_a_checkpoint_is_read_once(tmp_path, monkeypatch):
    path, problem = tmp_path / "fit.zarr", digits()
    minimize(problem, LBFGS(), max_iter=2, tol=0, checkpoint=path)
    opened = open_checkpoint(path)
    monkeypatch.setattr(Checkpoint, "load", lambda self: pytest.fail("it was open already"))
    assert minimize(problem, LBFGS(), max_iter=4, tol=0, checkpoint=opened).n_iter == 4
    assert open_checkpoint(opened) is opened


def test_a_state_that_cannot_be_saved_starts_anew_at_W(tmp_path, caplog):
    path, problem = tmp_path / "fit.zarr", digits()

    @dataclasses.dataclass(frozen=True, eq=False)
    class UnnamedState(PointState):
        """A state without a registered name."""

    class Unnamed(GIANT):
        def init(self, problem, start):
            return UnnamedState.at(problem, problem.at(start))

    with caplog.at_level("INFO", "dask_newton"):
        minimize(problem, Unnamed(), max_iter=0, checkpoint=path)
    assert "UnnamedState is neither" in caplog.text and "dask_newton.storage.registry.stored" in caplog.text
    assert content(path) is None
    with pytest.raises(CheckpointError, match="Unnamed.*has no stored name; give that solver instead of 'auto'"):
        open_checkpoint(path).saved.solver()
    assert minimize(problem, Unnamed(), max_iter=1, checkpoint=path).n_iter == 1


def test_a_full_disk_does_not_end_a_run(tmp_path, monkeypatch):
    path, problem = tmp_path / "fit.zarr", digits()
    minimize(problem, LBFGS(), max_iter=2, tol=0, checkpoint=path)

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dask_newton.checkpoint.checkpoint.write_history", full)
    with pytest.warns(UserWarning, match="could not be written; the run continues without it: .*No space left"):
        found = minimize(problem, LBFGS(), max_iter=4, tol=0, checkpoint=path)
    assert found.n_iter == 4
    monkeypatch.undo()
    assert Checkpoint(path).load().history[-1]["iteration"] == 2, "what was there before is there still"
    assert sorted(os.listdir(tmp_path)) == ["fit.zarr"]


def test_a_run_that_failed_leaves_the_last_good_state(tmp_path):
    path = tmp_path / "fit.zarr"

    def make():
        return known("digits", "none", fit_intercept=False).objective

    class Failing(LBFGS):
        def step(self, problem, state):
            new, info = super().step(problem, state)
            return (dataclasses.replace(new, status=Status.NAN) if len(new.pairs) == 3 else new), info

    failed = minimize(make(), Failing(), max_iter=9, tol=0, checkpoint=Checkpoint(path, seconds=0))
    assert (failed.status, failed.n_iter) == (Status.NAN, 3)
    assert Checkpoint(path).load().history[-1]["iteration"] == 2


# Refusals


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "fit.zarr"
    minimize(digits(), GIANT(), max_iter=2, tol=0, checkpoint=path)
    return path


def untouched(path):
    return {file.relative_to(path): file.read_bytes() for file in sorted(Path(path).rglob("*")) if file.is_file()}


OTHER = {
    "penalty": (lambda: known("digits", "l1"), GIANT(), "saved with penalty L2.* and now it is L1"),
    "blocks": (lambda: known("digits", "l2", m=3), GIANT(), "saved with weights 4 blocks of .* and now it is 3 blocks"),
    "features": (
        lambda: known("digits", "l2", fit_intercept=False),
        GIANT(),
        "saved with shape .65, 10., and now it is .64, 10.",
    ),
    "data": (lambda: known("breast_cancer", "l2"), GIANT(), "saved with loss Softmax.* and now it is Logistic"),
    "rows": (
        lambda: known("digits", "l2", order=np.r_[1796:-1:-1]),
        GIANT(),
        "weights|The objective at the W of .* was",
    ),
    "options": (lambda: known("digits", "l2"), GIANT(cg_max_iter=9), "saved with solver GIANT.cg_max_iter=50"),
    "solver": (lambda: known("digits", "l2"), LBFGS(), "saved with solver giant, and now it is lbfgs"),
}


@pytest.mark.parametrize("other", OTHER)
def test_another_problem_or_solver_is_refused(saved, other):
    make, solver, message = OTHER[other]
    before = untouched(saved)
    if other == "rows":  # the same blocks in another order are the same sums
        make = lambda: changed(known("digits", "l2"))  # noqa: E731
    with pytest.raises(CheckpointError, match=message):
        minimize(make().objective, solver, max_iter=3, checkpoint=saved)
    assert untouched(saved) == before


def changed(problem):
    """Return the problem with other labels in one block of the same weight."""
    first = problem.objective.data.parts[0]
    other = dataclasses.replace(first, y=first.y[::-1].copy())
    data = dataclasses.replace(problem.objective.data, parts=(other, *problem.objective.data.parts[1:]))
    return dataclasses.replace(problem, objective=dataclasses.replace(problem.objective, data=data))


def edit(path, **attributes):
    file = path / "zarr.json"
    stored = json.loads(file.read_text())
    stored["attributes"] |= attributes
    stored.pop("consolidated_metadata", None)
    file.write_text(json.dumps(stored))


def flip(path):
    chunk = next(file for file in sorted((path / "float64").rglob("c/*")) if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3] + b"abc")


DAMAGED = {
    "a chunk with other bytes": (flip, "damaged"),
    "a missing array": (lambda path: shutil.rmtree(path / "float64"), "damaged or was edited"),
    "a missing history": (lambda path: shutil.rmtree(path / "history"), "damaged or was edited"),
    "metadata that is no JSON": (
        lambda path: (path / "zarr.json").write_text("{"),
        "checkpoint .* is damaged, its metadata",
    ),
    "an unknown state": (
        lambda path: edit(path, state={"record": "solver-state/heavy-ball", "fields": {}}),
        "has no solver state 'heavy-ball'. Update dask_newton, import the package .*, or remove the checkpoint",
    ),
    "a class by its module": (
        lambda path: edit(path, state={"record": "subprocess.Popen", "fields": {"args": "true"}}),
        "cannot be continued: this version of dask_newton has no subprocess.Popen",
    ),
    "other fields": (
        lambda path: edit(path, state={"record": "solver-state/point", "fields": {"V": 1}}),
        "damaged or was edited: 'solver-state/point' has no field 'V'",
    ),
    "a newer format": (
        lambda path: edit(path, dask_newton_checkpoint_format=3),
        "of format 3, written by .*, but this version of dask_newton reads format 2; update dask_newton, or remove it",
    ),
    "an older format": (
        lambda path: edit(path, dask_newton_checkpoint_format=1),
        "of format 1, written by .*, but this version of dask_newton reads format 2; remove it to start anew",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_damaged_or_edited_is_refused(saved, damage):
    change, message = DAMAGED[damage]
    change(saved)
    with pytest.raises(CheckpointError, match=message):
        minimize(digits(), GIANT(), max_iter=3, checkpoint=saved)


def test_something_else_is_not_replaced(tmp_path):
    save_dataset(tmp_path / "data.zarr", np.ones((3, 2)), np.arange(3.0))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    for name in ("data.zarr", "folder"):
        before = untouched(tmp_path / name)
        with pytest.raises(CheckpointError, match="is a data set, not a checkpoint|not a Zarr group"):
            minimize(digits(), GIANT(), checkpoint=tmp_path / name)
        assert untouched(tmp_path / name) == before


def test_a_folder_that_is_not_there_is_told_before_any_work(tmp_path):
    problem = digits()
    passes = problem.blocks.meter.passes
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        minimize(problem, GIANT(), checkpoint=tmp_path / "nowhere" / "fit.zarr")
    assert problem.blocks.meter.passes == passes


def test_options_of_a_checkpoint_are_looked_at():
    for wrong in ({"every": 0}, {"seconds": -1}):
        with pytest.raises(ValueError, match="needs every >= 1 and seconds >= 0"):
            minimize(digits(), GIANT(), checkpoint=Checkpoint("fit.zarr", **wrong))


def test_a_state_beside_a_checkpoint_is_refused(saved):
    problem = digits()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = minimize(problem, GIANT(), max_iter=1).state
    with pytest.raises(ValueError, match="give one of them"):
        minimize(problem, GIANT(), state=state, checkpoint=saved)


def test_a_thousand_blocks_are_few_files(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1000, 2)), rng.integers(0, 2, 1000)
    from dask_newton import make_problem
    from dask_newton.losses import Logistic

    problem = make_problem(X, y, loss=Logistic(), penalty=L2(0.1), n_blocks=1000)
    minimize(problem, NewtonADMM(), max_iter=2, tol=0, checkpoint=tmp_path / "fit.zarr")
    assert len(untouched(tmp_path / "fit.zarr")) < 70
