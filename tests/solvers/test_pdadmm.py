"""pdADMM: Lemma 1 with the moves that are made, descent of every step, the duals, rows and blocks, digits."""

import dataclasses
import functools
from itertools import product

import array_api_strict as strict
import numpy as np
import pytest
import scipy.sparse
from networks import blobs, digits, error, network, walk
from pairwise import cases

from dask_newton import minimize
from dask_newton.arrays import to_host
from dask_newton.blocks import SerialBlocks
from dask_newton.losses import Logistic, Softmax, Squared
from dask_newton.objectives.network.activations import ACTIVATIONS
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L1, L2, ElasticNet, NoPenalty
from dask_newton.solvers import PDADMM, Status, UnsupportedError
from dask_newton.solvers.layerwise.pdadmm_layer import outer

FREE = NoPenalty()
FOREVER = {"lagrangian_tol": 1e-300}


def some_digits(n=300):
    X, y = digits()
    return X[:n], y[:n]


def variables(F, state):
    """Return P, Z, Q, U over all rows, and (W, b) of every layer; P is that of the coming iteration."""
    tiles = [split for splits in F.blocks.gather(state.splits) for split in splits]
    joined = [
        [np.concatenate([getattr(split, name)[j] for split in tiles]) for j in range(len(getattr(tiles[0], name)))]
        for name in "PZQU"
    ]
    return (*joined, F.layers.of(state.W))


def lagrangian(F, nu, rho, P, model, Z, Q, U):
    """The augmented Lagrangian, by its formula."""
    X, y = (np.concatenate([getattr(rows, name) for rows in F.data.parts]) for name in "Xy")
    f, loss = F.layers.activation, F.data.parts[0].loss
    total = loss.value(y, Z[-1]).sum() + F.total_weight * F.penalty.value(F.penalised(flat(F, model)))
    for p, z, (W, b) in zip([X, *P], Z, model, strict=True):
        total += nu / 2 * np.sum((z - p @ W - b) ** 2)
    for p, z, q, u in zip(P, Z, Q, U, strict=False):
        total += nu / 2 * np.sum((q - f.value(z)) ** 2) + np.sum(u * (p - q)) + rho / 2 * np.sum((p - q) ** 2)
    return total


def flat(F, model):
    return np.concatenate([W.ravel() for W, _ in model] + [b for _, b in model])[:, None]


SMALL = {
    "gauss": ("relu", 1.0, 5.0),
    "leaky": ("leaky_relu", 1.0, 4.01),
    "tanh": ("tanh", 0.01, 0.05),
    "logistic": ("logistic", 1.0, 2.6),
}


@functools.cache
def small_walk(case, steps):
    activation, nu, rho = SMALL[case]
    F = network(some_digits(), (30, 30), m=3, activation=activation, ridge=0.0, initialisation="gauss")
    F = dataclasses.replace(F, null=3 * F.null)
    return F, nu, rho, *walk(F, PDADMM(nu=nu, rho=rho, steps=steps, **FOREVER), 6)


every_step = pytest.mark.parametrize("steps", ["fast", "gradient"])
each_case = pytest.mark.parametrize("case", SMALL)


@every_step
@each_case
def test_every_step_decreases_the_lagrangian_and_the_dual_raises_it_as_it_must(case, steps):
    F, nu, rho, states, infos = small_walk(case, steps)
    for k, (before, after) in enumerate(zip(states, states[1:], strict=False)):
        if k == 0:
            continue  # the P before the first is not kept
        old, new, P0 = variables(F, before), variables(F, after), variables(F, states[k - 1])[0]
        (P1, Z0, Q0, U0, model0), (_, Z1, Q1, U1, model1) = old, new
        points = [
            (P0, model0, Z0, Q0, U0),
            (P1, model0, Z0, Q0, U0),
            (P1, model1, Z0, Q0, U0),
            (P1, model1, Z1, Q0, U0),
            (P1, model1, Z1, Q1, U0),
            (P1, model1, Z1, Q1, U1),
        ]
        values = [lagrangian(F, nu, rho, *point) for point in points]
        assert all(b <= a + 1e-10 * abs(a) for a, b in zip(values[:4], values[1:5], strict=True))
        raised = sum(np.sum((b - a) ** 2) for a, b in zip(U0, U1, strict=True)) / rho
        # A difference of sums of some ten thousand squares.
        assert values[5] - values[4] == pytest.approx(raised, rel=1e-6, abs=1e-12 * abs(values[5]))
        assert values[5] == pytest.approx(infos[k].extra["lagrangian"], rel=1e-12)
        gaps = [a - b for a, b in zip(P1, Q1, strict=True)]
        assert infos[k].extra["primal_residual"] == pytest.approx(np.sqrt(sum(np.sum(g**2) for g in gaps)))
        moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(Q1, Q0, strict=True)))
        assert infos[k].extra["dual_residual"] == pytest.approx(rho * moved)


