r"""The objectives again, dense and in plain NumPy, to judge references by.

Over W of shape (n_features + 1, n_outputs), whose last row are the intercepts, with margins z = X W + offset:

    F(W) = 1/S sum_j s_j l(y_j, z_j) + sum (l1 abs(W) + l2 W^2 / 2)

or, with ``by_row``, l1 times the norms of the rows of W. Nothing here comes from the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.special

__all__ = ["Objective"]


@dataclass(frozen=True)
class Objective:
    """A loss over given rows, and a penalty.

    Attributes
    ----------
    loss : {'logistic', 'softmax', 'squared'} or float
        A number is the power of a Tweedie loss with the logarithmic link: 1 is Poisson, 2 is gamma.
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Classes are numbered from 0.
    weight, offset : ndarray of shape (n_samples,)
    l1, l2 : float or ndarray that broadcasts against (n_features, n_outputs)
    by_row : bool
        Whether l1 penalises norms of rows.
    """

    loss: str | float
    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    l1: float | np.ndarray = 0.0
    l2: float | np.ndarray = 0.0
    by_row: bool = False

    @property
    def _matrix(self) -> np.ndarray:
        return np.column_stack([self.X, np.ones(len(self.X))])

    def _strength(self, strength: float | np.ndarray, W: np.ndarray) -> np.ndarray:
        result = np.zeros_like(W)
        result[:-1] = strength
        return result

    def _derivatives(self, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of the losses by the margins: (n, K) and (n, K, K)."""
        z = self._matrix @ W + self.offset[:, None]
        n, K = z.shape
        one = np.eye(K)[None]
        if self.loss == "squared":
            return z - self.y.reshape(n, K), np.broadcast_to(one, (n, K, K))
        if self.loss == "softmax":
            p = scipy.special.softmax(z, axis=1)
            return p - np.eye(K)[self.y], one * p[:, None] - p[:, :, None] * p[:, None, :]
        y = self.y[:, None]
        if self.loss == "logistic":
            p = scipy.special.expit(z)
            return p - y, (p * (1 - p))[:, :, None]
        a, b = 2 - self.loss, 1 - self.loss
        up, down = np.exp(a * z), y * np.exp(b * z)
        return up - down, (a * up - b * down)[:, :, None]

    def gradient(self, W: np.ndarray) -> np.ndarray:
        """Return the gradient of F without its l1 part."""
        first, _ = self._derivatives(W)
        weight = self.weight / self.weight.sum()
        return self._matrix.T @ (weight[:, None] * first) + self._strength(self.l2, W) * W

    def residual(self, W: np.ndarray) -> float:
        """Return the largest entry of ``W - prox(W - gradient)``, which is zero at the optimum only."""
        step = W - self.gradient(W)
        size = np.linalg.norm(step, axis=1, keepdims=True) if self.by_row else np.abs(step)
        shrunk = step * np.maximum(0, 1 - self._strength(self.l1, W) / np.maximum(size, 1e-300))
        return float(np.max(np.abs(W - shrunk)))

    def polished(self, W: np.ndarray) -> np.ndarray:
        """Return the optimum, by Newton's method on the coefficients that are not zero, from W near it.

        A step ends where the first coefficient would change its sign, which leaves the model; once the others have
        converged, the one that violates the optimality conditions most enters it.
        """
        l1, l2 = self._strength(self.l1, W), self._strength(self.l2, W)
        weight, X, sign = self.weight / self.weight.sum(), self._matrix, np.sign(W)
        K = W.shape[1]
        for _ in range(500):
            free = (sign != 0) | (l1 == 0)
            _, second = self._derivatives(W)
            H = np.block([[X.T @ (weight[:, None] * second[:, k, j, None] * X) for j in range(K)] for k in range(K)])
            on = free.T.ravel()
            gradient = self.gradient(W)
            step = np.zeros(W.size)
            # The intercepts of the softmax may all be shifted, so that its Hessian is singular.
            step[on] = np.linalg.lstsq(
                (H + np.diag(l2.T.ravel()))[np.ix_(on, on)], (gradient + l1 * sign).T.ravel()[on], rcond=1e-13
            )[0]
            step = step.reshape(K, -1).T
            crossing = (l1 > 0) & (sign != 0) & ((W - step) * sign <= 0)
            ratios = np.divide(W, step, out=np.full(W.shape, np.inf), where=crossing)
            length = min(1.0, np.min(ratios))
            W = W - length * step
            left = ratios == length
            W[left], sign[left] = 0.0, 0.0
            if not np.any(left) and np.max(np.abs(step)) <= 1e-12 * max(1.0, np.max(np.abs(W))):
                excess = np.where(free, 0.0, np.abs(gradient) - l1)
                worst = np.unravel_index(np.argmax(excess), W.shape)
                if excess[worst] <= 1e-10:
                    return W
                sign[worst] = -np.sign(gradient[worst])
        raise RuntimeError("The reference could not be polished; its start is too far from the optimum.")
