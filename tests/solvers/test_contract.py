"""What every solver promises: pure steps, honest certificates, the same bits everywhere, refusals that help."""

import dataclasses
import inspect

import catalogue
import dask
import numpy as np
import pytest
from catalogue import PENALTIES, SOLVERS, SPARSE
from matrices import messy
from pairwise import cases
from problems import Dense, Poisoned, known, objective, parts
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize
from dask_newton.losses import Logistic
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L2, NoPenalty
from dask_newton.solvers import NewtonADMM, Status, UnsupportedError

EVERY = [(name, penalty) for name, case in SOLVERS.items() for penalty in case.penalties]
EACH = [(name, penalty) for name, penalty in EVERY if penalty in ("l2", "elastic_net")]
EACH_PENALTY = dict(reversed(EACH))
each_solver = pytest.mark.parametrize(("name", "penalty"), EACH)
SMOOTH = [name for name, case in SOLVERS.items() if case.exact and "l2" in case.penalties]
each_exact_solver = pytest.mark.parametrize(("name", "penalty"), [pair for pair in EACH if SOLVERS[pair[0]].exact])


def usual(penalty, **options):
    return known("noisy" if penalty == "none" else "breast_cancer", penalty, **options)


def start_of(problem):
    return 0.1 * np.random.default_rng(3).normal(size=problem.objective.shape)


def run(F, name, tol, max_iter=100):
    """Minimise, or do some steps with a solver that may never arrive."""
    if SOLVERS[name].exact:
        return minimize(F, SOLVERS[name].solver, tol=tol, max_iter=max_iter)
    with pytest.warns(ConvergenceWarning):
        return minimize(F, SOLVERS[name].solver, tol=0.0, max_iter=12 if name == "sgd" else 3)


def walk(problem, solver, n, start=None):
    """Yield the states and infos of up to n steps."""
    F = problem.objective
    state = solver.init(F, np.zeros(F.shape) if start is None else start)
    yield state, None
    for _ in range(n):
        if state.status is not Status.RUNNING or state.residual <= 1e-10:
            return
        state, info = solver.step(F, state)
        yield state, info


def costly(name, penalty):
    """Tell which runs take seconds."""
    return (name == "giant" and penalty in SPARSE) or (name in ("dingo", "dino") and penalty != "none")


@cases("name, penalty", EVERY, together=1, costly=costly)
def test_value_and_certificate_are_those_of_W(name, penalty):
    """Recomputed from all rows with SciPy at every iteration. nan and inf say that they are not known yet."""
    problem, certified, steps = usual(penalty), 0, 40 if name == "newton-admm" else 21
    for state, _ in walk(problem, SOLVERS[name].solver, steps, start_of(usual(penalty))):
        if SOLVERS[name].exact or np.isfinite(state.value):
            assert state.value == pytest.approx(problem.dense.value(state.W), rel=1e-12)
        if np.isfinite(state.residual):
            assert state.residual == pytest.approx(problem.dense.residual(state.W), rel=1e-6, abs=1e-13)
            certified += 1
    assert certified > 3


@each_solver
def test_steps_are_pure(name, penalty):
    """The same step from the same state gives the same bits, and leaves the state as it was."""
    problem, solver = usual(penalty), SOLVERS[name].solver
    before = dataclasses.asdict(solver) if dataclasses.is_dataclass(solver) else None
    for state, _ in walk(problem, solver, 4):
        W, value = state.W.copy(), state.value
        first, info = solver.step(problem.objective, state)
        second, again = solver.step(problem.objective, state)
        np.testing.assert_array_equal(first.W, second.W)
        assert repr((first.value, first.residual, first.status)) == repr(
            (second.value, second.residual, second.status)  # as text, in which nan is nan
        )
        assert repr(info) == repr(again)
        np.testing.assert_array_equal(state.W, W)
        assert repr(state.value) == repr(value)
    assert dataclasses.asdict(solver) == before


@each_solver
def test_solvers_and_states_are_frozen(name, penalty):
    solver = SOLVERS[name].solver
    state = solver.init(usual(penalty).objective, np.zeros((31, 1) if penalty != "none" else (6, 3)))
    for thing in (solver, state):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, dataclasses.fields(thing)[0].name, 0)


@each_solver
def test_start_is_not_written_to(name, penalty):
    problem = usual(penalty)
    start = start_of(problem)
    copy = start.copy()
    for _ in walk(problem, SOLVERS[name].solver, 3, start):
        pass
    np.testing.assert_array_equal(start, copy)


