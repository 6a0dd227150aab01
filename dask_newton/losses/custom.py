"""A base class for custom losses, from the value, the gradient and a Hessian product with respect to the margins.

The Hessian of each row, of K margins, is remembered as its K products with unit vectors: K^2 numbers per row. A loss
with many margins whose Hessian has a structure, such as :class:`~dask_newton.losses.Softmax`, remembers less.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from dask_newton.arrays import from_host, namespace
from dask_newton.losses.base import Array, Loss

__all__ = ["CustomLoss"]


class CustomLoss(Loss):
    """Base class of custom losses, given by ``fun``, ``grad`` and ``hessp``.

    The arguments are arrays of rows: targets ``y`` as they were given, and margins ``z`` of shape (n_rows,), or for
    ``n_outputs > 1`` (n_rows, n_outputs). NumPy functions work if all data are NumPy arrays; those of
    ``dask_newton.arrays.namespace(z)`` work for any array type. :func:`dask_newton.testing.check_loss` checks a loss.

    Attributes
    ----------
    convex : bool, default False
        Whether the loss is convex in its margins for every target. More solvers accept convex losses, and for them a
        gradient of zero is the optimum.
    n_outputs : int, default 1
        Margins per row.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_newton import LossRegressor
    >>> from dask_newton.losses import CustomLoss
    >>> class LogCosh(CustomLoss):
    ...     convex = True
    ...     def fun(self, y, z):
    ...         return np.logaddexp(z - y, y - z) - np.log(2)
    ...     def grad(self, y, z):
    ...         return np.tanh(z - y)
    ...     def hessp(self, y, z, v):
    ...         return v / np.cosh(z - y) ** 2
    >>> X, y = np.arange(8.0)[:, None], np.array([0.0, 1.0, 2.0, 300.0, 4.0, 5.0, 6.0, 7.0])
    >>> LossRegressor(LogCosh(), alpha=0).fit(X, y).coef_.round(1).tolist()  # one target is an outlier
    [1.0]
    """

    convex = False
    curvature_bound = None
    numeric = True
    n_outputs = 1

    @abstractmethod
    def fun(self, y: Array, z: Array) -> Array:
        """Return the loss of each row, shape (n_rows,)."""

    @abstractmethod
    def grad(self, y: Array, z: Array) -> Array:
        """Return the gradient of each row with respect to its margins, in the shape of ``z``."""

    @abstractmethod
    def hessp(self, y: Array, z: Array, v: Array) -> Array:
        """Return the Hessian of each row times the row of ``v``, in the shape of ``z``."""

    def value(self, y: Array, z: Array) -> Array:
        """Return the loss of each row."""
        return self.fun(y, self._margins(z))

    def linearize(self, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return value, gradient, and the Hessian of each row as its products with unit vectors, (n_rows, K^2)."""
        xp, margins = namespace(z), self._margins(z)
        units = from_host(np.eye(self.n_outputs), z, z.dtype)
        products = [
            self.hessp(y, margins, self._margins(xp.zeros_like(z) + units[k, :])) for k in range(self.n_outputs)
        ]
        value, gradient = self.fun(y, margins), self.grad(y, margins)
        if self.n_outputs == 1:
            return value, gradient[:, None], products[0][:, None]
        return value, gradient, xp.concat(products, axis=1)

    def hess_mul(self, curvature: Array, v: Array) -> Array:
        """Multiply the Hessian of each row with a row of ``v``."""
        if self.n_outputs == 1:
            return curvature * v
        xp, K = namespace(v), self.n_outputs
        return xp.sum(xp.reshape(curvature, (-1, K, K)) * v[:, :, None], axis=1)

    def hess_entry(self, curvature: Array, k: int, j: int) -> Array:
        """Return entry (k, j) of the Hessian of each row."""
        return curvature[:, k * self.n_outputs + j]

    def inverse_link(self, z: Array) -> Array:
        """Return the margins as predictions; override this for other predictions."""
        return self._margins(z)

    def _margins(self, z: Array) -> Array:
        return z[:, 0] if self.n_outputs == 1 else z
