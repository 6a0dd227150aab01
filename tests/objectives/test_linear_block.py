"""The arithmetic of one block against plain dense formulas, on every loss."""

import dataclasses
import pickle
import tracemalloc
from itertools import product

import array_api_strict as strict
import numpy as np
import pytest
import scipy.sparse
from catalogue import LOSSES
from dask.sizeof import sizeof
from matrices import KINDS, messy, thinned
from pairwise import cases
from problems import Dense

from dask_newton import arrays
from dask_newton.arrays import to_host
from dask_newton.blocks import thread_budget
from dask_newton.losses import Logistic, Softmax
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.rows import tiles
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import NoPenalty

N, P = 700, 5
OPTIONS = {
    "plain": (False, False, False),
    "intercept": (False, False, True),
    "weights": (True, False, False),
    "all": (True, True, True),
}


def make(loss_name, options="all", n=N, p=P, seed=0, sparse=False):
    """Return a dense model without penalty, a point and a direction; with ``sparse`` most of its X is zero."""
    case, rng = LOSSES[loss_name], np.random.default_rng(seed)
    weighted, offset, fit_intercept = OPTIONS[options]
    K = case.loss.n_outputs
    X, y = rng.normal(size=(n, p)), case.targets(rng, n)
    X = thinned(X, rng) if sparse else X
    weight = rng.uniform(0, 2, n) * (rng.random(n) > 0.2) if weighted else np.ones(n)
    shift = rng.normal(size=(n, K)) if offset else 0.0
    W, D = rng.normal(size=(2, p + fit_intercept, K))
    return Dense(X, y, weight, shift, case.loss, fit_intercept, NoPenalty()), W, D


def block_of(model, move=np.asarray, dtype="float64"):
    columns = (model.X, model.y, model.weight, model.offset)
    if np.all(model.weight == 1):
        columns = (model.X, model.y, None, model.offset)
    moved = [move(a.astype(dtype)) if isinstance(a, np.ndarray) else None for a in columns]
    return LinearBlock(RowBlock(*moved, model.loss), model.fit_intercept)


def sparse_block_of(model, kind="csr_array", dtype="float64"):
    block = block_of(model, dtype=dtype)
    rows = dataclasses.replace(block.rows, X=KINDS[kind](model.X.astype(dtype)))
    return dataclasses.replace(block, rows=rows)


def taken(block, index):
    return dataclasses.replace(block, rows=block.rows.take(index))


def summed(model, W):
    """Return value, gradient and Hessian of the sum over the rows."""
    S = model.weight.sum()
    return S * model.value(W), S * model.gradient(W), S * model.hessian(W)


def close(a, b, rtol=1e-13):
    """Equal up to rounding, relative to the largest entry."""
    b = np.asarray(b)
    np.testing.assert_allclose(to_host(a), b, rtol=0, atol=rtol * max(1.0, np.abs(b).max(initial=0)))


TILINGS = ["one tile", "many tiles"]
DTYPES = ["float64", "float32"]


@pytest.fixture(params=TILINGS)
def tiling(request, monkeypatch):
    """Small blocks fit into one tile; with a small cache there are several, and stripes of them."""
    if request.param == "many tiles":
        monkeypatch.setattr(tiles, "_TILE_BYTES", {True: 4096, False: 4096})
        assert len(tiles.tiles(np.zeros((N, P)))) > 2
        assert len(tiles.tiles(scipy.sparse.csr_array(np.ones((N, P))))) > 2


every_model = pytest.mark.parametrize("options", OPTIONS)
every_loss = pytest.mark.parametrize("loss_name", LOSSES)
every_block = cases("loss_name, options, tiling", product(LOSSES, OPTIONS, TILINGS), indirect=["tiling"])


@every_block
def test_ray_at_a_point(loss_name, options, tiling):
    model, W, _ = make(loss_name, options)
    value, gradient, _ = summed(model, W)
    ray = block_of(model).ray(W)
    close(ray.values, [value])
    close(ray.gradient, gradient)
    close(np.concatenate(ray.margins), model.A @ W + model.offset)
    assert ray.direction_margins == ()


@every_block
def test_ray_along_a_direction(loss_name, options, tiling):
    model, W, D = make(loss_name, options)
    steps = (0.5, 1.0, 0.0, -2.0)
    ray = block_of(model).ray(W, D, steps)
    close(ray.values, [summed(model, W + a * D)[0] for a in steps])
    close(ray.gradient, summed(model, W + 0.5 * D)[1])
    close(np.concatenate(ray.direction_margins), model.A @ D)


