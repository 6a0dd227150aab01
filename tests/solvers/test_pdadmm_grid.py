"""pdADMM on a grid: the iterates of pdADMM, the same bits everywhere, rounded messages, what is sent, lost workers."""

import dataclasses
import functools
import os
import signal
from itertools import product

import array_api_strict as strict
import catalogue
import dask
import numpy as np
import pytest
import scipy.sparse
from networks import blobs, digits, error, network, walk
from pairwise import cases

from dask_newton import minimize
from dask_newton.arrays import to_host
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.penalties import L1
from dask_newton.solvers import PDADMM, PDADMMGrid, UnsupportedError
from dask_newton.solvers.grid import cells as grid


def problem(m=3, hidden=(6, 5, 4), activation="relu", **options):
    return network(blobs(), hidden, m=m, activation=activation, initialisation="gauss", **options)


def on_dask(F):
    """The same objective over blocks of the current client, or of Dask's threads."""
    blocks, data = catalogue.dask_blocks(list(F.data.parts))
    return NetworkObjective.from_blocks(
        blocks, data, F.layers, F.penalty, penalize_bias=F.penalize_bias, initialisation="gauss"
    )


@cases("steps, groups, penalty", product(["fast", "gradient", "reference"], [1, 3], ["l2", "l1"]))
def test_iterates_are_those_of_pdadmm(steps, groups, penalty):
    F = problem(ridge=1e-4)
    F = dataclasses.replace(F, penalty=L1(1e-3)) if penalty == "l1" else F
    plain, infos = walk(F, PDADMM(steps=steps, nu=0.1, rho=0.2), 6)
    ours, found = walk(F, PDADMMGrid(steps=steps, nu=0.1, rho=0.2, iterations=3, layer_groups=groups), 2)
    np.testing.assert_allclose(ours[-1].W, plain[-1].W, rtol=1e-10, atol=1e-12)
    for name, value in infos[-1].extra.items():
        assert found[-1].extra[name] == pytest.approx(value, rel=1e-9)
    assert ours[-1].iteration == 6
    assert found[-1].inner_iterations == 3


