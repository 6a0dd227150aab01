"""The objective over blocks: derivatives, remembered quantities, sums over blocks, checks, passes."""

from dataclasses import replace
from itertools import product

import array_api_strict as strict
import numpy as np
import pytest
from catalogue import LOSSES, PENALTIES
from matrices import KINDS
from pairwise import cases
from problems import LAYOUTS, Dense, dense, known, objective, parts

from dask_newton.blocks import SerialBlocks, thread_budget
from dask_newton.losses import Logistic
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.rows import tiles
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L2, NoPenalty

# Problem, weighted, offset, intercept.
MODELS = {
    "logistic": ("breast_cancer", True, True, True),
    "logistic-no-intercept": ("breast_cancer", False, False, False),
    "softmax": ("noisy", True, True, True),
    "softmax-reference": ("noisy_reference", False, False, True),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
every_penalty = pytest.mark.parametrize("penalty", PENALTIES)


def on_device(a):
    return strict.asarray(a, device=strict.Device("device1"))


def problem(model=("noisy", True, True, True), penalty="l2", **options):
    name, weighted, offset, fit_intercept = model
    return known(name, penalty, weighted=weighted, offset=offset, fit_intercept=fit_intercept, **options)


def directions(objective, n=3, seed=0, scale=0.3):
    return scale * np.random.default_rng(seed).normal(size=(n, *objective.shape))


def close(a, b, rtol=1e-13):
    b = np.asarray(b)
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1.0, np.abs(b).max()))


def same_point(a, b, rtol=1e-12):
    assert a.value == pytest.approx(b.value, rel=rtol)
    close(a.W, b.W, rtol)
    close(a.gradient, b.gradient, rtol)
    if a.hessian is not None or b.hessian is not None:
        close(a.hessian, b.hessian, rtol)


# Values and derivatives


@every_model
@every_penalty
def test_value_gradient_and_hessian_are_those_of_the_dense_model(model, penalty):
    case = problem(model, penalty)
    W, *_ = directions(case.objective)
    point = case.objective.at(W, hessian=True)
    assert point.value == pytest.approx(case.dense.value(W), rel=1e-13)
    close(point.gradient, case.dense.gradient(W))
    close(point.hessian, case.dense.hessian(W))
    assert case.objective.residual(W, point.gradient) == pytest.approx(case.dense.residual(W), rel=1e-12)


@pytest.mark.parametrize("loss_name", LOSSES)
def test_derivatives_agree_with_differences_for_every_loss(loss_name):
    case, rng = LOSSES[loss_name], np.random.default_rng(0)
    K = case.loss.n_outputs
    model = Dense(
        rng.normal(size=(30, 4)),
        case.targets(rng, 30),
        rng.random(30),
        rng.normal(size=(30, K)),
        case.loss,
        True,
        L2(0.3),
    )
    F = objective(parts(model, m=3), model.penalty)
    W, D, _ = directions(F, scale=1.0)
    h = 1e-5  # errs by h^2 and by 1e-16 / h
    up, down, here = F.at(W + h * D), F.at(W - h * D), F.at(W)
    assert np.vdot(here.gradient, D) == pytest.approx((up.value - down.value) / (2 * h), rel=1e-7, abs=1e-9)
    close(F.hess_mul(here, D), (up.gradient - down.gradient) / (2 * h), 1e-7)


@every_model
def test_hessian_products(model):
    case = problem(model)
    W, U, V = directions(case.objective)
    point = case.objective.at(W)
    H = case.dense.hessian(W)
    close(case.objective.hess_mul(point, V), (H @ V.ravel()).reshape(V.shape))
    uHv = np.vdot(U, case.objective.hess_mul(point, V))
    assert uHv == pytest.approx(np.vdot(V, case.objective.hess_mul(point, U)), rel=1e-12)
    assert np.vdot(V, case.objective.hess_mul(point, V)) > 0
    close(case.objective.hess_diag(point), np.diag(H).reshape(V.shape))
    batch = np.stack([U, V], axis=2)
    close(case.objective.hess_mul(point, batch), np.stack([case.objective.hess_mul(point, v) for v in (U, V)], axis=2))