@every_loss
def test_remembered_margins_and_slopes_give_the_same_ray(loss_name, tiling):
    model, W, D = make(loss_name)
    block, steps = block_of(model), (0.25, 1.0)
    fresh = block.ray(W, D, steps)
    at_W = block.ray(W)
    by_margins = block.ray(None, D, steps, margins=at_W.margins)
    by_both = block.ray(steps=steps, margins=at_W.margins, direction_margins=by_margins.direction_margins)
    for ray in (by_margins, by_both):
        close(ray.values, fresh.values, 1e-14)
        close(ray.gradient, fresh.gradient, 1e-14)
        close(np.concatenate(ray.margins), np.concatenate(fresh.margins), 1e-14)
    without = block.ray(
        steps=steps, margins=at_W.margins, direction_margins=by_margins.direction_margins, gradient=False
    )
    assert without.gradient is None
    assert without.curvature == ()
    close(without.values, fresh.values, 1e-14)


@every_block
def test_hessian_products_are_those_of_the_explicit_hessian(loss_name, options, tiling):
    model, W, V = make(loss_name, options)
    block, H = block_of(model), summed(model, W)[2]
    curvature = block.ray(W).curvature
    close(block.hess_mul(curvature, V), (H @ V.ravel()).reshape(V.shape))
    close(block.hess_diag(curvature), np.diag(H).reshape(V.shape))


@every_loss
def test_hessian_is_symmetric(loss_name):
    model, W, V = make(loss_name)
    block = block_of(model)
    curvature = block.ray(W).curvature
    u, v = V, np.roll(V, 1)
    uHv, vHu = np.vdot(u, block.hess_mul(curvature, v)), np.vdot(v, block.hess_mul(curvature, u))
    assert uHv == pytest.approx(vHu, rel=1e-12)


@every_loss
def test_product_with_several_vectors_is_a_loop(loss_name, tiling):
    model, W, _ = make(loss_name)
    block, V = block_of(model), np.random.default_rng(4).normal(size=(*W.shape, 3))
    curvature = block.ray(W).curvature
    close(block.hess_mul(curvature, V), np.stack([block.hess_mul(curvature, V[..., b]) for b in range(3)], axis=2))


@every_block
def test_grams_are_weighted_products(loss_name, options, tiling):
    model, W, _ = make(loss_name, options)
    block, K = block_of(model), model.loss.n_outputs
    curvature = block.ray(W).curvature
    pairs = [(0, 0), (0, K - 1), (K - 1, K - 1)]
    entries = [lambda loss, c, k=k, j=j: loss.hess_entry(c, k, j) for k, j in pairs]
    for (k, j), gram in zip(pairs, block.grams(curvature, entries), strict=True):
        h = model.weight * model.parts(W)[2][:, k, j]
        close(gram, model.A.T @ (h[:, None] * model.A))
    ones = np.ones((len(model.X), 1))
    close(block.rows.column_squares(), model.weight @ np.hstack([model.X, ones]) ** 2)


def test_grams_of_many_features_are_put_together_from_panels():
    """512 columns to a panel: 600 features have an off-diagonal one, mirrored."""
    model, W, _ = make("softmax-reference", "all", n=300, p=600)
    block = block_of(model)
    entries = [lambda loss, c: loss.hess_entry(c, 0, 1), lambda loss, c: loss.hess_entry(c, 2, 2)]
    first, second = block.grams(block.ray(0.1 * W).curvature, entries)
    H = model.parts(0.1 * W)[2]
    close(first, model.A.T @ ((model.weight * H[:, 0, 1])[:, None] * model.A))
    close(second, model.A.T @ ((model.weight * H[:, 2, 2])[:, None] * model.A))


@every_loss
@every_model
def test_block_without_rows_adds_nothing(loss_name, options):
    model, W, D = make(loss_name, options)
    block = taken(block_of(model), np.arange(0))
    ray = block.ray(W, D, (1.0, 0.5))
    close(ray.values, [0.0, 0.0])
    close(ray.gradient, np.zeros_like(W))
    assert ray.margins == ray.curvature == ray.direction_margins == ()
    close(block.hess_mul(ray.curvature, D), np.zeros_like(W))
    close(block.hess_mul(ray.curvature, np.stack([D, D], axis=2)), np.zeros((*W.shape, 2)))
    close(block.hess_diag(ray.curvature), np.zeros_like(W))
    close(block.grams((), [lambda loss, c: loss.hess_entry(c, 0, 0)])[0], np.zeros((len(W), len(W))))
    close(block.rows.column_squares(), np.zeros(block.rows.X.shape[1] + 1))
    assert block.rows.total_weight == 0