@each_case
def test_lemma_1_with_the_moves_that_are_made(case):
    """The decrease of the Lagrangian is at least the weighted sum of squared moves, for rho as the lemma wants it."""
    F, nu, rho, states, _ = small_walk(case, "gradient")
    S = 0.25 if case == "logistic" else 1.0
    c1, c2 = nu / 2 - 2 * nu**2 * S**2 / rho, rho / 2 - 2 * nu**2 / rho - nu / 2
    assert c1 > 0 and c2 > 0
    all_variables = [variables(F, state) for state in states]
    X = np.concatenate([rows.X for rows in F.data.parts])
    for k in range(1, len(states) - 1):
        P0, (P1, Z0, Q0, U0, model0), (_, Z1, Q1, U1, model1) = all_variables[k - 1][0], *all_variables[k : k + 2]
        bound = nu / 2 * np.sum((Z1[-1] - Z0[-1]) ** 2)
        bound += sum(c1 * np.sum((a - b) ** 2) for a, b in zip(Z1[:-1], Z0[:-1], strict=True))
        bound += sum(c2 * np.sum((a - b) ** 2) for a, b in zip(Q1, Q0, strict=True))
        for j, (p0, p1) in enumerate(zip(P0, P1, strict=True), 1):
            W, b = model0[j]
            G = nu * (p0 @ W + b - Z0[j]) @ W.T + U0[j - 1] + rho * (p0 - Q0[j - 1])
            tau = rho + nu * np.sum((G @ W) ** 2, axis=1) / np.maximum(np.sum(G**2, axis=1), 1e-300)
            np.testing.assert_allclose(p1, p0 - G / tau[:, None], atol=1e-10)
            bound += np.sum(tau[:, None] * (p1 - p0) ** 2) / 2
        for j, ((W0, b0), (W1, b1)) in enumerate(zip(model0, model1, strict=True)):
            p = X if j == 0 else P1[j - 1]
            G = nu * p.T @ (p @ W0 + b0 - Z0[j])
            theta = nu * np.sum((p @ G) ** 2, axis=0) / np.maximum(np.sum(G**2, axis=0), 1e-300)
            np.testing.assert_allclose(W1, W0 - G / np.maximum(theta, 1e-300), atol=1e-8)
            bound += np.sum(theta * (W1 - W0) ** 2) / 2 + nu / 2 * np.sum((b1 - b0) ** 2)
        before = lagrangian(F, nu, rho, P0, model0, Z0, Q0, U0)
        assert before - lagrangian(F, nu, rho, P1, model1, Z1, Q1, U1) >= bound


@every_step
@each_case
def test_duals_are_the_gradient_of_the_fit_of_the_outputs(case, steps):
    F, nu, _, states, _ = small_walk(case, steps)
    for state in states:
        _, Z, Q, U, _ = variables(F, state)
        for z, q, u in zip(Z, Q, U, strict=False):
            np.testing.assert_allclose(u, nu * (q - F.layers.activation.value(z)), atol=1e-10 * max(1, np.abs(u).max()))


def test_outputs_with_equal_weights_are_the_papers():
    P, U, A = np.random.default_rng(0).normal(size=(3, 4, 5))
    np.testing.assert_allclose(outer(P, U, A, 0.3, 0.3), (P + U / 0.3 + A) / 2, rtol=1e-14)


