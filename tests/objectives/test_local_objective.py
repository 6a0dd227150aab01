"""The objective of one block, with its l2 and proximal terms, against dense formulas."""

import dataclasses

import array_api_strict as strict
import numpy as np
import pytest
from matrices import KINDS
from problems import Dense, dense, parts

from dask_newton.arrays import to_host
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.local import LocalHessian, LocalLinear
from dask_newton.objectives.rows.tiles import take_tiled
from dask_newton.penalties import L2, NoPenalty

SCALE, RIDGE, RHO = 37.0, 0.3, 0.7
MODELS = {
    "logistic": ("breast_cancer", "none", True, True, True),
    "softmax": ("noisy", "none", True, True, True),
    "softmax-no-intercept": ("noisy", "none", False, False, False),
}


def make(model, move=None, dtype="float64", **terms):
    whole = dense(*MODELS[model])
    block = LinearBlock(parts(whole, 1, dtype=dtype, move=move)[0], whole.fit_intercept)
    rng = np.random.default_rng(1)
    x, d, center = rng.normal(size=(3, *block.shape))
    local = LocalLinear(block, SCALE)
    options = {"rho": RHO, "center": local.device(center)} if terms.get("proximal") else {}
    ridge = RIDGE if terms.get("ridge") else 0.0
    return whole, LocalLinear(block, SCALE, ridge, **options), x, d, center


def expected(whole, x, center, ridge=False, proximal=False):
    factor = whole.weight.sum() / SCALE
    rho, lam = RHO * proximal, RIDGE * ridge
    w, e = whole.mask * x, x - center
    value = factor * whole.value(x) + lam / 2 * np.vdot(w, w) + rho / 2 * np.vdot(e, e)
    gradient = factor * whole.gradient(x) + lam * w + rho * e
    diagonal = np.broadcast_to(lam * whole.mask + rho, x.shape).ravel()
    return value, gradient, factor * whole.hessian(x) + np.diag(diagonal)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("ridge", [False, True])
@pytest.mark.parametrize("proximal", [False, True])
def test_value_gradient_and_hessian(model, ridge, proximal):
    whole, local, x, d, center = make(model, ridge=ridge, proximal=proximal)
    value, gradient, H = expected(whole, x, center, ridge, proximal)
    point = local.at(x)
    assert point.value == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(point.gradient, gradient, atol=1e-13 * np.abs(gradient).max())
    product = (H @ d.ravel()).reshape(d.shape)
    np.testing.assert_allclose(local.hess_mul(point.curvature, d), product, atol=1e-13 * np.abs(product).max())


@pytest.mark.parametrize("model", MODELS)
def test_values_along_a_direction(model):
    whole, local, x, d, center = make(model, ridge=True, proximal=True)
    point, steps = local.at(x), (1.0, 0.5, -0.25)
    values, direction_margins = local.along(point, d, steps)
    direct = [expected(whole, x + a * d, center, True, True)[0] for a in steps]
    np.testing.assert_allclose(values, direct, rtol=1e-13)
    np.testing.assert_allclose(local.along(point, d, steps, direction_margins)[0], direct, rtol=1e-13)


@pytest.mark.parametrize("model", MODELS)
def test_any_array_type_and_device_gives_the_same_numbers(model):
    device = strict.Device("device1")
    _, here, x, d, _ = make(model, ridge=True, proximal=True)
    _, there, *_ = make(model, lambda a: strict.asarray(a, device=device), ridge=True, proximal=True)
    x1, d1 = there.device(x), there.device(d)
    a, b = here.at(x), there.at(x1)
    assert b.value == pytest.approx(a.value, rel=1e-13)
    for one, other in [
        (a.gradient, b.gradient),
        (here.hess_mul(a.curvature, d), there.hess_mul(b.curvature, d1)),
    ]:
        assert other.device == device
        np.testing.assert_allclose(to_host(other), one, atol=1e-13 * np.abs(one).max())
    np.testing.assert_allclose(there.along(b, d1, (1.0, 0.5))[0], here.along(a, d, (1.0, 0.5))[0], rtol=1e-13)


@pytest.mark.parametrize("kind", ["dense", "csr_array", "strict"])
@pytest.mark.parametrize("largest", [0, 1000])
def test_many_products_are_made_with_a_matrix(kind, largest, monkeypatch):
    """The same numbers before and after the matrix is made; from then on X is not read. Too large ones are not made."""
    device = strict.Device("device1")
    move = {
        "dense": None,
        "strict": lambda a: strict.asarray(a, device=device),
        "csr_array": lambda a: KINDS["csr_array"](a) if a.ndim == 2 else a,
    }[kind]
    whole, local, x, _, center = make("softmax", move, ridge=True, proximal=True)
    _, _, H = expected(whole, x, center, True, True)
    curvature, products = local.at(local.device(x)).curvature, []
    monkeypatch.setattr(LocalHessian, "MAX_DIM", largest)
    multiply = LinearBlock.hess_mul
    monkeypatch.setattr(LinearBlock, "hess_mul", lambda *args: products.append(args) or multiply(*args))
    hessian = local.hessian(curvature)
    for d in np.random.default_rng(2).normal(size=(20, *x.shape)):
        product = hessian(local.device(d))
        assert getattr(product, "device", "cpu") == (device if kind == "strict" else "cpu")
        np.testing.assert_allclose(to_host(product), (H @ d.ravel()).reshape(d.shape), atol=1e-12)
    assert len(products) == (3 if largest else 20)  # q (K + 1) / 8 = 6 * 4 / 8


