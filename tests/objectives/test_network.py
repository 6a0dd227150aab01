"""Networks: derivatives against differences, curvature against explicit Jacobians, what blocks and weights change."""

from dataclasses import replace
from itertools import pairwise, product

import array_api_strict as strict
import numpy as np
import pytest
import scipy.sparse
from matrices import messy, thinned
from pairwise import cases

from dask_newton.arrays import to_host
from dask_newton.blocks import SerialBlocks, thread_budget
from dask_newton.losses import Logistic, Softmax, Squared
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.network import block as network_block
from dask_newton.objectives.network.activations import ACTIVATIONS, Identity, Tanh
from dask_newton.objectives.network.block import NetworkBlock
from dask_newton.objectives.network.layers import INITIALISATIONS, Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L2, NoPenalty

N, TANH, RIDGE = 40, Tanh(), L2(1e-3)
LOSSES = {"softmax": Softmax(3), "logistic": Logistic(), "squared": Squared(3)}
each_activation = pytest.mark.parametrize("activation", [cls() for cls in ACTIVATIONS.values()], ids=list(ACTIVATIONS))
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def rows(loss, n=N, weighted=True, sparse=False, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    X = thinned(X, rng) if sparse else X
    y = {3: rng.integers(0, 3, n).astype(float), 1: rng.integers(0, 2, n).astype(float)}[loss.n_outputs]
    y = rng.normal(size=(n, 3)) if isinstance(loss, Squared) else y
    weight = rng.uniform(0.5, 2, n) * (rng.random(n) > 0.1) if weighted else None
    return RowBlock(X, y, weight, rng.normal(size=(n, loss.n_outputs)), loss)


def layers(activation=TANH, loss=LOSSES["softmax"], hidden=(7, 6)):
    return Layers((5, *hidden, loss.n_outputs), activation)


def objective(block, network, m=3, penalty=RIDGE, **options):
    blocks = SerialBlocks(m)
    parts = [block.take(part) for part in np.array_split(np.arange(block.n_rows), m)]
    return NetworkObjective.from_blocks(blocks, blocks.place(parts), network, penalty, **options)


def point_and_direction(F, seed=1):
    """Return random parameters, and a random direction of length 1."""
    theta, v = 0.7 * np.random.default_rng(seed).normal(size=(2, *F.shape))
    return theta, v / np.linalg.norm(v)


def close(a, b, rtol=1e-12):
    b = np.asarray(b)
    np.testing.assert_allclose(to_host(a), b, rtol=0, atol=rtol * max(1.0, np.abs(b).max(initial=0)))


def matrix(mul, size):
    return np.column_stack([mul(e[:, None])[:, 0] for e in np.eye(size)])


# Layers


def test_layers_are_views_of_one_vector_with_all_weights_first():
    network = layers()
    theta = np.arange(float(network.n_parameters))[:, None]
    views = network.of(theta)
    assert [(W.shape, b.shape) for W, b in views] == [((5, 7), (7,)), ((7, 6), (6,)), ((6, 3), (3,))]
    assert all(np.shares_memory(a, theta) for layer in views for a in layer)
    order = [W.ravel() for W, _ in views] + [b for _, b in views]
    np.testing.assert_array_equal(np.concatenate(order), theta[:, 0])
    assert network.n_weights == 35 + 42 + 18
    assert network.n_parameters == network.n_weights + 16


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_every_layer_has_a_random_stream_of_its_own(name):
    wide, narrow = Layers((50, 40, 40, 40)), Layers((50, 40, 40, 7))
    a, b = (network.of(network.start(3, name)) for network in (wide, narrow))
    for (W, c), (V, d) in zip(a[:2], b[:2], strict=True):
        np.testing.assert_array_equal(W, V)
        np.testing.assert_array_equal(c, d)
    assert abs(np.corrcoef(a[1][0].ravel(), a[2][0].ravel())[0, 1]) < 0.1
    deviation = {"glorot": (2 / 90) ** 0.5, "he": (2 / 50) ** 0.5, "gauss": 0.1}[name]
    assert a[0][0].std() == pytest.approx(deviation, rel=0.1)
    assert a[0][1].any() == (name == "gauss")


def test_wrong_networks_are_refused():
    with pytest.raises(ValueError, match="sizes=.*needs features, outputs and units"):
        Layers((5,))
    with pytest.raises(ValueError, match="initialisation='ones'"):
        layers().start(0, "ones")
    with pytest.raises(ValueError, match="has 5 inputs and 4 outputs, but there are 5 features, and .* has 3 outputs"):
        objective(rows(Softmax(3)), Layers((5, 4)))


@each_activation
def test_derivatives_of_activations(activation):
    z, h = np.linspace(-3, 3, 100), 1e-5  # zero, where relu has no derivative, is not among them
    a = activation.value(z)
    close(activation.derivative(a), (activation.value(z + h) - activation.value(z - h)) / (2 * h), 1e-9)
    derivatives = [activation.derivative(activation.value(z + s * h)) for s in (1, -1)]
    ratio = activation.derivative_ratio(a)
    close(
        0 * z if ratio is None else ratio * activation.derivative(a), (derivatives[0] - derivatives[1]) / (2 * h), 1e-9
    )


def test_derivatives_at_zero():
    zero = np.zeros(1)
    assert [float(cls().derivative(cls().value(zero))[0]) for _, cls in sorted(ACTIVATIONS.items())] == [
        1.0,
        0.01,
        0.25,
        0.0,
        1.0,
    ]
    assert np.isfinite(ACTIVATIONS["logistic"]().value(np.array([-1e4, 1e4]))).all()


# Derivatives


@each_activation
@each_loss
def test_gradient_and_hessian_agree_with_differences(activation, loss):
    F = objective(rows(loss), layers(activation, loss))
    theta, v = point_and_direction(F)
    point, h = F.at(theta), 1e-6
    up, down = F.at(theta + h * v), F.at(theta - h * v)
    assert np.vdot(point.gradient, v) == pytest.approx((up.value - down.value) / (2 * h), rel=1e-6, abs=1e-9)
    close(F.hess_mul(point, v), (up.gradient - down.gradient) / (2 * h), 1e-6)
    assert F.value(theta) == pytest.approx(point.value, rel=1e-14)


def test_value_is_that_of_the_formula():
    block = rows(Squared(3))
    F = objective(block, layers(Tanh(), block.loss), penalty=L2(0.1))
    theta, _ = point_and_direction(F)
    (W1, b1), (W2, b2), (W3, b3) = F.layers.of(theta)
    z = np.tanh(np.tanh(block.X @ W1 + b1) @ W2 + b2) @ W3 + b3 + block.offset
    norms = sum((W**2).sum() for W in (W1, W2, W3))
    loss = (block.weight * ((z - block.y) ** 2).sum(axis=1) / 2).sum() / block.weight.sum()
    assert F.value(theta) == pytest.approx(loss + 0.05 * norms, rel=1e-14)
    with_biases = replace(F, penalize_bias=True)
    biases = sum((b**2).sum() for b in (b1, b2, b3))
    assert with_biases.value(theta) == pytest.approx(loss + 0.05 * (norms + biases), rel=1e-14)
    close(with_biases.at(theta).gradient - F.at(theta).gradient, np.r_[np.zeros(95), 0.1 * theta[95:, 0]][:, None])


@each_activation
@each_loss
def test_curvature(activation, loss):
    """The Hessian is symmetric; the Gauss-Newton matrix is sum s J' H J with the Jacobian by differences."""
    block = rows(loss, 12)
    F = objective(block, layers(activation, loss, (4,)), penalty=NoPenalty())
    theta, _ = point_and_direction(F)
    point = F.at(theta)
    H, G = (matrix(lambda v, f=f: f(point, v), F.size) for f in (F.hess_mul, F.gauss_newton_mul))
    close(H, H.T, 1e-13)
    close(G, G.T, 1e-13)
    assert np.linalg.eigvalsh(G).min() >= -1e-13

    def margins(theta):
        (W1, b1), (W2, b2) = F.layers.of(theta)
        return activation.value(block.X @ W1 + b1) @ W2 + b2 + block.offset

    h = 1e-5
    steps = h * np.eye(F.size)[:, :, None]
    J = np.stack([(margins(theta + e) - margins(theta - e)) / (2 * h) for e in steps])
    inner = loss.linearize(block.y, margins(theta))[2]
    HJ = np.stack([loss.hess_mul(inner, j) for j in J])
    expected = np.einsum("pnk,n,qnk->pq", J, block.weight, HJ) / block.weight.sum()
    close(G, expected, 1e-8)


def test_hessian_is_indefinite_where_gauss_newton_is_not():
    F = objective(rows(LOSSES["softmax"]), layers(), penalty=NoPenalty())
    theta, _ = point_and_direction(F)
    point = F.at(theta)
    H = matrix(lambda v: F.hess_mul(point, v), F.size)
    assert np.linalg.eigvalsh((H + H.T) / 2).min() < -1e-3


@each_loss
def test_network_without_hidden_layers_is_the_linear_model(loss):
    block = rows(loss)
    F = objective(block, Layers((5, loss.n_outputs), Identity()), penalty=L2(0.1))
    blocks = SerialBlocks(1)
    reference = LinearObjective.from_blocks(blocks, blocks.place([block]), L2(0.1))
    W, V = np.random.default_rng(3).normal(size=(2, *reference.shape))
    point, expected = F.at(W.reshape(-1, 1)), reference.at(W)
    assert point.value == pytest.approx(expected.value, rel=1e-14)
    close(point.gradient, expected.gradient.reshape(-1, 1))
    for mul in (F.hess_mul, F.gauss_newton_mul):
        close(mul(point, V.reshape(-1, 1)), reference.hess_mul(expected, V).reshape(-1, 1))


# Rows, weights and blocks


def results(F, theta, v):
    point = F.at(theta)
    products = [F.hess_mul(point, v), F.gauss_newton_mul(point, v)]
    return [point.value, point.gradient, *products, F.values((theta, theta + v))]


@each_loss
def test_weight_two_is_the_row_twice_and_weight_zero_is_no_row(loss):
    block, times = rows(loss, weighted=False), np.random.default_rng(5).integers(0, 3, N)
    weighted = replace(block, weight=times.astype(float))
    repeated = block.take(np.repeat(np.arange(N), times))
    F, G = (objective(b, layers(loss=loss)) for b in (weighted, repeated))
    for a, b in zip(results(F, *point_and_direction(F)), results(G, *point_and_direction(F)), strict=True):
        close(a, b)


@pytest.mark.parametrize("m", [2, 7, N])
def test_blocks_do_not_matter(m):
    block = rows(LOSSES["softmax"])
    one, many = objective(block, layers(), 1), objective(block, layers(), m)
    np.testing.assert_array_equal(one.null, many.null)
    for a, b in zip(results(one, *point_and_direction(one)), results(many, *point_and_direction(one)), strict=True):
        close(a, b)


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(network_block, "_HOST_ROWS", 9)
    monkeypatch.setattr(network_block, "_DEVICE_BYTES", 1)


@each_loss
def test_tiles_and_what_is_remembered_do_not_matter(loss, small_tiles, monkeypatch):
    block = rows(loss)
    F = objective(block, layers(loss=loss), 2)
    forgetful = objective(block, layers(loss=loss), 2, cache_limit=0)
    theta, v = point_and_direction(F)
    here, again = results(F, theta, v), results(forgetful, theta, v)
    for a, b in zip(here, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(len(kept.states) == 3 for kept in F.at(theta).curvature.parts)
    assert all(kept.states == () for kept in forgetful.at(theta).curvature.parts)
    monkeypatch.undo()
    for a, b in zip(here, results(F, theta, v), strict=True):
        close(a, b)


def test_bits_do_not_depend_on_the_number_of_threads(small_tiles):
    F = objective(rows(LOSSES["softmax"], 300), layers(), 1)
    found = []
    for n in (1, 3):
        with thread_budget(n):
            found.append(results(F, *point_and_direction(F)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def kernels(block, network, theta, v):
    kernel = NetworkBlock(block, network)
    value, gradient, kept = kernel.linearize(theta, keep=True)
    products = [kernel.hess_mul(kept, v, exact=exact) for exact in (True, False)]
    forgotten = kernel.hess_mul(kernel.remember(theta, keep=False), v, exact=True)
    return [value, gradient, *products, forgotten, kernel.values((theta, v))]


@cases("activation, loss, dtype", product(ACTIVATIONS, LOSSES, ["float64", "float32"]))
def test_any_array_type_and_device_gives_the_same_numbers(activation, loss, dtype, small_tiles):
    loss = LOSSES[loss]
    block, network = rows(loss), layers(ACTIVATIONS[activation](), loss)
    here = RowBlock(*(a.astype(dtype) for a in (block.X, block.y, block.weight, block.offset)), loss)
    device = strict.Device("device1")
    there = RowBlock(*(strict.asarray(a, device=device) for a in (here.X, here.y, here.weight, here.offset)), loss)
    theta, v = np.random.default_rng(0).normal(size=(2, network.n_parameters, 1))
    for a, b in zip(kernels(here, network, theta, v), kernels(there, network, theta, v), strict=True):
        assert b.device == device
        assert b.dtype == strict.float64
        assert a.dtype == np.float64
        close(b, a, 1e-13 if dtype == "float64" else 1e-5)
    state = NetworkBlock(here, network).linearize(theta, keep=True)[2].states[0]
    assert {a.dtype for a in (*state.activations, *state.deltas, state.curvature)} == {np.dtype(dtype)}


@each_activation
@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csr_matrix, messy])
def test_sparse_rows_give_the_same_numbers(activation, kind, small_tiles):
    loss = LOSSES["softmax"]
    block, network = rows(loss, sparse=True), layers(activation)
    theta, v = np.random.default_rng(0).normal(size=(2, network.n_parameters, 1))
    expected = kernels(block, network, theta, v)
    for a, b in zip(expected, kernels(replace(block, X=kind(block.X)), network, theta, v), strict=True):
        assert type(b) is type(a)
        close(b, a, 1e-13)


# Along directions, samples, passes


def test_along_more_and_step():
    F = objective(rows(LOSSES["softmax"]), layers())
    theta, v = point_and_direction(F)
    point, steps = F.at(theta), (0.5, 1.0, -2.0)
    along = F.along(point, v, steps)
    values = [F.value(theta + a * v) for a in steps]
    close(along.values, values, 1e-14)
    close(F.along(point, v, steps, linearize=False).values, values, 1e-14)
    close(F.more(point, along, (2.0,)).values, [F.value(theta + 2 * v)], 1e-14)
    for moved, size in ((along.first, 0.5), (F.step(point, along, 2.0), 2.0)):
        expected = F.at(theta + size * v)
        np.testing.assert_array_equal(moved.W, expected.W)
        np.testing.assert_array_equal(moved.gradient, expected.gradient)
        np.testing.assert_array_equal(F.hess_mul(moved, v), F.hess_mul(expected, v))


def test_overflow_is_infinite_and_no_warning():
    F = objective(rows(LOSSES["squared"]), layers(Identity(), LOSSES["squared"]))
    theta, v = point_and_direction(F)
    values = F.along(F.at(theta), v, (1.0, 1e200, 1e308), linearize=False).values
    assert np.isfinite(values[0])
    assert values[1] == values[2] == np.inf


@pytest.mark.parametrize(("fraction", "at_least", "drawn"), [(0.5, 1, 7), (0.0, 5, 5), (0.1, 4, 4), (1.0, 1, 14)])
def test_sampled_curvature_is_that_of_the_sample(fraction, at_least, drawn):
    F = objective(rows(LOSSES["softmax"]), layers(), 3)
    theta, v = point_and_direction(F)
    point = F.at(theta)
    model = F.sampled_curvature(point, fraction, 9, at_least)
    if fraction == 1:
        assert model.data is F.data
    parts = list(model.data.parts)
    assert max(part.n_rows for part in parts) == drawn
    assert model.weight == pytest.approx(sum(part.total_weight for part in parts))
    blocks = SerialBlocks(3)
    sampled = NetworkObjective.from_blocks(blocks, blocks.place(parts), F.layers, F.penalty)
    close(model.hess_mul(v), sampled.hess_mul(sampled.at(theta), v))
    assert F.sampled_curvature(point, 0.0, 0, at_least=14).data is F.data
    close(model.gauss_newton_mul(v), sampled.gauss_newton_mul(sampled.at(theta), v))
    again = F.sampled_curvature(point, fraction, 9, at_least)
    np.testing.assert_array_equal(model.hess_mul(v), again.hess_mul(v))
    if fraction < 1:
        assert not np.array_equal(model.hess_mul(v), F.sampled_curvature(point, fraction, 10, at_least).hess_mul(v))
    else:
        close(model.hess_mul(v), F.hess_mul(point, v))


def test_sample_without_weight_is_all_rows():
    block = rows(LOSSES["softmax"])
    block = replace(block, weight=np.r_[np.zeros(N - 1), 1.0])
    F = objective(block, layers(), 1)
    theta, v = point_and_direction(F)
    point = F.at(theta)
    seed = next(s for s in range(9) if np.random.default_rng([s, 0]).random(1)[0] < 0.9)
    np.testing.assert_array_equal(F.sampled_curvature(point, 0.0, seed).hess_mul(v), F.hess_mul(point, v))
    assert F.sample(1e-9, seed) is F


def test_sample_is_an_objective_over_fewer_rows():
    F = objective(rows(LOSSES["softmax"]), layers(), 3)
    part = F.sample(0.5, 1)
    assert [block.n_rows for block in part.data.parts] == list(part.n_rows) == [7, 7, 7]
    assert part.total_weight == pytest.approx(sum(block.total_weight for block in part.data.parts))
    theta, _ = point_and_direction(F)
    assert part.value(theta) != F.value(theta)


def test_every_method_is_one_pass_and_sends_what_it_must():
    F = objective(rows(LOSSES["softmax"]), layers(), 4)
    theta, v = point_and_direction(F)
    P, meter = 8 * F.size, F.blocks.meter
    point = F.at(theta)
    along, sampled = F.along(point, v, (1.0, 0.5)), F.sampled_curvature(point, 0.5, 0)
    sides = [side for n, m in pairwise(F.layers.sizes) for side in (n + 1, m)]
    triangles = 8 * sum(n * (n + 1) // 2 for n in sides)
    calls = {
        "value": (lambda: F.value(theta), P, 8),
        "values": (lambda: F.values((theta, v)), 2 * P, 16),
        "at": (lambda: F.at(theta), P, P + 8),
        "along": (lambda: F.along(point, v, (1.0, 0.5)), 2 * P + 16, P + 16),
        "values along": (lambda: F.along(point, v, (1.0, 0.5), linearize=False), 2 * P + 16, 16),
        "more": (lambda: F.more(point, along, (0.5,)), 2 * P + 8, 8),
        "step": (lambda: F.step(point, along, 0.5), P, P + 8),
        "hess_mul": (lambda: F.hess_mul(point, v), P, P),
        "sampled": (lambda: sampled.gauss_newton_mul(v), P, P),
        "sampled_curvature": (lambda: F.sampled_curvature(point, 0.5, 0), P + 24, 8),
        "sample": (lambda: F.sample(0.5, 0), 16, 8),
        "batch_gradient": (lambda: F.batch_gradient(theta, 1, 4, (0, 0)), P + 32, P),
        "at_with_factors": (lambda: F.at_with_factors(theta), P, P + 8 + triangles),
    }
    shares = {"sampled": 0.5, "sampled_curvature": 0.5, "sample": 0.5, "batch_gradient": 0.25}
    for name, (call, down, up) in calls.items():
        before = meter.snapshot()
        call()
        spent = {key: count - before[key] for key, count in meter.snapshot().items()}
        assert spent.pop("epochs") == pytest.approx(shares.get(name, 1.0), abs=0.1)
        assert spent == {"passes": 1, "rounds": 2, "bytes_up": 4 * up, "bytes_down": 4 * down}, name
    before = meter.passes
    F.curvature(point)
    assert meter.passes == before


def test_bad_rows_are_errors():
    block = rows(LOSSES["softmax"])
    X = block.X.copy()
    X[3, 2] = np.nan
    with pytest.raises(ValueError, match="Block 0 of the data contains NaN or infinity in X"):
        objective(replace(block, X=X), layers())
    with pytest.raises(ValueError, match="targets that Logistic does not allow"):
        objective(replace(block, loss=Logistic()), layers(loss=Logistic()))