@every_step
def test_iterates_do_not_depend_on_blocks(steps):
    ends = [walk(network(blobs(), (6, 5), m=n, ridge=0.0), PDADMM(steps=steps), 10)[0][-1] for n in (1, 7)]
    np.testing.assert_allclose(ends[1].W, ends[0].W, rtol=1e-9, atol=1e-9)
    assert ends[1].lagrangian == pytest.approx(ends[0].lagrangian, rel=1e-9)


def weighted(loss, weights, X=None, offset=None):
    rng = np.random.default_rng(0)
    n = len(weights)
    X = rng.normal(size=(n, 5)) if X is None else X
    y = rng.normal(size=n) if loss.numeric else rng.integers(0, max(2, loss.n_outputs), n).astype(float)
    return RowBlock(X, y, weights, offset, loss)


def objective(parts, penalty=FREE, hidden=(6, 4), activation="relu"):
    blocks = SerialBlocks(len(parts))
    layers = Layers((parts[0].X.shape[1], *hidden, parts[0].loss.n_outputs), ACTIVATIONS[activation]())
    return NetworkObjective.from_blocks(blocks, blocks.place(parts), layers, penalty, initialisation="gauss")


@pytest.mark.parametrize("loss", [Softmax(3), Logistic(), Squared()], ids=str)
def test_weights_count_rows(loss):
    """A row of weight 2 is two rows, one of weight 0 is none."""
    counts = np.random.default_rng(1).integers(0, 3, 40)
    block = weighted(loss, counts.astype(float))
    copied = dataclasses.replace(block, weight=None).take(np.repeat(np.arange(40), counts))
    ends = [walk(objective([rows], L2(1e-3)), PDADMM(nu=0.1, rho=0.3), 8)[0][-1] for rows in (block, copied)]
    np.testing.assert_allclose(ends[0].W, ends[1].W, rtol=1e-9, atol=1e-11)
    assert ends[0].lagrangian == pytest.approx(ends[1].lagrangian, rel=1e-10)


@pytest.mark.parametrize("penalty", [L2(0.01), L1(0.01), ElasticNet(0.01, 0.01)], ids=repr)
@pytest.mark.parametrize("steps", ["fast", "gradient"])
def test_penalties_are_in_the_lagrangian_and_l1_makes_zeros(penalty, steps):
    block = weighted(Softmax(3), np.ones(60))
    F = objective([block], penalty)
    states, infos = walk(F, PDADMM(nu=0.5, rho=2.5, steps=steps), 25)
    L = [states[0].lagrangian] + [info.extra["lagrangian"] for info in infos]
    assert np.all(np.diff(L) <= 1e-10 * np.abs(L[1:]))
    zeros = int(np.sum(F.penalised(states[-1].W) == 0))
    assert zeros > 5 if isinstance(penalty, L1 | ElasticNet) else zeros == 0


def test_an_offset_is_added_to_the_margins():
    """One that is the same for all rows is a bias of the output layer."""
    block, shift = weighted(Softmax(3), np.ones(40)), np.array([0.3, -0.2, 0.1])
    moved = dataclasses.replace(block, offset=np.tile(shift, (40, 1)))
    F, G = objective([block]), objective([moved])
    theta = F.null.copy()
    F.layers.of(theta)[-1][1][...] += shift
    solver, starts = PDADMM(nu=0.1, rho=0.1), []
    for problem, start in ((F, theta), (G, G.null)):
        state = solver.init(problem, start)
        starts.append(state.value)
    assert starts[0] == pytest.approx(starts[1], rel=1e-13)
    states, infos = walk(G, solver, 5)
    assert np.all(np.diff([info.extra["lagrangian"] for info in infos]) < 0)
    assert states[-1].value == pytest.approx(G.value(states[-1].W), rel=1e-13)