@cases(
    "name, penalty, threads",
    [(*pair, threads) for pair in EACH for threads in (1, 5)],
    together=["name", "penalty, threads"],
)
def test_same_bits_from_dask_threads(name, penalty, threads):
    problem = usual(penalty, m=5)
    one = run(problem.objective, name, tol=1e-3)
    with dask.config.set(scheduler="threads", num_workers=threads):
        blocks, data = catalogue.dask_blocks(parts(problem.dense, 5))
        F = LinearObjective.from_blocks(blocks, data, problem.dense.penalty)
        other = run(F, name, tol=1e-3)
    np.testing.assert_array_equal(one.W, other.W)
    np.testing.assert_array_equal(*([r["objective"] for r in result.history] for result in (one, other)))
    assert one.history[-1]["bytes_up"] == other.history[-1]["bytes_up"]
    assert one.history[-1]["bytes_down"] == other.history[-1]["bytes_down"]
    assert one.history[-1]["rounds"] == other.history[-1]["rounds"]


@pytest.mark.cluster
@cases(
    "name, penalty, sparse",
    [(*pair, sparse) for pair in EACH for sparse in (False, True)],
    together=["name", "penalty, sparse"],
)
def test_same_bits_from_a_cluster(name, penalty, sparse, cluster_client):
    """Two steps, with what the blocks keep from one to the next on the workers."""
    problem, solver, ends = usual(penalty), SOLVERS[name].solver, []
    pieces = parts(problem.dense, 3 if sparse else 5)
    if sparse:
        pieces = [dataclasses.replace(part, X=messy(part.X)) for part in pieces]
    for engine in (catalogue.serial_blocks, catalogue.dask_blocks):
        blocks, data = engine(pieces)
        F = LinearObjective.from_blocks(blocks, data, problem.dense.penalty)
        state = solver.init(F, start_of(problem))
        for _ in range(2):
            state, _ = solver.step(F, state)
        ends.append((state.W, blocks.meter.snapshot()))
    (one, spent), (other, also) = ends
    np.testing.assert_array_equal(one, other)
    assert {key: spent[key] for key in ("rounds", "bytes_up")} == {key: also[key] for key in ("rounds", "bytes_up")}


@cases(
    "name, penalty",
    [(name, penalty) for name, case in SOLVERS.items() for penalty in PENALTIES if penalty not in case.penalties],
    together=1,
)
def test_unsupported_penalties_are_refused_with_a_solver_that_can(name, penalty):
    problem = known("breast_cancer", "l2").dense
    F = objective(parts(problem), PENALTIES[penalty]((30, 1)))
    passes = F.blocks.meter.passes
    with pytest.raises(UnsupportedError, match="use solver='") as refusal:
        minimize(F, SOLVERS[name].solver)
    assert f"'{name}'" in str(refusal.value)
    advised = str(refusal.value).rpartition("solver='")[2].partition("'")[0]
    assert penalty in SOLVERS[advised].penalties
    assert F.blocks.meter.passes == passes


