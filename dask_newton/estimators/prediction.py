"""Prediction on one chunk: functions of an array of any namespace and of NumPy coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_newton.arrays import from_host, namespace, to_host
from dask_newton.estimators.inputs import block_matrix
from dask_newton.losses import Loss

__all__ = ["decision", "deviances", "hits", "log_probabilities", "mean", "predict", "probabilities", "squares"]


def _margins(X: Any, offset: Any, coef: np.ndarray) -> Any:
    W = from_host(coef, X, X.dtype)
    z = X @ W[:-1, :] + W[-1, :]
    if offset is None:
        return z
    offset = to_host(offset)
    return z + from_host(offset[:, None] if offset.ndim == 1 else offset, X, X.dtype)


def decision(X: Any, offset: Any = None, *, coef: np.ndarray, squeeze: bool) -> Any:
    """Return margins, as a vector where there is one per row."""
    z = _margins(X, offset, coef)
    return z[:, 0] if squeeze else z


def predict(X: Any, offset: Any = None, *, coef: np.ndarray, classes: np.ndarray) -> Any:
    """Return the most probable labels, where X is; in NumPy if they are no numbers."""
    z = _margins(X, offset, coef)
    xp = namespace(z)
    index = xp.astype(z[:, 0] > 0, xp.int64) if coef.shape[1] == 1 else xp.argmax(z, axis=1)
    labels = classes[to_host(index)]
    return from_host(labels, z) if labels.dtype.kind in "biuf" else labels


def probabilities(X: Any, offset: Any = None, *, coef: np.ndarray, loss: Loss) -> Any:
    """Return the probabilities of all classes."""
    return loss.inverse_link(_margins(X, offset, coef))


def log_probabilities(X: Any, offset: Any = None, *, coef: np.ndarray, loss: Loss) -> Any:
    """Return the logarithms of the probabilities of all classes."""
    z = _margins(X, offset, coef)
    xp = namespace(z)
    if coef.shape[1] == 1:
        z = xp.concat([xp.zeros_like(z), z], axis=1)
    top = xp.max(z, axis=1, keepdims=True)
    return z - top - xp.log(xp.sum(xp.exp(z - top), axis=1, keepdims=True))


def hits(
    X: Any, y: Any, weight: Any, offset: Any, *, coef: np.ndarray, classes: np.ndarray
) -> tuple[float, float]:
    """Return the weight of the rows predicted right, and of all rows."""
    hit = to_host(predict(block_matrix(X), offset, coef=coef, classes=classes)) == to_host(y)
    if weight is None:
        return float(hit.sum()), float(len(hit))
    return float((hit * to_host(weight)).sum()), float(to_host(weight).sum())


def mean(X: Any, offset: Any = None, *, coef: np.ndarray, loss: Loss, squeeze: bool) -> Any:
    """Return the expected targets, as a vector where that is the shape of the targets."""
    response = loss.inverse_link(_margins(X, offset, coef))
    if response.ndim == 1 and not squeeze:
        return response[:, None]
    return response


def squares(X: Any, y: Any, weight: Any, offset: Any, *, coef: np.ndarray, loss: Loss) -> np.ndarray:
    """Return, by target, the sums of weights, targets, squared targets and squared errors, shape (4, n_targets).

    Raises
    ------
    ValueError
        If there are more predictions for a row than targets.
    """
    y, z = _host_matrix(y), _host_matrix(loss.inverse_link(_margins(block_matrix(X), offset, coef)))
    if y.shape != z.shape:
        raise ValueError(
            f"y has {y.shape[1]} columns, and the model makes {z.shape[1]} predictions for each row; give as many."
        )
    w = _host_weight(weight, len(y))[:, None]
    ones = np.ones_like(y)
    return np.stack([np.sum(w * a, axis=0) for a in (ones, y, y**2, (y - z) ** 2)])


def deviances(X: Any, y: Any, weight: Any, offset: Any, *, coef: np.ndarray, loss: Loss) -> np.ndarray:
    """Return the sums of weights, weighted targets, losses, and smallest losses, shape (4,)."""
    y, z = _host_matrix(y)[:, 0], to_host(_margins(block_matrix(X), offset, coef)).astype(np.float64)
    w = _host_weight(weight, len(y))
    return np.array([np.sum(w * a) for a in (np.ones_like(y), y, loss.value(y, z), loss.saturated(y))])


def _host_matrix(y: Any) -> np.ndarray:
    y = np.asarray(to_host(y), dtype=np.float64)
    return y if y.ndim == 2 else y[:, None]


def _host_weight(weight: Any, n: int) -> np.ndarray:
    return np.ones(n) if weight is None else np.asarray(to_host(weight), dtype=np.float64)