@pytest.mark.parametrize("hidden", [(), (6,)])
def test_few_layers(hidden):
    F = network(blobs(), hidden, ridge=0.0)
    states, infos = walk(F, PDADMM(nu=1.0, rho=5.0), 40)
    L = [info.extra["lagrangian"] for info in infos]
    assert np.all(np.diff(L) <= 1e-12 * np.abs(L[1:]))
    assert error(F, states[-1].W, blobs()) < 0.35


def parts_of(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 5)) * (rng.random((50, 5)) < 0.5)
    block = weighted(Softmax(3), rng.uniform(0.5, 2, 50), X=X, offset=rng.normal(size=(50, 3)))
    if kind == "strict":
        device = strict.Device("device1")
        arrays = {name: strict.asarray(getattr(block, name), device=device) for name in ("X", "y", "weight", "offset")}
        return dataclasses.replace(block, **arrays)
    if kind == "float32":
        arrays = {name: getattr(block, name).astype("float32") for name in ("X", "y", "weight", "offset")}
        return dataclasses.replace(block, **arrays)
    return dataclasses.replace(block, X=scipy.sparse.csr_array(X)) if kind == "csr" else block


@cases(
    "kind, steps, activation",
    product(["strict", "csr", "float32"], ["fast", "gradient", "reference"], ["relu", "tanh"]),
)
def test_any_array_type_and_device_gives_the_same_numbers(kind, steps, activation):
    solver, ends = PDADMM(nu=0.1, rho=0.2, steps=steps), []
    for block in (parts_of("numpy"), parts_of(kind)):
        F = objective([block], L2(1e-3), activation=activation)
        states, _ = walk(F, solver, 3)
        ends.append(states[-1])
    tol = 1e-4 if kind == "float32" else 1e-8  # Newton's method for tanh ends where it hardly moves
    np.testing.assert_allclose(ends[1].W, ends[0].W, rtol=tol, atol=tol)
    split = ends[1].splits.parts[0][0]
    assert {str(a.dtype).rpartition(".")[2] for a in (*split.P, *split.Z, *split.Q, *split.U)} == {
        "float32" if kind == "float32" else "float64"
    }
    np.testing.assert_allclose(to_host(split.Q[1]), ends[0].splits.parts[0][0].Q[1], rtol=tol, atol=tol)


def test_an_iteration_is_one_pass_that_sends_moments():
    F = network(blobs(), (6, 5), m=3)
    solver = PDADMM()
    state = solver.init(F, F.null)
    before = F.blocks.meter.snapshot()
    solver.step(F, state)
    spent = {key: count - before[key] for key, count in F.blocks.meter.snapshot().items()}
    sizes = F.layers.sizes  # 4, 6, 5, 3
    moments = sum((n + 1) * m for n, m in zip(sizes, sizes[1:], strict=False)) + 7**2 + 6**2
    down = F.size + 6 * 5 + 5 * 3
    counts = {"passes": 1, "epochs": 1.0, "rounds": 2}
    assert spent == {**counts, "bytes_up": 3 * 8 * (moments + 9), "bytes_down": 3 * 8 * down}


def test_f_is_evaluated_every_few_iterations():
    F = network(blobs(), (6,), m=1)
    rare, often = (walk(F, PDADMM(evaluate_every=n), 4)[0] for n in (2, 1))
    np.testing.assert_array_equal(rare[-1].W, often[-1].W)
    assert [np.isfinite(state.value) for state in rare] == [True, False, True, False, True]
    assert rare[2].value == often[2].value


def test_hidden_layers_do_not_see_a_common_factor_of_nu_and_rho():
    """Exactly, where it begins at once: the schedule scales the duals too, and only the output layer notices."""
    F = network(blobs(), (6,), m=2, ridge=0.0)
    plain = PDADMM(nu=1e-3, rho=2e-3, **FOREVER)
    scheduled = dataclasses.replace(plain, schedule_factor=10.0, schedule_every=3, schedule_cap=5e-3)
    one, other = walk(F, plain, 4)[0], walk(F, scheduled, 4)[0]
    np.testing.assert_array_equal(one[3].W, other[3].W)
    assert (other[3].nu, other[3].rho) == pytest.approx((5e-3, 1e-2))
    first = [variables(F, states[3]) for states in (one, other)]
    np.testing.assert_allclose(first[1][0][0], first[0][0][0], rtol=1e-12)  # P of the coming iteration
    np.testing.assert_allclose(first[1][3][0], 5 * first[0][3][0], rtol=1e-12)
    np.testing.assert_allclose(F.layers.of(other[4].W)[0][0], F.layers.of(one[4].W)[0][0], rtol=1e-10)
    assert walk(F, scheduled, 7)[0][-1].nu == pytest.approx(5e-3)