@every_loss
def test_weight_two_is_the_row_twice_and_weight_zero_is_no_row(loss_name):
    model, W, V = make(loss_name)
    block, rng = block_of(model), np.random.default_rng(5)
    times = rng.integers(0, 3, N)
    weighted = LinearBlock(dataclasses.replace(block.rows, weight=times.astype(float)), True)
    repeated = taken(LinearBlock(dataclasses.replace(block.rows, weight=None), True), np.repeat(np.arange(N), times))
    a, b = weighted.ray(W), repeated.ray(W)
    close(a.values, b.values)
    close(a.gradient, b.gradient)
    close(weighted.hess_mul(a.curvature, V), repeated.hess_mul(b.curvature, V))
    close(weighted.hess_diag(a.curvature), repeated.hess_diag(b.curvature))
    assert weighted.rows.total_weight == repeated.rows.total_weight


@every_loss
def test_intercept_is_a_column_of_ones(loss_name):
    model, W, V = make(loss_name)
    block = block_of(model)
    ones = LinearBlock(dataclasses.replace(block.rows, X=model.A), False)
    a, b = block.ray(W), ones.ray(W)
    close(a.values, b.values)
    close(a.gradient, b.gradient)
    close(block.hess_mul(a.curvature, V), ones.hess_mul(b.curvature, V))
    entry = [lambda loss, c: loss.hess_entry(c, 0, 0)]
    close(block.grams(a.curvature, entry)[0], ones.grams(b.curvature, entry)[0])


def kernels(block, W, D, V):
    """Return the results of all kernels, for comparisons."""
    ray = block.ray(W, D, (1.0, 0.5))
    entry = [lambda loss, c: loss.hess_entry(c, 0, 0)]
    return [
        ray.values,
        ray.gradient,
        block.hess_mul(ray.curvature, D),
        block.hess_mul(ray.curvature, V),
        block.hess_diag(ray.curvature),
        block.grams(ray.curvature, entry)[0],
        block.rows.column_squares(),
    ]


@every_loss
def test_bits_do_not_depend_on_the_number_of_threads(loss_name, monkeypatch):
    monkeypatch.setattr(tiles, "_TILE_BYTES", {True: 4096, False: 4096})
    model, W, D = make(loss_name, n=3000)
    block, V, results = block_of(model), np.stack([D, W], axis=2), []
    for n in (1, 2, 4):
        with thread_budget(n):
            results.append(kernels(block, W, D, V))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@cases("loss_name, options, dtype, tiling", product(LOSSES, OPTIONS, DTYPES, TILINGS), indirect=["tiling"])
def test_any_array_type_and_device_gives_the_same_numbers(loss_name, options, dtype, tiling):
    model, W, D = make(loss_name, options)
    device = strict.Device("device1")
    here = block_of(model, dtype=dtype)
    there = block_of(model, lambda a: strict.asarray(a, device=device), dtype)
    V = np.stack([D, W], axis=2)
    W1, D1, V1 = (strict.asarray(a, device=device) for a in (W, D, V))
    # Tiles are cut elsewhere, so sums differ by rounding, of the dtype inside a tile.
    rtol = 1e-13 if dtype == "float64" else 1e-5
    for a, b in zip(kernels(here, W, D, V), kernels(there, W1, D1, V1), strict=True):
        assert b.device == device
        assert b.dtype == strict.float64
        close(b, a, rtol)
    close(there.ray(W).gradient, here.ray(W).gradient, rtol)  # the driver's vectors may come as they are
    assert {m.dtype for m in there.ray(W1).margins} == {getattr(strict, dtype)}


@every_loss
def test_float32_blocks_remember_float32_and_sum_in_float64(loss_name, tiling):
    model, W, D = make(loss_name)
    block = block_of(model, dtype="float32")
    ray = block.ray(W, D, (1.0, 0.5))
    for tile in (*ray.margins, *ray.curvature, *ray.direction_margins):
        assert tile.dtype == np.float32
    value, gradient, H = summed(model, W + D)
    # 700 rows of rounding errors 6e-8 each, relative to the largest entry.
    close(ray.values[0], value, 1e-5)
    close(ray.gradient, gradient, 1e-5)
    close(block.hess_mul(ray.curvature, D), (H @ D.ravel()).reshape(D.shape), 1e-5)
    close(block.hess_diag(ray.curvature), np.diag(H).reshape(D.shape), 1e-5)
    for array in kernels(block, W, D, np.stack([D, W], axis=2)):
        assert array.dtype == np.float64