@every_model
def test_gram_is_the_mean_of_the_diagonal_blocks(model):
    case = problem(model)
    W, *_ = directions(case.objective)
    q, K = W.shape
    blocks = case.dense.hessian(W).reshape(q, K, q, K)
    close(case.objective.gram(case.objective.at(W)), sum(blocks[:, k, :, k] for k in range(K)) / K)


@every_model
def test_column_squares_are_the_diagonal_of_the_gram_of_X(model):
    case = problem(model)
    weight = case.dense.weight
    close(case.objective.column_squares, weight @ case.dense.A**2 / weight.sum())


@pytest.mark.parametrize("penalty", ["none", "l2"])
@pytest.mark.parametrize("model", ["softmax", "softmax-reference", "logistic-no-intercept"])
def test_filling_the_null_space_makes_the_hessian_regular_and_keeps_solutions(model, penalty):
    case = problem(MODELS[model], penalty)
    W, *_ = directions(case.objective)
    point = case.objective.at(W, hessian=True)
    filled = case.objective.fill_null_space(point.hessian)
    eigenvalues = np.linalg.eigvalsh(filled)
    assert eigenvalues.min() > 1e-6 * eigenvalues.max()
    by_pinv = np.linalg.pinv(point.hessian, rcond=1e-12, hermitian=True) @ point.gradient.ravel()
    close(np.linalg.solve(filled, point.gradient.ravel()), by_pinv, 1e-10)
    if not case.objective.loss.shift_invariant:
        np.testing.assert_array_equal(filled, point.hessian)


def test_a_column_of_zeros_gets_curvature_without_effect():
    whole = dense("noisy", "none")
    X = np.insert(whole.X, 1, 0.0, axis=1)
    F = objective(parts(Dense(X, whole.y, whole.weight, 0.0, whole.loss, True, NoPenalty())), NoPenalty())
    point = F.at(directions(F)[0], hessian=True)
    filled = F.fill_null_space(point.hessian)
    assert np.linalg.eigvalsh(filled).min() > 1e-3
    np.testing.assert_array_equal(np.linalg.solve(filled, point.gradient.ravel()).reshape(F.shape)[1], 0)


# Quantities that are remembered


@every_model
@every_penalty
def test_points_from_remembered_margins_are_those_from_X(model, penalty):
    F = problem(model, penalty).objective
    W, D, _ = directions(F)
    point = F.at(W)
    along = F.along(point, D, (1.0, 0.5), hessian=True)
    more = F.more(point, along, (0.25, 2.0, 0.0))
    same_point(along.first, F.at(W + D, hessian=True))
    same_point(F.step(point, along, 0.5, hessian=True), F.at(W + 0.5 * D, hessian=True))
    same_point(F.step(point, more, 0.25), F.at(W + 0.25 * D))
    np.testing.assert_allclose(along.values, [F.at(W + a * D).value for a in along.steps], rtol=1e-12)
    np.testing.assert_allclose(more.values, [F.at(W + a * D).value for a in more.steps], rtol=1e-12)
    V = directions(F, seed=9)[0]
    close(F.hess_mul(along.first, V), F.hess_mul(F.at(W + D), V), 1e-12)
    bare = F.along(point, D, (1.0, 0.5), linearize=False)
    assert bare.first is None
    np.testing.assert_allclose(bare.values, along.values, rtol=1e-14)


def test_margins_do_not_drift():
    """However many steps are taken, the margins are recomputed from X every MAX_AGE of them."""
    F = problem(dtype="float32").objective
    W, *_ = directions(F)
    point, oldest = F.at(W), 0
    for k in range(60):
        D = directions(F, 1, seed=k)[0]
        along = F.along(point, D, (1.0, 0.5))
        point = along.first if k % 7 else F.step(point, along, 0.5)
        oldest = max(oldest, point.age)
    assert oldest == F.MAX_AGE
    fresh = F.at(point.W)
    # A few rounding errors of float32, not 60 of them with margins ten times as large on the way.
    for a, b in zip(point.margins.parts, fresh.margins.parts, strict=True):
        np.testing.assert_allclose(np.concatenate(a), np.concatenate(b), atol=2e-5)


