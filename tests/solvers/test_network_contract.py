"""What every solver promises on a network: pure steps, honest certificates, the same bits everywhere, refusals."""

import dataclasses
import inspect
from itertools import product

import catalogue
import dask
import numpy as np
import pytest
from catalogue import FOR_ANY_OBJECTIVE, NETWORK_SOLVERS, SELDOM_CERTIFIED, SOLVERS, WITHOUT_CERTIFICATE
from networks import blobs, network
from pairwise import cases

from dask_newton import minimize
from dask_newton.losses import SquaredSoftplus
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.penalties import L1, GroupLasso
from dask_newton.solvers import GNCG, Status, UnsupportedError
from dask_newton.solvers.general.first_order import FirstOrder

ANY = {name: NETWORK_SOLVERS[name] if name in NETWORK_SOLVERS else SOLVERS[name].solver for name in FOR_ANY_OBJECTIVE}
EVERY = NETWORK_SOLVERS | ANY
every_solver = pytest.mark.parametrize("solver", EVERY.values(), ids=EVERY)
each_solver = pytest.mark.parametrize("solver", NETWORK_SOLVERS.values(), ids=NETWORK_SOLVERS)
ROWS = {"curvature_rows": 10, "batch_size": 25}
ADVISED = set(EVERY) | set(SOLVERS)


def sampled(solver):
    """Return a solver that looks at a part of the rows, where it can."""
    fields = {field.name for field in dataclasses.fields(solver)}
    return dataclasses.replace(solver, **{name: n for name, n in ROWS.items() if name in fields})


def fifth(row, state):
    """End a run without a warning."""
    return row["iteration"] == 5


@every_solver
def test_value_and_certificate_are_those_of_W(solver):
    F = network(blobs())
    state = solver.init(F, F.null)
    for _ in range(4):
        point = F.at(state.W)
        assert state.value == pytest.approx(point.value, rel=1e-13)
        certificate = np.inf if solver.name in WITHOUT_CERTIFICATE else np.abs(point.gradient).max()
        if solver.name not in SELDOM_CERTIFIED or np.isfinite(state.residual):
            assert state.residual == pytest.approx(certificate, rel=1e-9)
        state, _ = solver.step(F, state)


@every_solver
def test_steps_are_pure(solver):
    F, solver = network(blobs()), sampled(solver)
    before, state = dataclasses.asdict(solver), solver.init(F, F.null)
    for _ in range(3):
        W = state.W.copy()
        (first, info), (second, again) = solver.step(F, state), solver.step(F, state)
        np.testing.assert_array_equal(first.W, second.W)
        assert repr(info) == repr(again)
        np.testing.assert_array_equal(state.W, W)
        state = first
    assert dataclasses.asdict(solver) == before


@cases("name, threads", product(EVERY, [1, 3]), together=1)
def test_same_bits_and_cost_from_dask_threads(name, threads):
    F, solver = network(blobs(), m=3), sampled(EVERY[name])
    one = minimize(F, solver, tol=0.0, max_iter=100, callbacks=[fifth])
    with dask.config.set(scheduler="threads", num_workers=threads):
        blocks, data = catalogue.dask_blocks(list(F.data.parts))
        G = NetworkObjective.from_blocks(blocks, data, F.layers, F.penalty, penalize_bias=True)
        other = minimize(G, solver, tol=0.0, max_iter=100, callbacks=[fifth])
    np.testing.assert_array_equal(one.W, other.W)
    for count in ("passes", "rounds", "bytes_up", "bytes_down", "epochs"):
        assert one.history[-1][count] == other.history[-1][count]


@pytest.mark.cluster
def test_same_bits_from_a_cluster(cluster_client):
    F, solver = network(blobs(), m=3), GNCG(max_products=3, curvature_rows=10)
    blocks, data = catalogue.dask_blocks(list(F.data.parts))
    G = NetworkObjective.from_blocks(blocks, data, F.layers, F.penalty, penalize_bias=True)
    ends = []
    for problem in (F, G):
        state = solver.init(problem, problem.null)
        for _ in range(2):
            state, _ = solver.step(problem, state)
        ends.append(state.W)
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("solver", [s for s in NETWORK_SOLVERS.values() if s.name not in SELDOM_CERTIFIED], ids=repr)
def test_other_penalties_and_losses_are_refused_with_a_solver_that_can(solver):
    F = network(blobs())
    passes = F.blocks.meter.passes
    groups = GroupLasso(np.arange(F.size) // 2, 0.1)
    problems = [dataclasses.replace(F, penalty=groups if solver.name in WITHOUT_CERTIFICATE else L1(0.1))]
    if not isinstance(solver, FirstOrder):
        problems.append(network((blobs()[0], blobs()[1] / 2), loss=SquaredSoftplus()))
    for G in problems:
        with pytest.raises(UnsupportedError, match="use solver='") as refusal:
            minimize(G, solver)
        assert str(refusal.value).rpartition("solver='")[2].partition("'")[0] in ADVISED
    assert F.blocks.meter.passes == passes


@each_solver
def test_every_parameter_is_documented(solver):
    documentation = " ".join(inspect.getdoc(cls) or "" for cls in type(solver).__mro__)
    assert not [f.name for f in dataclasses.fields(solver) if f.init and f.name not in documentation]


@every_solver
def test_nan_at_the_start_is_an_error(solver):
    with pytest.raises(ValueError, match="not finite at the starting point"):
        minimize(network(blobs()), solver, np.full((43, 1), np.nan))


@pytest.mark.parametrize("name", sorted(set(EVERY) - set(WITHOUT_CERTIFICATE)))
def test_a_saddle_point_is_an_end(name):
    """Zero has no gradient but for the last biases, whose best values are zero for classes of the same size."""
    F = network(blobs())
    result = minimize(F, EVERY[name], np.zeros(F.shape), tol=1e-12)
    assert (result.n_iter, result.status) == (0, Status.CONVERGED)
