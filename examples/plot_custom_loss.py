r"""
Your own loss: robust regression with the pseudo-Huber loss
===========================================================

A loss is a function of a target and of the margin :math:`z = x^\top w + b` of its row. Given its value, its gradient
and products with its second derivative, every solver works, on every container.
"""

# %%
# The pseudo-Huber loss is quadratic near zero and linear beyond ``delta``, so distant outliers influence the line no
# more than points that are slightly off. It is a subclass of ``CustomLoss`` with three methods.

from dataclasses import dataclass

import dask.array as da
import numpy as np
from matplotlib import pyplot as plt

from dask_newton import LinearRegression, LossRegressor, make_problem, minimize
from dask_newton.losses import CustomLoss
from dask_newton.penalties import L2
from dask_newton.testing import check_loss


@dataclass(frozen=True)
class PseudoHuber(CustomLoss):
    """``delta^2 (sqrt(1 + r^2) - 1)`` with ``r = (z - y) / delta``."""

    delta: float = 1.0
    convex = True

    def _root(self, y, z):
        return np.sqrt(1 + ((z - y) / self.delta) ** 2)

    def fun(self, y, z):
        """Return the loss of each row."""
        return self.delta**2 * (self._root(y, z) - 1)

    def grad(self, y, z):
        """Return its derivative with respect to z."""
        return (z - y) / self._root(y, z)

    def hessp(self, y, z, v):
        """Return its second derivative times v."""
        return v / self._root(y, z) ** 3


# %%
# ``check_loss`` compares the derivatives with finite differences and checks everything else that solvers rely on. If
# the sign of the gradient is wrong, it says so, and in which row.

check_loss(PseudoHuber(0.5), y=np.linspace(-3, 3, 20))


class Wrong(PseudoHuber):
    """With the wrong sign."""

    def grad(self, y, z):
        """Return minus the derivative."""
        return -super().grad(y, z)


try:
    check_loss(Wrong(0.5), y=np.linspace(-3, 3, 20))
except AssertionError as error:
    print(error)

# %%
# ``LossRegressor`` fits any loss, with the parameters and methods of the other estimators. The targets lie on a line,
# except for one in ten.

rng = np.random.default_rng(0)
x = rng.uniform(0, 10, 2000)
y = 1.5 * x - 2 + 0.5 * rng.normal(size=2000)
far = rng.random(2000) < 0.1
y[far] -= rng.gamma(4, 8, far.sum()) * x[far] / 5
X = da.from_array(x[:, None], chunks=(250, 1))  # eight blocks

robust = LossRegressor(PseudoHuber(0.5), alpha=1e-6).fit(X, y)
squares = LinearRegression().fit(X, y)
print("drawn with slope 1.5, intercept -2")
print(f"pseudo-Huber {robust.coef_[0]:.3f}, {robust.intercept_:.3f}   by {robust.solver_.name}")
print(f"least squares {squares.coef_[0]:.3f}, {squares.intercept_:.3f}")

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(x, y, ".", color="0.7", markersize=3)
ends = np.array([[0.0], [10.0]])
ax.plot(ends[:, 0], squares.predict(ends), label="least squares", color="C1")
ax.plot(ends[:, 0], robust.predict(ends), label="pseudo-Huber", color="C0")
ax.set(xlabel="x", ylabel="y", ylim=(-40, 20))
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# The same objective without an estimator, with several solvers: all of them find the same line. ``make_problem``
# accepts the same containers.

problem = make_problem(X, y, loss=PseudoHuber(0.5), penalty=L2(1e-6))
for solver in ("newton-cholesky", "newton-cg", "giant", "lbfgs", "newton-admm"):
    result = minimize(problem, solver, tol=1e-8, max_iter=200)
    rounds = result.history[-1]["rounds"]
    print(f"{solver:16s} slope {result.W[0, 0]:.6f}  intercept {result.W[1, 0]:.6f}  rounds {rounds}")