def test_old_margins_are_not_used():
    """Nor the point at the step made from them: here they are wrong altogether."""
    F = problem().objective
    W, D, _ = directions(F)
    point = F.at(W)
    wrong = F.blocks.place([tuple(0 * tile for tile in tiles_of) for tiles_of in F.blocks.gather(point.margins)])
    old = replace(point, margins=wrong, age=F.MAX_AGE)
    along = F.along(old, D, (1.0, 0.5))
    same_point(along.first, F.at(W + D))
    assert along.values[1] == pytest.approx(F.at(W + 0.5 * D).value, rel=1e-12)
    same_point(F.step(old, along, 0.5), F.at(W + 0.5 * D))


def test_a_step_that_overflows_has_the_value_infinity():
    F = problem(("breast_cancer", False, False, True)).objective
    W, D, _ = directions(F)
    values = F.along(F.at(W), D, (1e200, 1e250, 1e305), linearize=False).values
    assert np.all(np.isposinf(values[1:]))
    assert not np.any(np.isnan(values))


# Rows and blocks


@every_model
@every_penalty
def test_weight_two_is_the_row_twice_and_weight_zero_is_no_row(model, penalty):
    plain = problem(model, penalty).dense
    times = np.random.default_rng(3).integers(0, 3, len(plain.y))
    rows = np.repeat(np.arange(len(plain.y)), times)
    offset = plain.offset if isinstance(plain.offset, np.ndarray) else None
    weighted = Dense(
        plain.X, plain.y, times.astype(float), plain.offset, plain.loss, plain.fit_intercept, plain.penalty
    )
    repeated = Dense(
        plain.X[rows],
        plain.y[rows],
        np.ones(len(rows)),
        0.0 if offset is None else offset[rows],
        plain.loss,
        plain.fit_intercept,
        plain.penalty,
    )
    a, b = (objective(parts(m, 3), plain.penalty) for m in (weighted, repeated))
    W, V, _ = directions(a)
    same_point(a.at(W, hessian=True), b.at(W, hessian=True), 1e-13)
    close(a.hess_mul(a.at(W), V), b.hess_mul(b.at(W), V))
    assert a.total_weight == b.total_weight


@every_penalty
def test_intercept_is_a_column_of_ones_without_penalty(penalty):
    case = problem(penalty=penalty)
    model = case.dense
    ones = Dense(model.A, model.y, model.weight, model.offset, model.loss, False, NoPenalty())
    F, G = case.objective, objective(parts(ones), NoPenalty(), fit_intercept=False)
    W, *_ = directions(F)
    a, b = F.at(W), G.at(W)
    assert a.value == pytest.approx(b.value + F.penalty.value(W[:-1]), rel=1e-13)
    gradient = b.gradient.copy()
    gradient[:-1] += F.smooth.grad(W[:-1])
    close(a.gradient, gradient)


def test_offset_is_a_column_with_coefficient_one():
    case = problem(("breast_cancer", False, True, True), "none")
    model = case.dense
    column = Dense(np.column_stack([model.offset, model.X]), model.y, model.weight, 0.0, model.loss, True, NoPenalty())
    F, G = case.objective, objective(parts(column), NoPenalty())
    W, *_ = directions(F)
    a, b = F.at(W), G.at(np.vstack([np.ones((1, 1)), W]))
    assert a.value == pytest.approx(b.value, rel=1e-13)
    close(a.gradient, b.gradient[1:])


@cases("model, m, layout", product(MODELS, [1, 2, 7], LAYOUTS))
def test_result_does_not_depend_on_the_blocks(model, m, layout):
    one, many = problem(MODELS[model], m=1).objective, problem(MODELS[model], m=m, layout=layout).objective
    W, V, D = directions(one)
    a, b = one.at(W, hessian=True), many.at(W, hessian=True)
    same_point(a, b, 1e-13)
    close(many.hess_mul(b, V), one.hess_mul(a, V))
    close(many.hess_diag(b), one.hess_diag(a))
    close(many.gram(b), one.gram(a))
    close(many.column_squares, one.column_squares)
    np.testing.assert_allclose(many.along(b, D, (1.0, 0.5)).values, one.along(a, D, (1.0, 0.5)).values, rtol=1e-13)
    assert many.blocks.n_blocks == len(many.weights) == m
    assert many.n_rows == one.n_rows
    assert many.total_weight == pytest.approx(one.total_weight, rel=1e-15)