def test_mean_scale_multiplies_nu_and_rho_by_the_weight():
    F = network(blobs(), m=1)
    one = walk(F, PDADMM(nu=0.6, rho=1.2), 3)[0][-1]
    other = walk(F, PDADMM(nu=0.01, rho=0.02, loss_scale="mean"), 3)[0][-1]
    np.testing.assert_allclose(one.W, other.W, rtol=1e-12)


def test_it_ends_when_it_has_settled():
    F = network(blobs(), (5,), m=1)
    with pytest.warns(UserWarning, match="settled.*no longer changes"):
        result = minimize(F, PDADMM(nu=1.0, rho=5.0, lagrangian_tol=1e-3, relative_tol=1e-2), max_iter=500, tol=0.0)
    assert result.status is Status.SETTLED and result.n_iter < 500
    last = [row["lagrangian"] for row in result.history.records[-2:]]
    assert last[0] - last[1] <= 1e-3 * last[1]


@pytest.mark.parametrize(
    "options",
    [
        {"nu": 0.0},
        {"rho": np.inf},
        {"steps": "newton"},
        {"kappa": -1.0},
        {"evaluate_every": 0},
        {"loss_scale": "max"},
        {"schedule_every": 0},
        {"output_solver": "newton"},
        {"grow_after": 0},
    ],
    ids=repr,
)
def test_bad_options_are_refused(options):
    with pytest.raises(UnsupportedError, match=f"'pdadmm' got {next(iter(options))}=.*; it must be"):
        minimize(network(blobs()), PDADMM(**options))


def learn(solver, n, at, hidden=(100, 100, 100), **options):
    """Return the part of the rows right at some iterations, and the records."""
    F = network(digits(), hidden, m=1, activation="relu", ridge=0.0, initialisation="gauss", **options)
    right = {}

    def look(row, state):
        if row["iteration"] in at:
            right[row["iteration"]] = 1 - error(F, state.W, digits())
        return row["iteration"] == n

    return right, minimize(F, solver, tol=0.0, max_iter=n, callbacks=[look]).history.records


