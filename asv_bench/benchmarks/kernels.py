"""The arithmetic of one block against plain NumPy: two matrix products and what lies between them."""

from __future__ import annotations

import functools

import numpy as np
import scipy.special

from dask_newton.inner import CG, LSMR, SquaredCG
from dask_newton.inner.penalised_model import minimize_by_products
from dask_newton.losses import Logistic, Softmax
from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.local import LocalLinear
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import Norms

from . import common, problems

SHAPES = {  # rows (small, full), features, classes, dtype
    "tall": ((50_000, 1_000_000), 28, 2, np.float64),
    "pixels": ((6_000, 60_000), 784, 10, np.float32),
    "images": ((2_000, 50_000), 3072, 10, np.float32),
}


class Kernels:
    """Value and gradient, Hessian product and Gram matrix."""

    params = (tuple(SHAPES), ("dask_newton", "numpy"))
    param_names = ("shape", "by")
    timeout = 600

    def setup(self, shape: str, by: str) -> None:
        rows, p, classes, dtype = SHAPES[shape]
        n, rng = rows[problems.FULL], np.random.default_rng(0)
        self.K = 1 if classes == 2 else classes
        self.X = rng.standard_normal((n, p), dtype=np.float32).astype(dtype)
        self.y = rng.integers(0, classes, n)
        self.W = rng.standard_normal((p, self.K)) / np.sqrt(p)
        self.V = rng.standard_normal((p, self.K))
        loss = Logistic() if self.K == 1 else Softmax(classes)
        y = self.y.astype(dtype) if self.K == 1 else self.y
        self.block = LinearBlock(RowBlock(self.X, y, None, None, loss), fit_intercept=False)
        self.curvature = self.block.ray(self.W).curvature
        self.P = self._probabilities()
        self.d = (self.P * (1 - self.P)).mean(axis=1).astype(dtype)
        self._compare(by)

    def _compare(self, by: str) -> None:
        """Refuse to time two sides that do not compute the same."""
        if by == "numpy":
            ours, theirs = self.block.ray(self.W), self._value_gradient()
            np.testing.assert_allclose(float(ours.values[0]), theirs[0], rtol=1e-4)
            np.testing.assert_allclose(ours.gradient, theirs[1], rtol=1e-2, atol=1e-3 * np.abs(theirs[1]).max())
            product = self.block.hess_mul(self.curvature, self.V)
            np.testing.assert_allclose(product, self._hess_mul(), rtol=1e-2, atol=1e-3 * np.abs(product).max())

    def time_value_gradient(self, shape: str, by: str) -> None:
        self.block.ray(self.W) if by == "dask_newton" else self._value_gradient()

    def time_hessian_product(self, shape: str, by: str) -> None:
        self.block.hess_mul(self.curvature, self.V) if by == "dask_newton" else self._hess_mul()

    def time_gram(self, shape: str, by: str) -> None:
        if by == "dask_newton":
            self.block.grams(self.curvature, [_mean_diagonal])
        else:
            self.X.T @ (self.X * self.d[:, None])

    def _probabilities(self) -> np.ndarray:
        Z = self.X @ self.W.astype(self.X.dtype)
        return scipy.special.expit(Z) if self.K == 1 else scipy.special.softmax(Z, axis=1)

    def _value_gradient(self) -> tuple[float, np.ndarray]:
        Z = self.X @ self.W.astype(self.X.dtype)
        if self.K == 1:
            value = np.logaddexp(0, Z[:, 0]).sum() - self.y @ Z[:, 0]
            return float(value), self.X.T @ (scipy.special.expit(Z) - self.y[:, None]).astype(self.X.dtype)
        log_p = scipy.special.log_softmax(Z, axis=1)
        rows = np.arange(len(self.y))
        R = np.exp(log_p)
        R[rows, self.y] -= 1
        return float(-log_p[rows, self.y].sum(dtype=np.float64)), self.X.T @ R

    def _hess_mul(self) -> np.ndarray:
        Z, P = self.X @ self.V.astype(self.X.dtype), self.P
        U = P * (1 - P) * Z if self.K == 1 else P * (Z - (P * Z).sum(axis=1, keepdims=True))
        return self.X.T @ U.astype(self.X.dtype)


def _mean_diagonal(loss, curvature):
    return sum(loss.hess_entry(curvature, k, k) for k in range(loss.n_outputs)) / loss.n_outputs


