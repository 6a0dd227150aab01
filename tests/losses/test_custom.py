"""Losses of one's own: from three functions to every solver, and a check that finds what is wrong with them."""

import inspect
from dataclasses import dataclass

import array_api_strict as strict
import dask.array as da
import numpy as np
import pytest
from catalogue import LOSSES, SOLVERS

from dask_newton import make_problem, minimize
from dask_newton.arrays import namespace
from dask_newton.losses import CustomLoss, Logistic, Softmax
from dask_newton.penalties import L1, L2
from dask_newton.testing import check_loss


@dataclass(frozen=True)
class PseudoHuber(CustomLoss):
    """Squared near 0, and linear beyond delta."""

    delta: float = 1.0
    convex = True

    def _root(self, y, z):
        return namespace(z).sqrt(1 + ((z - y) / self.delta) ** 2)

    def fun(self, y, z):
        return self.delta**2 * (self._root(y, z) - 1)

    def grad(self, y, z):
        return (z - y) / self._root(y, z)

    def hessp(self, y, z, v):
        return v / self._root(y, z) ** 3


class OwnLogistic(CustomLoss):
    """The built-in one, by its formulas."""

    convex = True

    def fun(self, y, z):
        return np.logaddexp(0, z) - y * z

    def grad(self, y, z):
        return 1 / (1 + np.exp(-z)) - y

    def hessp(self, y, z, v):
        p = 1 / (1 + np.exp(-z))
        return p * (1 - p) * v


class OwnSoftmax(CustomLoss):
    """The built-in one, of three classes."""

    convex = True
    n_outputs = 3

    @staticmethod
    def _p(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def fun(self, y, z):
        top = z.max(axis=1)
        return top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - z[np.arange(len(y)), y.astype(int)]

    def grad(self, y, z):
        return self._p(z) - (y[:, None] == np.arange(3))

    def hessp(self, y, z, v):
        p = self._p(z)
        return p * v - p * (p * v).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("own", "theirs"), [(OwnLogistic(), Logistic()), (OwnSoftmax(), Softmax(3))])
def test_three_functions_are_the_loss(own, theirs):
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, theirs.n_outputs + (theirs.n_outputs == 1), 40).astype(float), rng.normal(size=(40, 3))
    z = z[:, : theirs.n_outputs]
    mine, expected = own.linearize(y, z), theirs.linearize(y, z)
    np.testing.assert_allclose(mine[0], expected[0], rtol=1e-13)
    np.testing.assert_allclose(mine[1], expected[1], atol=1e-15)
    np.testing.assert_allclose(own.hess_mul(mine[2], 2 * z), theirs.hess_mul(expected[2], 2 * z), atol=1e-14)
    for k in range(theirs.n_outputs):
        np.testing.assert_allclose(own.hess_entry(mine[2], k, 0), theirs.hess_entry(expected[2], k, 0), atol=1e-15)
    check_loss(own, y, z)


def test_any_array_type_and_device_will_do():
    device = strict.Device("device1")
    y, z = strict.asarray([0.0, 3.0], device=device), strict.asarray([[1.0], [1.0]], device=device)
    value, gradient, curvature = PseudoHuber().linearize(y, z)
    assert (value.device, gradient.device, curvature.device) == (device,) * 3
    assert float(gradient[1, 0]) == pytest.approx(-2 / 5**0.5)
    assert float(PseudoHuber().hess_mul(curvature, z)[1, 0]) == pytest.approx(5**-1.5)
    assert PseudoHuber().inverse_link(z).shape == (2,)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_finds_the_robust_line(name):
    """Targets on a line, but for a tenth of them: the gradient, written down here, is zero at the solution."""
    case = SOLVERS[name]
    penalty = L2(1e-3) if "l2" in case.penalties else L1(1e-3)
    if not (case.exact and {"l2", "l1"} & set(case.penalties)):
        pytest.skip("has no guarantee of the optimum")
    if name == "disco":
        pytest.skip("damped Newton steps are right for losses that are self-concordant, which this one is not")
    rng = np.random.default_rng(1)
    X, line = rng.normal(size=(160, 3)), np.array([1.0, -2.0, 0.5])
    y = X @ line + 3.0 + 30 * (np.arange(160) % 10 == 0)
    result = minimize(make_problem(X, y, loss=PseudoHuber(0.1), penalty=penalty, n_blocks=2), case.solver, tol=1e-7)
    w, b = result.W[:3, 0], result.W[3, 0]
    residual = (X @ w + b - y) / 0.1
    slopes = 0.1 * residual / np.sqrt(1 + residual**2)
    r = 1e-3 * (w if "l2" in case.penalties else np.sign(w))
    np.testing.assert_allclose(X.T @ slopes / 160 + r, 0, atol=2e-7)
    assert abs(slopes.mean()) < 2e-7
    np.testing.assert_allclose(w, line, atol=0.2)