def test_digits_are_learnt_in_few_iterations():
    """A prototype had 0.914 after 10 iterations, 0.967 after 25."""
    right, records = learn(PDADMM(**FOREVER), 25, (10, 25))
    assert right[10] >= 0.85 and right[25] >= 0.95
    L = [row["lagrangian"] for row in records[1:]]
    assert np.all(np.diff(L) <= 1e-9 * np.abs(L[1:]))
    assert records[-1]["passes"] == 26


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "n", "least", "most"),
    [
        ("fast", 50, 0.96, 1.0),
        ("gradient", 100, 0.93, 1.0),
        ("reference", 100, 0.3, 0.75),
    ],
)
def test_step_rules_at_equal_iterations(steps, n, least, most):
    """A prototype had 0.982, 0.963 and 0.604."""
    right, records = learn(PDADMM(steps=steps, **FOREVER), n, (n,))
    assert least <= right[n] <= most
    L = [row["lagrangian"] for row in records[1:]]
    assert np.all(np.diff(L) <= 1e-9 * np.abs(L[1:]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nu", "rho", "at_50", "at_100", "residual"),
    [
        (1.0, 4.01, 0.870, 0.936, 0.03),
        (0.1, 0.5, 0.882, 0.941, 0.03),
        (1.0, 1.0, 0.881, 0.941, 0.15),
        (0.01, 0.01, 0.891, 0.951, 0.17),
    ],
)
def test_gradient_steps_learn_as_a_prototype_did(nu, rho, at_50, at_100, residual):
    """From other random weights, so within two points; its residual was at most half of the bound."""
    right, records = learn(PDADMM(nu=nu, rho=rho, steps="gradient", **FOREVER), 100, (50, 100))
    assert right[50] >= at_50 - 0.02 and right[100] >= at_100 - 0.02
    L = [row["lagrangian"] for row in records[1:]]
    assert np.all(np.diff(L) <= 1e-9 * np.abs(L[1:]))
    assert records[-1]["primal_residual"] <= residual


@pytest.mark.slow
def test_the_residual_goes_to_zero():
    _, records = learn(PDADMM(nu=1.0, rho=5.0, steps="gradient", **FOREVER), 200, ())
    assert records[-1]["primal_residual"] < 1e-2


def test_new_layers_join_as_identities():
    F = network(blobs(), (7, 6, 6, 6), m=2, activation="relu", ridge=0.0, initialisation="gauss")
    small = network(blobs(), (7, 6), m=2, activation="relu", ridge=0.0, initialisation="gauss")
    solver = PDADMM(nu=0.1, rho=0.2, first_layers=2, grow_after=4, **FOREVER)
    states, infos = walk(F, solver, 7)
    theta = np.concatenate([F.null[: 4 * 7 + 7 * 6], F.null[F.layers.slices[-1][0]], np.zeros((16, 1))])
    for part, ours in zip((0, 1, -1), (0, 1, 2), strict=True):
        theta[small.layers.slices[ours][1]] = F.null[F.layers.slices[part][1]]
    plain = PDADMM(nu=0.1, rho=0.2, **FOREVER)
    other = plain.init(small, theta)
    for state, info in zip(states[1:5], infos, strict=False):
        other, expected = plain.step(small, other)
        for part, ours in zip((0, 1, -1), (0, 1, 2), strict=True):
            for a, b in zip(F.layers.of(state.W)[part], small.layers.of(other.W)[ours], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
        for W, b in F.layers.of(state.W)[2:4]:
            np.testing.assert_array_equal(W, np.eye(6))
            np.testing.assert_array_equal(b, np.zeros(6))
        assert state.value == pytest.approx(F.value(state.W), rel=1e-12)
        assert info.extra["lagrangian"] == pytest.approx(expected.extra["lagrangian"], rel=1e-10)
    P, Z, Q, U, _ = variables(F, states[4])
    assert [len(found) for found in (P, Z, Q, U)] == [4, 5, 4, 4]
    for j in (2, 3):
        np.testing.assert_array_equal(Z[j], P[j - 1])
        np.testing.assert_array_equal(Q[j], np.maximum(Z[j], 0))
        np.testing.assert_array_equal(P[j], Q[j])
        assert not U[j].any()
    assert not np.array_equal(F.layers.of(states[5].W)[2][0], np.eye(6))
    L = [info.extra["lagrangian"] for info in infos]
    assert np.all(np.diff(L[4:]) < 0)


@pytest.mark.parametrize(
    ("hidden", "activation", "first"), [((6, 5, 5), "relu", 1), ((6, 6), "tanh", 1), ((6, 6), "relu", 0)]
)
def test_layers_that_cannot_be_identities_are_refused(hidden, activation, first):
    with pytest.raises(UnsupportedError, match="'pdadmm' got first_layers"):
        minimize(network(blobs(), hidden, activation=activation), PDADMM(first_layers=first))


def test_a_rise_of_the_lagrangian_is_noted():
    """With rho a tenth of nu nothing holds it; a prototype had the first rise at iteration 2, by 9 %."""
    F = network(some_digits(), (30, 30), m=1, activation="relu", ridge=0.0, initialisation="gauss")
    states, infos = walk(F, PDADMM(nu=1.0, rho=0.05, steps="gradient"), 15)
    rises = [b.lagrangian > a.lagrangian * (1 + 1e-6) for a, b in zip(states, states[1:], strict=False)]
    assert any(rises)
    assert [info.note == "Lagrangian rose" for info in infos] == rises