class SparseKernels:
    """Value and gradient, and Hessian product, on CSR, against the two products of SciPy."""

    params = (("text2", "text20"), ("float32", "float64"), ("dask_newton", "scipy"))
    param_names = ("problem", "dtype", "by")
    timeout = 600

    def setup(self, name: str, dtype: str, by: str) -> None:
        problem = problems.make(name)
        self.X, K = problem.X.astype(dtype), problem.n_outputs
        y = problem.y.astype(dtype) if K == 1 else problem.y
        self.block = LinearBlock(
            RowBlock(self.X, y, None, None, Logistic() if K == 1 else Softmax(K)), fit_intercept=False
        )
        self.W = np.random.default_rng(0).standard_normal((self.X.shape[1], K))
        self.V, self.R = self.W.astype(dtype), np.ones((len(y), K), dtype)
        self.curvature = self.block.ray(self.W).curvature

    def time_value_gradient(self, name: str, dtype: str, by: str) -> None:
        self.block.ray(self.W) if by == "dask_newton" else (self.X @ self.V, self.X.T @ self.R)

    def time_hessian_product(self, name: str, dtype: str, by: str) -> None:
        self.block.hess_mul(self.curvature, self.W) if by == "dask_newton" else (self.X @ self.V, self.X.T @ self.R)


class LocalSystem:
    """CG, LSMR and CG on the squared matrix on one block, by products with X alone or with the Hessian in the end."""

    params = (("breast_cancer", "digits", "tall"), ("CG", "LSMR", "SquaredCG"), ("matrix", "products"))
    param_names = ("problem", "solver", "by")
    timeout = 600

    def setup(self, name: str, solver: str, by: str) -> None:
        problem = problems.make(name)
        loss = Logistic() if problem.n_outputs == 1 else Softmax(problem.n_outputs)
        rows = np.arange(len(problem.y)) % 8 == 0  # an eighth, as one block of eight
        y = problem.y[rows].astype(float) if problem.n_outputs == 1 else problem.y[rows]
        block = LinearBlock(RowBlock(problem.X[rows], y, None, None, loss), fit_intercept=True)
        self.local = LocalLinear(block, block.rows.total_weight, ridge=1e-6)
        self.point = self.local.at(np.zeros(block.shape))
        cg = CG(rtol=1e-4, max_iter=200)
        self.method = {"CG": cg, "LSMR": LSMR(1e-4, 200, 1e-6), "SquaredCG": SquaredCG(cg, 1e-6)}[solver]

    def time_solve(self, name: str, solver: str, by: str) -> None:
        curvature = self.point.curvature
        products = functools.partial(self.local.hess_mul, curvature)
        self.method.solve(self.local.hessian(curvature) if by == "matrix" else products, self.point.gradient)


class PenalisedModel:
    """What one block does of prox-GIANT, near the optimum, where the Hessian is too large: a model, by 200 products."""

    timeout = 600

    def setup(self) -> None:
        problem = problems.make("pixels_l1")
        block = LinearBlock(RowBlock(problem.X, problem.y, None, None, Softmax(problem.n_outputs)), fit_intercept=False)
        lam1, self.lam2 = (r / (problem.C * len(problem.y)) for r in (problem.l1_ratio, 1 - problem.l1_ratio))
        self.local = LocalLinear(block, block.rows.total_weight)
        W = common.fit(problem, "prox-newton", blocks=1, tol=1e-4).coef_.T
        point = self.local.at(W)
        self.curvature, self.w = point.curvature, W.ravel()
        self.g = point.gradient.ravel() + self.lam2 * self.w
        self.diagonal = block.hess_diag(self.curvature).ravel() / block.rows.total_weight + self.lam2
        self.norms = Norms(np.full(W.size, lam1))

    def _product(self, v: np.ndarray) -> np.ndarray:
        return self.local.hess_mul(self.curvature, v.reshape(self.local.block.shape)).ravel() + self.lam2 * v

    def _solve(self) -> np.ndarray:
        return minimize_by_products(self._product, self.diagonal, self.g, self.w, self.norms, rtol=1e-8, max_iter=200)

    def _violation(self, u: np.ndarray) -> float:
        gradient = self.g + self._product(u - self.w)
        return float(np.max(np.abs(u - self.norms.prox(u - gradient, 1.0))))

    def time_solve(self) -> None:
        self._solve()

    def track_reduction(self) -> float:
        return self._violation(self._solve()) / self._violation(self.w)

    track_reduction.unit = "of the violation at the start"