@pytest.mark.cluster
def test_a_loss_of_a_notebook_travels_to_worker_processes(cluster_client):
    """Its class is in no module that workers can import, so that it travels with its code."""
    notebook = {"CustomLoss": CustomLoss, "np": np, "__name__": "__main__"}
    exec(inspect.getsource(OwnLogistic), notebook)
    rng = np.random.default_rng(2)
    X = rng.normal(size=(100, 3))
    y = (X[:, 0] + rng.normal(size=100) > 0).astype(float)
    chunks = da.from_array(X, chunks=(50, -1)), da.from_array(y, chunks=50)
    there = make_problem(*chunks, loss=notebook["OwnLogistic"](), penalty=L2(0.1)).at(np.ones((4, 1)))
    here = make_problem(X, y, loss=Logistic(), penalty=L2(0.1)).at(np.ones((4, 1)))
    assert there.value == pytest.approx(here.value, rel=1e-14)
    np.testing.assert_allclose(there.gradient, here.gradient, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_the_library_pass(name):
    case = LOSSES[name]
    check_loss(case.loss, case.targets(np.random.default_rng(4), 30))


def wrong(**methods):
    """Return a pseudo-Huber loss with some members replaced."""
    return type("Wrong", (PseudoHuber,), methods)()


@pytest.mark.parametrize(
    ("loss", "finding"),
    [
        (wrong(grad=lambda self, y, z: y - z), r"The gradient is .* and differences of the value give .* in row \d+"),
        (wrong(hessp=lambda self, y, z, v: v), "The Hessian product is .* and differences of the gradient give"),
        (wrong(hessp=lambda self, y, z, v: v, grad=lambda self, y, z: z - y), "has 1 faults"),
        (wrong(fun=lambda self, y, z: (z - y[:, None]) ** 2), r"The value of 30 rows has shape \(30, 30\)"),
        (wrong(grad=lambda self, y, z: np.float64(2) * (z - y) / np.ones(1)), "is float64; keep the dtype of z"),
        (wrong(fun=lambda self, y, z: z - y, grad=lambda self, y, z: 0 * z + 1), "differences of the gradient"),
        (
            wrong(fun=lambda self, y, z: -(z**2), grad=lambda self, y, z: -2 * z, hessp=lambda self, y, z, v: -2 * v),
            "convex = True, but in row 0 .* eigenvalue -2",
        ),
        (wrong(curvature_bound=0.5), "curvature_bound is 0.5, but an eigenvalue of a Hessian is"),
        (
            wrong(
                fun=lambda self, y, z: z * z.mean(), grad=lambda self, y, z: 0 * z + z.mean(),
                hessp=lambda self, y, z, v: 0 * v,
            ),
            "depends on other rows",
        ),
        (wrong(valid=lambda self, y: y > 1e9), "30 of the given targets are not allowed"),
        (wrong(null_margin=lambda self, mean: np.zeros(2)), "null_margin must return 1 numbers"),
        (wrong(__reduce__=lambda self: 1 / 0), "It cannot be sent to the workers of a cluster: ZeroDivisionError"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_wrong_is_found(loss, finding):
    y = np.random.default_rng(5).normal(size=30)
    with pytest.raises(AssertionError, match=finding):
        check_loss(loss, y)


def test_margins_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"z has shape \(3,\); it must be \(3, 1\)"):
        check_loss(PseudoHuber(), np.zeros(3), np.zeros(3))