def test_value_of_many_float32_rows_is_summed_in_float64():
    """In float32 a sum of 2^25 equal terms would stop growing at 2^24; here 2^18 rows would lose two digits."""
    n = 2**18
    block = LinearBlock(RowBlock(np.zeros((n, 1), "float32"), np.zeros(n, "float32"), None, None, Logistic()), False)
    assert block.ray(np.zeros((1, 1))).values[0] == pytest.approx(n * np.log(2), rel=1e-7)


@pytest.mark.parametrize("order", ["C", "F"])
def test_layout_of_X_does_not_matter(order):
    model, W, D = make("softmax")
    block = block_of(model)
    rows = dataclasses.replace(block.rows, X=np.asarray(block.rows.X, order=order))
    other = dataclasses.replace(block, rows=rows)
    V = np.stack([D, W], axis=2)
    for a, b in zip(kernels(block, W, D, V), kernels(other, W, D, V), strict=True):
        close(b, a)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("loss", [Logistic(), Softmax(10)], ids=["logistic", "softmax"])
def test_X_is_never_copied(loss, order):
    """50 MB of X; besides what is remembered by row, a pass may take a few tiles per thread and no more."""
    n, p = 25_000, 250
    rng = np.random.default_rng(0)
    X = np.asarray(rng.random((n, p)), order=order)
    y = (rng.random(n) < 0.5).astype(float)
    block = LinearBlock(RowBlock(X, y, np.ones(n), None, loss), True)
    W = np.zeros(block.shape)
    with thread_budget(2):
        block.hess_mul(block.ray(W).curvature, W)  # pools and caches of libraries come into being
        tracemalloc.start()
        try:
            ray = block.ray(W)
            value_peak = tracemalloc.get_traced_memory()[1]
            remembered = sum(a.nbytes for a in (*ray.margins, *ray.curvature))
            tracemalloc.reset_peak()
            block.hess_mul(ray.curvature, W)
            product_peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert value_peak < 0.25 * X.nbytes + remembered
    assert product_peak < 0.25 * X.nbytes + remembered


def test_take_is_a_block_of_those_rows():
    model, W, _ = make("softmax")
    rows = np.array([3, 3, 699, 0])
    part = taken(block_of(model), rows)
    picked = Dense(model.X[rows], model.y[rows], model.weight[rows], model.offset[rows], model.loss, True, NoPenalty())
    value, gradient, _ = summed(picked, W)
    close(part.ray(W).values, [value])
    close(part.ray(W).gradient, gradient)
    assert part.rows.n_rows == 4
    assert part.shape == block_of(model).shape


def test_overflow_along_a_ray_is_no_warning():
    """A step too long gives inf or NaN, for the line search to reject; warnings are errors here."""
    model, W, D = make("logistic", "intercept")
    values = block_of(model).ray(W, 1e200 * D, (1.0, 1e200), gradient=False).values
    assert not np.isfinite(values[1])


# Sparse X


@cases("loss_name, options, kind, dtype, tiling", product(LOSSES, OPTIONS, KINDS, DTYPES, TILINGS), indirect=["tiling"])
def test_sparse_matrices_give_the_same_numbers(loss_name, options, kind, dtype, tiling):
    model, W, D = make(loss_name, options, sparse=True)
    assert np.any(~model.X.any(axis=1))
    dense, sparse = block_of(model, dtype=dtype), sparse_block_of(model, kind, dtype)
    V, tol = np.stack([D, W], axis=2), 1e-13 if dtype == "float64" else 1e-5
    for a, b in zip(kernels(dense, W, D, V), kernels(sparse, W, D, V), strict=True):
        assert type(b) is np.ndarray
        assert b.dtype == np.float64
        close(b, a, tol)
    one, other = dense.ray(W, D), sparse.ray(W, D)
    for name in ("margins", "curvature", "direction_margins"):
        close(np.concatenate(getattr(other, name)), np.concatenate(getattr(one, name)), tol)
        assert {tile.dtype for tile in getattr(other, name)} == {np.dtype(dtype)}
    close(
        sparse.ray(steps=(0.5,), margins=other.margins, direction_margins=other.direction_margins).gradient,
        dense.ray(steps=(0.5,), margins=one.margins, direction_margins=one.direction_margins).gradient,
        tol,
    )


