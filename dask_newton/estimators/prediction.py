"""Prediction on one chunk: functions of an array of any namespace and of NumPy coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_newton.arrays import from_host, namespace, to_host
from dask_newton.losses import Loss

__all__ = ["decision", "hits", "log_probabilities", "predict", "probabilities"]


def _margins(X: Any, coef: np.ndarray) -> Any:
    W = from_host(coef, X, X.dtype)
    return X @ W[:-1] + W[-1]


def decision(X: Any, *, coef: np.ndarray, squeeze: bool) -> Any:
    """Return margins, as a vector where there is one per row."""
    z = _margins(X, coef)
    return z[:, 0] if squeeze else z


def predict(X: Any, *, coef: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the most probable labels, in NumPy."""
    z = _margins(X, coef)
    xp = namespace(z)
    index = xp.astype(z[:, 0] > 0, xp.int64) if coef.shape[1] == 1 else xp.argmax(z, axis=1)
    return classes[to_host(index)]


def probabilities(X: Any, *, coef: np.ndarray, loss: Loss) -> Any:
    """Return the probabilities of all classes."""
    return loss.inverse_link(_margins(X, coef))


def log_probabilities(X: Any, *, coef: np.ndarray, loss: Loss) -> Any:
    """Return the logarithms of the probabilities of all classes."""
    z = _margins(X, coef)
    xp = namespace(z)
    if coef.shape[1] == 1:
        z = xp.concat([xp.zeros_like(z), z], axis=1)
    top = xp.max(z, axis=1, keepdims=True)
    return z - top - xp.log(xp.sum(xp.exp(z - top), axis=1, keepdims=True))


def hits(predicted: np.ndarray, y: Any, weight: Any) -> tuple[float, float]:
    """Return the weight of the rows predicted right, and of all rows."""
    hit = predicted == to_host(y)
    if weight is None:
        return float(hit.sum()), float(len(hit))
    return float((hit * to_host(weight)).sum()), float(to_host(weight).sum())