def test_blocks_make_up_the_whole():
    """F = sum of omega_i f_i, for blocks of any size; and the shares of ADMM add up to the loss."""
    whole = dense("noisy", "l2", True)
    W = np.random.default_rng(2).normal(size=(6, 3))
    blocks, lam = [LinearBlock(rows, True) for rows in parts(whole, 3, "unequal")], whole.lam[1]
    S = whole.weight.sum()
    means = [LocalLinear(b, b.rows.total_weight, lam).at(W) for b in blocks]
    omega = [b.rows.total_weight / S for b in blocks]
    assert sum(o * f.value for o, f in zip(omega, means, strict=True)) == pytest.approx(whole.value(W), rel=1e-13)
    np.testing.assert_allclose(
        sum(o * f.gradient for o, f in zip(omega, means, strict=True)), whole.gradient(W), atol=1e-14
    )
    shares = sum(LocalLinear(b, S).at(W).value for b in blocks)
    assert shares + lam / 2 * np.sum(W[:-1] ** 2) == pytest.approx(whole.value(W), rel=1e-13)


def test_float32_block_has_float64_gradient():
    whole, local, x, _, center = make("softmax", dtype="float32", ridge=True, proximal=True)
    value, gradient, _ = expected(whole, x, center, True, True)
    point = local.at(x)
    assert point.gradient.dtype == np.float64
    assert point.value == pytest.approx(value, rel=1e-5)  # hundreds of rounding errors of 6e-8
    np.testing.assert_allclose(point.gradient, gradient, atol=1e-5 * np.abs(gradient).max())
    assert local.precision == np.finfo("float32").eps


@pytest.mark.parametrize("kind", ["dense", "csr_array", "strict"])
def test_around_a_point_the_gradient_there_is_replaced(kind):
    """DANE's local problem, a function of the displacement, from the margins of the point."""
    model = dense("noisy", "l2", True)
    device = strict.Device("device1")
    move = {
        "dense": None,
        "strict": lambda a: strict.asarray(a, device=device),
        "csr_array": lambda a: KINDS["csr_array"](a) if a.ndim == 2 else a,
    }[kind]
    block = LinearBlock(parts(model, 1, move=move)[0], True)
    rng = np.random.default_rng(3)
    W, x, d, gradient = rng.normal(size=(4, *block.shape))
    plain = LocalLinear(block, block.rows.total_weight)
    margins = block.ray(plain.device(W)).margins
    local = LocalLinear.around(block, margins, gradient, RIDGE, RHO)
    weighted = dataclasses.replace(model, penalty=L2(RIDGE))
    difference = weighted.gradient(W) - gradient

    def value(x):
        change = weighted.value(W + x) - weighted.value(W)
        return change - np.vdot(difference, x) + RHO / 2 * np.vdot(x, x)

    start, point = local.at(local.device(0 * x)), local.at(local.device(x))
    np.testing.assert_allclose(to_host(start.gradient), gradient, atol=1e-14)
    assert point.value - start.value == pytest.approx(value(x), rel=1e-12)
    expected = weighted.gradient(W + x) - difference + RHO * x
    np.testing.assert_allclose(to_host(point.gradient), expected, atol=1e-13)
    H = weighted.hessian(W + x) + RHO * np.eye(x.size)
    product = to_host(local.hess_mul(point.curvature, local.device(d)))
    np.testing.assert_allclose(product, (H @ d.ravel()).reshape(d.shape), atol=1e-12)
    values = local.along(point, local.device(d), (0.5, -1.0))[0] - start.value
    np.testing.assert_allclose(values, [value(x + 0.5 * d), value(x - d)], rtol=1e-12)


@pytest.mark.parametrize("kind", ["dense", "csr_array", "messy", "strict"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_change_of_the_gradient_of_some_rows(kind, fit_intercept):
    model = dense("noisy", "none", True, True, fit_intercept)
    device = strict.Device("device1")
    moves = {"dense": None, "strict": lambda a: strict.asarray(a, device=device)}
    move = moves.get(kind, lambda a: KINDS[kind](a) if a.ndim == 2 else a)
    block = LinearBlock(parts(model, 1, move=move)[0], fit_intercept)
    rng = np.random.default_rng(3)
    W, D = rng.normal(size=(2, *block.shape))
    rows = np.sort(rng.choice(block.rows.n_rows, 50, replace=False))
    local = LocalLinear(block, block.rows.total_weight)
    change = block.gradient_change(rows, block.ray(local.device(W)).margins, local.device(D))
    some = Dense(
        model.X[rows], model.y[rows], model.weight[rows], model.offset[rows], model.loss, fit_intercept, NoPenalty()
    )
    expected = (some.gradient(W + D) - some.gradient(W)) * some.weight.sum()
    np.testing.assert_allclose(to_host(change), expected, atol=1e-12)


def test_rows_of_what_is_kept_by_tile():
    whole = np.arange(30.0).reshape(10, 3)
    cuts = [slice(0, 4), slice(4, 8), slice(8, 10)]
    tiled = tuple(whole[cut] for cut in cuts)
    for rows in ([0], [3, 4], [5, 6, 9], [0, 3, 8], range(10)):
        np.testing.assert_array_equal(take_tiled(tiled, cuts, np.array(rows)), whole[list(rows)])