def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(tiles, "_TILE_BYTES", {True: 4096, False: 4096})
    results = []
    for n in (1, 2, 4):
        with thread_budget(n):
            F = problem(m=3).objective
            W, D, V = directions(F)
            point = F.at(W, hessian=True)
            along = F.along(point, D, (1.0, 0.5))
            results.append(
                [
                    point.gradient,
                    point.hessian,
                    F.hess_mul(point, V),
                    F.gram(point),
                    F.hess_diag(point),
                    along.values,
                    along.first.gradient,
                    np.float64(point.value),
                ]
            )
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_model
def test_any_array_type_and_device_gives_the_same_numbers(model, dtype):
    device = strict.Device("device1")
    here = problem(model, dtype=dtype).objective
    there = problem(model, dtype=dtype, move=lambda a: strict.asarray(a, device=device)).objective
    W, D, V = directions(here)
    a, b = here.at(W, hessian=True), there.at(W, hessian=True)
    rtol = 1e-13 if dtype == "float64" else 1e-5  # tiles are cut elsewhere; sums inside a tile are in its dtype
    same_point(b, a, rtol)
    close(there.hess_mul(b, V), here.hess_mul(a, V), rtol)
    close(there.hess_diag(b), here.hess_diag(a), rtol)
    close(there.gram(b), here.gram(a), rtol)
    same_point(there.along(b, D, (1.0, 0.5)).first, here.along(a, D, (1.0, 0.5)).first, rtol)
    assert there.precision == here.precision == np.finfo(dtype).eps


@every_model
def test_float32_data_give_float64_results_of_float32_accuracy(model):
    single, double = problem(model, dtype="float32").objective, problem(model).objective
    W, V, _ = directions(double)
    a, b = single.at(W, hessian=True), double.at(W, hessian=True)
    same_point(a, b, 1e-5)  # some hundred rounding errors of 6e-8, partly cancelling
    assert a.gradient.dtype == a.hessian.dtype == single.hess_mul(a, V).dtype == np.float64


# What is wrong with the data