@pytest.mark.parametrize("hidden", [(), (6,)])
def test_few_layers(hidden):
    F = problem(hidden=hidden)
    plain, ours = walk(F, PDADMM(), 4)[0], walk(F, PDADMMGrid(iterations=4), 1)[0]
    np.testing.assert_allclose(ours[-1].W, plain[-1].W, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bits", [0, 8])
def test_threads_have_the_bits_of_the_loop(bits):
    F, solver = problem(), PDADMMGrid(iterations=5, layer_groups=2, message_bits=bits)
    one = walk(F, solver, 2)[0]
    for threads in (1, 4):
        with dask.config.set(scheduler="threads", num_workers=threads):
            other = walk(on_dask(F), solver, 2)[0]
        np.testing.assert_array_equal(one[-1].W, other[-1].W)
        assert other[-1].value == one[-1].value


@pytest.mark.cluster
def test_a_cluster_has_the_bits_of_the_loop(cluster_client):
    F, solver = problem(), PDADMMGrid(iterations=2, layer_groups=2)
    one, other = walk(F, solver, 2)[0], walk(on_dask(F), solver, 2)[0]
    np.testing.assert_array_equal(one[-1].W, other[-1].W)
    assert len({stored.address for stored in other[-1].cells.values.values()}) == 2


@pytest.mark.slow
@pytest.mark.cluster
def test_after_the_loss_of_a_worker_cells_begin_anew(fragile_client):
    F, solver = problem(m=2), PDADMMGrid(iterations=2, layer_groups=2)
    G = on_dask(F)
    state, info = solver.step(G, solver.init(G, G.null))
    assert info.note == ""
    pids = fragile_client.run(os.getpid)
    os.kill(pids[next(iter(state.cells.values.values())).address], signal.SIGKILL)
    again, info = solver.step(G, state)
    assert info.note == "started anew"
    expected, _ = solver.step(F, dataclasses.replace(state, cells=None))
    np.testing.assert_array_equal(again.W, expected.W)


@pytest.mark.parametrize("bits", [8, 16])
def test_rounded_messages_carry_what_they_left_out(bits):
    """The sum of what was received is that of what was sent, but for the last rounding."""
    rng, error_ = np.random.default_rng(0), 0.0
    sent = received = 0.0
    for _ in range(20):
        X = rng.normal(size=(30, 4))
        message, error_ = grid._sent(X, error_, bits)
        assert str(message.codes.dtype) == f"uint{bits}"
        sent, received = sent + X, received + grid.restored(message)
        unit = message.scale
        assert np.abs(sent - received).max() <= 0.5 * unit * (1 + 1e-9)
    flat, _ = grid._sent(np.full((3, 2), 7.0), 0.0, bits)
    np.testing.assert_array_equal(grid.restored(flat), np.full((3, 2), 7.0))


def test_rounded_messages_cost_less_and_learn_as_well():
    X, y = digits()
    F = network((X[:500], y[:500]), (40, 30), m=2, activation="relu", ridge=0.0, initialisation="gauss")
    right, sent = [], []
    for bits in (0, 16, 8):
        states, infos = walk(F, PDADMMGrid(iterations=25, layer_groups=3, message_bits=bits), 1)
        right.append(1 - error(F, states[-1].W, (X[:500], y[:500])))
        sent.append(infos[-1].extra["message_bytes"])
    assert sent == [25 * 2 * size * 500 * 70 for size in (8, 2, 1)]
    assert right[0] > 0.9 and min(right[1:]) >= right[0] - 0.01


def test_layers_of_one_group_send_nothing_and_groups_share_the_work():
    F = problem(hidden=(6, 6, 6, 6, 6))
    assert PDADMMGrid()._groups((4, 6, 6, 6, 6, 6, 3)) == [0] * 6
    assert PDADMMGrid(layer_groups=3)._groups((6, 6, 6, 6, 6, 6, 6)) == [0, 0, 1, 1, 2, 2]
    assert PDADMMGrid(layer_groups=9)._groups((500, 6, 5, 3)) == [0, 1, 2]
    assert PDADMMGrid(layer_groups=2)._groups((9, 9, 9, 500, 9)) == [0, 0, 0, 1]
    _, infos = walk(F, PDADMMGrid(iterations=1), 1)
    assert infos[0].extra["message_bytes"] == 0


def test_a_step_costs_what_as_many_passes_of_pdadmm_do_but_for_the_numbers():
    F = problem(m=2)
    solver, plain = PDADMMGrid(iterations=4), PDADMM()
    state, other = solver.init(F, F.null), plain.init(F, F.null)
    counts = []
    for step in (lambda: solver.step(F, state), lambda: plain.step(F, other)):
        before = F.blocks.meter.snapshot()
        step()
        counts.append({key: count - before[key] for key, count in F.blocks.meter.snapshot().items()})
    grid_cost, pass_cost = counts
    assert grid_cost["passes"] == 4 + 1  # one to evaluate F
    assert grid_cost["rounds"] == 2 * 5
    assert grid_cost["bytes_up"] == 4 * (pass_cost["bytes_up"] - 2 * 8 * 9) + 2 * 8
    assert grid_cost["bytes_down"] == 4 * pass_cost["bytes_down"] + 2 * 8 * F.size


@pytest.mark.parametrize("bits", [0, 16])
@pytest.mark.parametrize("kind", ["strict", "csr", "float32"])
def test_any_array_type_and_device_gives_the_same_numbers(kind, bits):
    F = problem(m=1, ridge=1e-4)
    rows, device = F.data.parts[0], strict.Device("device1")
    convert = {
        "strict": lambda a: strict.asarray(a, device=device),
        "float32": lambda a: a.astype("float32"),
        "csr": lambda a: scipy.sparse.csr_array(a) if a.ndim == 2 else a,
    }[kind]
    other = dataclasses.replace(rows, X=convert(rows.X), y=convert(rows.y))
    blocks, data = catalogue.serial_blocks([other])
    G = NetworkObjective.from_blocks(blocks, data, F.layers, F.penalty, penalize_bias=True, initialisation="gauss")
    solver = PDADMMGrid(iterations=3, message_bits=bits)
    one, two = walk(F, solver, 1)[0][-1], walk(G, solver, 1)[0][-1]
    tol = 1e-3 if kind == "float32" else 1e-8
    np.testing.assert_allclose(two.W, one.W, rtol=tol, atol=tol)
    Q = [state.cells.values["cell/0/1"].Q for state in (one, two)]
    assert str(Q[1].dtype).endswith("float32" if kind == "float32" else "float64")
    np.testing.assert_allclose(to_host(Q[1]), Q[0], rtol=tol, atol=tol)


def test_a_run_goes_on_from_its_state():
    F, solver = problem(), PDADMMGrid(iterations=2)
    stop = functools.partial(lambda n, row, state: row["iteration"] == n)
    whole = minimize(F, solver, callbacks=[functools.partial(stop, 3)], tol=0.0)
    part = minimize(F, solver, callbacks=[functools.partial(stop, 1)], tol=0.0)
    rest = minimize(F, solver, state=part.state, callbacks=[functools.partial(stop, 2)], tol=0.0)
    np.testing.assert_array_equal(whole.W, rest.W)


@pytest.mark.parametrize(
    "options",
    [
        {"layer_groups": 0},
        {"iterations": 0},
        {"message_bits": 4},
        {"schedule_factor": 2.0},
    ],
    ids=repr,
)
def test_bad_options_are_refused(options):
    with pytest.raises(UnsupportedError, match=f"'pdadmm-grid' got {next(iter(options))}=.*; it must be"):
        minimize(problem(), PDADMMGrid(**options))