@every_loss
def test_sparse_bits_do_not_depend_on_the_number_of_threads(loss_name, monkeypatch):
    monkeypatch.setattr(tiles, "_TILE_BYTES", {True: 4096, False: 4096})
    model, W, D = make(loss_name, n=3000, sparse=True)
    block, V, results = sparse_block_of(model), np.stack([D, W], axis=2), []
    assert len(tiles.tiles(block.rows.X)) > 10
    for n in (1, 2, 4):
        with thread_budget(n):
            results.append(kernels(block, W, D, V))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_taken_of_a_sparse_block(kind):
    model, W, D = make("softmax", sparse=True)
    V, rows = np.stack([D, W], axis=2), np.array([3, 3, 699, 0])
    part = taken(sparse_block_of(model, kind), rows)
    assert part.shape == block_of(model).shape
    for a, b in zip(kernels(taken(block_of(model), rows), W, D, V), kernels(part, W, D, V), strict=True):
        close(b, a)


@every_loss
@every_model
def test_sparse_block_without_rows_adds_nothing(loss_name, options):
    model, W, D = make(loss_name, options)
    sparse = taken(sparse_block_of(model), np.arange(0))
    for a in kernels(sparse, W, D, np.stack([D, W], axis=2)):
        np.testing.assert_array_equal(a, 0)


def test_matrix_of_zeros_only():
    model, W, D = make("softmax")
    model = dataclasses.replace(model, X=0 * model.X)
    V = np.stack([D, W], axis=2)
    for a, b in zip(kernels(block_of(model), W, D, V), kernels(sparse_block_of(model), W, D, V), strict=True):
        close(b, a)


@pytest.mark.parametrize("loss", [Logistic(), Softmax(3)], ids=["logistic", "softmax"])
def test_sparse_X_is_never_made_dense(loss):
    """2,000 x 200,000 with 100 entries in a row: 3.2 GB if it were dense, 1.6 MB for each column of coefficients."""
    n, p, rng = 2000, 200_000, np.random.default_rng(0)
    X = scipy.sparse.csr_array(
        (rng.random(100 * n), rng.integers(0, p, 100 * n), np.arange(0, 100 * n + 1, 100)), shape=(n, p)
    )
    block = LinearBlock(RowBlock(X, (rng.random(n) < 0.5).astype(float), np.ones(n), None, loss), True)
    W = np.zeros(block.shape)
    with thread_budget(2):
        tracemalloc.start()
        try:
            ray = block.ray(W, W, (1.0, 0.5))
            block.hess_mul(ray.curvature, W)
            block.hess_diag(ray.curvature)
            block.rows.column_squares()
            taken(block, np.arange(0, n, 2)).ray(W)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # Coefficients, their sums in a stripe or two and in all, and small change; X itself has 2.4 MB.
    assert peak < 16 * W.nbytes + 4 * (X.data.nbytes + X.indices.nbytes)


def test_tiles_of_a_sparse_matrix_share_its_memory():
    X = messy(thinned(np.ones((900, 50)), np.random.default_rng(0)))
    for rows in (slice(0, 300), slice(300, 900), slice(0, 900), slice(900, 900)):
        tile = arrays.row_slice(X, rows)
        np.testing.assert_array_equal(tile.toarray(), X.toarray()[rows])
        assert tile.indices.dtype == X.indices.dtype
        for name in ("data", "indices"):
            assert np.shares_memory(getattr(tile, name), getattr(X, name)) or not len(tile.data)


def test_sparse_tiles_have_more_entries_than_there_are_features():
    """So that adding up the products of the tiles with X' costs less than the products."""
    X = scipy.sparse.csr_array((np.ones(10**6), np.arange(10**6) % 5000, np.arange(0, 10**6 + 1, 10)))
    cuts = tiles.tiles(X)
    assert [cut.start for cut in cuts[1:]] == [cut.stop for cut in cuts[:-1]]
    assert (cuts[0].start, cuts[-1].stop) == (0, 10**5)
    assert all(10 * (cut.stop - cut.start) > 16 * 5000 for cut in cuts[:-1])
    assert len(cuts) > 4


def test_size_of_a_block_is_that_of_its_arrays():
    """Dask asks for it, to know how full a worker is."""
    model, _, _ = make("softmax", sparse=True)
    dense, sparse = block_of(model).rows, sparse_block_of(model).rows
    rest = sum(a.nbytes for a in (dense.y, dense.weight, dense.offset))
    X = sparse.X
    for block, size in ((dense, dense.X.nbytes), (sparse, X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)):
        assert rest + size <= sizeof(block) <= rest + size + 1000


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_blocks_can_be_pickled(kind):
    model, W, D = make("softmax", sparse=True)
    block, V = sparse_block_of(model, kind), np.stack([D, W], axis=2)
    for a, b in zip(kernels(block, W, D, V), kernels(pickle.loads(pickle.dumps(block)), W, D, V), strict=True):
        np.testing.assert_array_equal(a, b)