@cases("bad, where, move", product([np.nan, np.inf, -np.inf], ["X", "y", "weight", "offset"], [np.asarray, on_device]))
def test_bad_numbers_are_refused_with_the_block_and_the_array(bad, where, move):
    blocks = parts(dense("noisy", "l2", True, True))
    array = getattr(blocks[2], where).copy()
    array.flat[array.size // 2] = bad
    blocks[2] = replace(blocks[2], **{where: array})
    blocks = [RowBlock(*(move(a) for a in (b.X, b.y, b.weight, b.offset)), b.loss) for b in blocks]
    with pytest.raises(ValueError, match=rf"Block 2 of the data contains NaN or infinity in {where}\b.*before fit"):
        objective(blocks, NoPenalty())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_numbers_in_a_sparse_matrix_are_refused(bad, kind):
    blocks = [replace(part, X=KINDS[kind](part.X)) for part in parts(dense("noisy", "l2", True, True))]
    data = blocks[2].X.data.copy()
    data[0] = bad
    blocks[2].X.data = data
    with pytest.raises(ValueError, match=r"Block 2 of the data contains NaN or infinity in X; .*before fit"):
        objective(blocks, NoPenalty())


def test_infinities_of_both_signs_are_refused_without_a_warning():
    blocks = parts(dense("noisy"))
    X = blocks[0].X.copy()
    X[0, 0], X[1, 0] = np.inf, -np.inf
    blocks[0] = replace(blocks[0], X=X)
    with pytest.raises(ValueError, match="Block 0 .* in X"):
        objective(blocks, NoPenalty())


def test_numbers_whose_squares_overflow_are_no_infinities():
    model = dense("breast_cancer", "none")
    X = np.array(model.X, "float32")
    X[0, 0] = 1e30
    blocks = [RowBlock(X, model.y.astype("float32"), None, None, model.loss)]
    assert objective(blocks, NoPenalty()).n_rows == len(X)


def test_negative_weights_are_refused():
    blocks = parts(dense("noisy", "l2", True))
    weight = blocks[1].weight.copy()
    weight[3] = -1e-3
    blocks[1] = replace(blocks[1], weight=weight)
    with pytest.raises(ValueError, match="Block 1 .* negative sample weights"):
        objective(blocks, NoPenalty())


@pytest.mark.parametrize("rows", [0, 8])
def test_no_weight_at_all_is_refused(rows):
    block = RowBlock(np.ones((rows, 2)), np.zeros(rows), np.zeros(rows), None, Logistic())
    with pytest.raises(ValueError, match="All sample weights are zero, or there are no rows; there is nothing to fit"):
        objective([block, block], NoPenalty())


def test_arrays_of_different_lengths_are_refused():
    block = RowBlock(np.ones((5, 2)), np.zeros(4), None, None, Logistic())
    with pytest.raises(ValueError, match="Block 0 .*different lengths.*same chunks"):
        objective([block], NoPenalty())


def test_penalty_may_depend_on_the_sum_of_weights():
    model = dense("breast_cancer", "l2", True)
    engine = SerialBlocks(3)
    F = LinearObjective.from_blocks(engine, engine.place(parts(model, 3)), lambda S: L2(2 / S))
    assert F.penalty.lam == pytest.approx(2 / model.weight.sum(), rel=1e-15)


# What it costs


METHODS = {
    "at": lambda F, p, a, V: F.at(p.W),
    "at with Hessian": lambda F, p, a, V: F.at(p.W, hessian=True),
    "along": lambda F, p, a, V: F.along(p, V, (1.0, 0.5)),
    "more": lambda F, p, a, V: F.more(p, a, (0.25, 0.125)),
    "step": lambda F, p, a, V: F.step(p, a, 0.5),
    "hess_mul": lambda F, p, a, V: F.hess_mul(p, V),
    "hess_diag": lambda F, p, a, V: F.hess_diag(p),
    "gram": lambda F, p, a, V: F.gram(p),
    "sample": lambda F, p, a, V: F.sample(0.5, 0),
}
# Methods without anything to send down: what the blocks need lies beside them.
ONE_WAY = ("hess_diag", "gram")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_one_pass(method):
    F = problem(m=4).objective
    W, D, V = directions(F)
    point = F.at(W)
    along = F.along(point, D, (1.0,))
    before = F.blocks.meter.snapshot()
    METHODS[method](F, point, along, V)
    after = F.blocks.meter.snapshot()
    assert after["passes"] - before["passes"] == 1
    assert after["rounds"] - before["rounds"] == (1 if method in ONE_WAY else 2)


def test_a_product_sends_one_vector_each_way():
    F = problem(m=4).objective
    W, V, _ = directions(F)
    point = F.at(W)
    before = F.blocks.meter.snapshot()
    F.hess_mul(point, V)
    after = F.blocks.meter.snapshot()
    assert after["bytes_down"] - before["bytes_down"] == 4 * V.nbytes
    assert after["bytes_up"] - before["bytes_up"] == 4 * V.nbytes


def test_looking_at_the_blocks_is_one_pass():
    assert problem(m=4, layout="empty").objective.blocks.meter.passes == 1


# Samples


@pytest.mark.parametrize("layout", ["equal", "unequal", "empty"])
def test_sample_holds_its_fraction_of_every_block(layout):
    F = problem(m=3, layout=layout).objective
    part = F.sample(0.25, 7)
    for whole, some, weight in zip(F.data.parts, part.data.parts, part.weights, strict=True):
        assert some.n_rows == int(np.ceil(0.25 * whole.n_rows))
        assert weight == some.total_weight
        rows = {row.tobytes() for row in whole.X}
        assert len({row.tobytes() for row in some.X}) == some.n_rows  # without replacement
        assert all(row.tobytes() in rows for row in some.X)
    assert part.total_weight == pytest.approx(0.25 * F.total_weight, rel=0.2)


def test_sample_depends_on_the_seed_alone():
    F = problem(m=3).objective
    W, *_ = directions(F)
    values = [F.sample(0.3, seed).at(W).value for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_whole_sample_is_everything():
    F = problem(m=3).objective
    W, *_ = directions(F)
    same_point(F.sample(1.0, 0).at(W), F.at(W), 1e-14)


def test_samples_have_the_right_mean():
    F = problem(m=2).objective
    W, *_ = directions(F)
    values = np.array([F.sample(0.2, seed).at(W).value for seed in range(60)])
    # Three standard errors; the seeds are fixed, so this cannot fail now and then.
    assert abs(values.mean() - F.at(W).value) < 3 * values.std() / np.sqrt(60)