# Options that a solver must refuse, and what the message names.
BAD_OPTIONS = [
    ("giant", {"npc": "ignore"}, "npc='ignore'"),
    ("newton-cg", {"preconditioner": "ilu"}, "preconditioner='ilu'"),
    ("disco", {"preconditioner": "jacobi"}, "preconditioner='jacobi'"),
    ("newton-cg", {"hessian_sample": 0.0}, "hessian_sample=0.0"),
    ("newton-cg", {"hessian_sample": 1.5}, "hessian_sample=1.5"),
    ("newton-cholesky", {"max_dim": 30}, "31 rows.*max_dim=30.*solver='newton-cg'"),
    ("newton-admm", {"local_solver": "cg"}, "local_solver='cg'.*'newton-cg', 'newton-mr'"),
    ("newton-admm", {"penalty": "none"}, "penalty='none'"),
    ("newton-admm", {"rho": 0.0}, "rho=0.0"),
    ("newton-admm", {"rho": np.inf}, "rho=inf"),
    ("newton-admm", {"relaxation": 2.0}, "relaxation=2.0"),
    ("newton-admm", {"relaxation": 0.9}, "relaxation=0.9"),
    ("sampled-newton", {"hessian_sample": 0.0}, "hessian_sample=0.0"),
    ("sampled-newton", {"hessian_sample": 1.5}, "hessian_sample=1.5"),
    ("dane", {"eta": 0.0}, "'dane' got eta=0.0; it must be positive"),
    ("dane", {"mu": -1.0}, "'dane' got mu=-1.0"),
    ("inexact-dane", {"steps": 0}, "steps=0; it must be at least 1"),
    ("inexact-dane", {"batch_size": 0}, "batch_size=0"),
    ("inexact-dane", {"learning_rate": 0.0}, "learning_rate=0.0; it must be positive, or None"),
    ("aide", {"eta": -1.0}, "'aide' got eta=-1.0"),
    ("aide", {"steps": 0}, "'aide' got steps=0"),
    ("aide", {"tau": -1.0}, "tau=-1.0; it must be zero or positive"),
    ("aide", {"lam": -1.0}, "lam=-1.0"),
    ("aide", {"zeta": 1.0}, r"zeta=1.0; it must be in \(0, 1\)"),
    ("aide", {"inner_iterations": 0}, "inner_iterations=0"),
    ("sgd", {"learning_rate": -0.1}, "learning_rate=-0.1"),
    ("sgd", {"fraction": 1.5}, "fraction=1.5"),
    ("sgd", {"fraction": 0.0}, r"fraction=0.0; it must be in \(0, 1\]"),
    ("sgd", {"certify_every": 0}, "certify_every=0"),
    ("prox-newton", {"max_features": 30}, "31 rows.*max_features=30.*solver='newton-admm'"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD_OPTIONS)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(UnsupportedError, match=message):
        minimize(usual(EACH_PENALTY[name]).objective, dataclasses.replace(SOLVERS[name].solver, **options))


@each_solver
def test_every_parameter_is_documented(name, penalty):
    cls = type(SOLVERS[name].solver)
    documentation = inspect.getdoc(cls)
    undocumented = [f.name for f in dataclasses.fields(cls) if f.init and f.name not in documentation]
    # The two finishing methods of ADMM are described with its parameter polish.
    assert set(undocumented) <= {"smooth_polish", "sparse_polish"}


# Failure


@each_exact_solver
def test_nothing_to_do_at_the_optimum(name, penalty):
    problem = usual(penalty)
    again = minimize(problem.objective, SOLVERS[name].solver, problem.W, tol=1e-7)
    assert again.n_iter == 0
    assert again.converged
    # Up to rows whose mean over the outputs does not matter, which a solver may centre.
    assert problem.gap(again.value) <= 1e-9


@each_solver
def test_gradient_exactly_zero_at_the_start(name, penalty):
    """X of zeros, half the rows of each class: zero is the optimum, for every penalty and at any tolerance."""
    block = RowBlock(np.zeros((8, 2)), np.tile([0.0, 1.0], 4), None, None, Logistic())
    result = minimize(objective([block, block], PENALTIES[penalty]((2, 1))), SOLVERS[name].solver, tol=0.0)
    assert (result.n_iter, result.status, result.gradient_norm) == (0, Status.CONVERGED, 0.0)
    np.testing.assert_array_equal(result.W, 0)


@pytest.mark.parametrize("name", SMOOTH)
def test_separable_classes_without_penalty_are_no_quiet_success(name):
    """F has no minimum. Where the gradient is still above tol, a warning says so, and F is on its way to 0."""
    X = np.random.default_rng(0).normal(size=(200, 3))
    model = Dense(X, (X[:, 0] > 0).astype(float), np.ones(200), 0.0, Logistic(), True, NoPenalty())
    F = objective(parts(model), NoPenalty())
    with pytest.warns(ConvergenceWarning, match=f"{name} stopped without converging"):
        result = minimize(F, SOLVERS[name].solver, max_iter=8, tol=1e-9)
    assert not result.converged
    assert result.value < 0.1 * np.log(2)
    assert np.all(np.isfinite(result.W))


def poisoned(limit, only_curvature=False, m=4, marked=1):
    """Return breast cancer with one block whose loss turns to NaN in a marked row at margins beyond ``limit``."""
    model = known().dense
    blocks = [dataclasses.replace(b, loss=Poisoned(limit, only_curvature)) for b in parts(model, m)]
    y = blocks[marked].y.copy()
    y[0] += 2
    blocks[marked] = dataclasses.replace(blocks[marked], y=y)
    return objective(blocks, L2(1 / 569))


@pytest.mark.parametrize("name", SMOOTH)
def test_nan_at_the_start_is_an_error(name):
    with pytest.raises(ValueError, match="not finite at the starting point"):
        minimize(poisoned(limit=0.0), SOLVERS[name].solver)


@pytest.mark.parametrize("name", SMOOTH)
def test_nan_from_one_block_on_the_way(name):
    """Steps into it are rejected or reported: never a NaN in the result, never a false success."""
    F = poisoned(limit=1.0)
    with pytest.warns(ConvergenceWarning):
        result = minimize(F, SOLVERS[name].solver, max_iter=10, tol=1e-6)
    assert not result.converged
    assert np.all(np.isfinite(result.W))
    values = [r["objective"] for r in result.history if np.isfinite(r["objective"])]
    assert min(values) < np.log(2)


@pytest.mark.parametrize("name", SMOOTH)
def test_nan_in_the_curvature_of_one_block(name):
    """Value and gradient stay finite, so steepest descent, or none, is all that is left; it may not crash."""
    F = poisoned(limit=0.0, only_curvature=True)
    with pytest.warns(ConvergenceWarning):
        result = minimize(F, SOLVERS[name].solver, max_iter=5, tol=1e-6)
    assert np.all(np.isfinite(result.W))
    assert result.value <= np.log(2) * (1 + 1e-14)  # a mean over 569 rows, with some units of rounding


def test_admm_goes_on_with_a_block_without_curvature():
    """It takes part with steepest descent."""
    F = poisoned(limit=0.0, only_curvature=True)
    with pytest.warns(ConvergenceWarning):
        result = minimize(F, NewtonADMM(polish=False), max_iter=40, tol=1e-9)
    assert result.value < 0.2 * np.log(2)
