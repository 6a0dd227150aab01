"""Prediction and scoring of one chunk, for arrays of any namespace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, namespace, to_host
from dask_newton.containers.inputs import block_matrix
from dask_newton.losses import Loss
from dask_newton.objectives.network.block import NetworkBlock
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.rows.block import RowBlock

__all__ = [
    "LinearMargins",
    "Margins",
    "NetworkMargins",
    "accuracy_sums",
    "codes",
    "decision",
    "deviances",
    "hits",
    "log_probabilities",
    "logs_of_probabilities",
    "mean",
    "predict",
    "probabilities",
    "r2",
    "r2_sums",
    "squares",
]

Margins = Callable[[Any, Any], Any]  # of (X, offset)


@dataclass(frozen=True, eq=False)
class LinearMargins:
    """``X w + b + offset``, with ``coef`` = (w; b)."""

    coef: np.ndarray

    def __call__(self, X: Any, offset: Any = None) -> Any:
        """Return the margins of some rows."""
        W = from_host(self.coef, X, X.dtype)
        z = X @ W[:-1, :] + W[-1, :]
        return z if offset is None else z + _matrix_like(X, offset)


@dataclass(frozen=True, eq=False)
class NetworkMargins:
    """The margins of a network with the parameters ``theta``."""

    layers: Layers
    theta: np.ndarray

    def __call__(self, X: Any, offset: Any = None) -> Any:
        """Return the margins of some rows."""
        rows: Any = RowBlock(X, None, None, None if offset is None else _matrix_like(X, offset), None)  # type: ignore[arg-type]
        return NetworkBlock(rows, self.layers).margins(self.theta)


def _matrix_like(X: Any, offset: Any) -> Any:
    offset = to_host(offset)
    return from_host(offset[:, None] if offset.ndim == 1 else offset, X, X.dtype)


def decision(X: Any, offset: Any = None, *, margins: Margins, squeeze: bool) -> Any:
    """Return the margins; one margin per row is returned as a vector if ``squeeze``."""
    z = margins(X, offset)
    return z[:, 0] if squeeze else z


def codes(z: Any) -> Any:
    """Return the index of the most probable class of each row."""
    xp = namespace(z)
    return xp.astype(z[:, 0] > 0, xp.int64) if z.shape[1] == 1 else xp.argmax(z, axis=1)


def predict(X: Any, offset: Any = None, *, margins: Margins, classes: np.ndarray) -> Any:
    """Return the most probable labels, on the device of X; labels that are not numbers as a NumPy array."""
    z = margins(X, offset)
    labels = classes[to_host(codes(z))]
    return from_host(labels, z) if labels.dtype.kind in "biuf" else labels


def probabilities(X: Any, offset: Any = None, *, margins: Margins, loss: Loss) -> Any:
    """Return the probabilities of all classes."""
    return loss.inverse_link(margins(X, offset))


def log_probabilities(X: Any, offset: Any = None, *, margins: Margins) -> Any:
    """Return the logarithms of the probabilities of all classes."""
    z = margins(X, offset)
    xp = namespace(z)
    if z.shape[1] == 1:
        z = xp.concat([xp.zeros_like(z), z], axis=1)
    top = xp.max(z, axis=1, keepdims=True)
    return z - top - xp.log(xp.sum(xp.exp(z - top), axis=1, keepdims=True))


def logs_of_probabilities(X: Any, offset: Any = None, *, margins: Margins, loss: Loss) -> Any:
    """Return the logarithms of :func:`probabilities`, -inf where they underflow, as in scikit-learn's networks."""
    p = probabilities(X, offset, margins=margins, loss=loss)
    with np.errstate(divide="ignore"):
        return namespace(p).log(p)


def hits(X: Any, y: Any, weight: Any, offset: Any, *, margins: Margins, classes: np.ndarray) -> tuple[float, float]:
    """Return the weight of the rows predicted correctly, and of all rows."""
    return accuracy_sums(to_host(predict(block_matrix(X), offset, margins=margins, classes=classes)), y, weight)


def accuracy_sums(predicted: np.ndarray, y: Any, weight: Any) -> tuple[float, float]:
    """Return the weight of the rows predicted correctly, and of all rows."""
    hit, w = predicted == to_host(y), _host_weight(weight, len(predicted))
    return float((hit * w).sum()), float(w.sum())


def mean(X: Any, offset: Any = None, *, margins: Margins, loss: Loss, squeeze: bool) -> Any:
    """Return the expected targets; one target per row is returned as a vector if ``squeeze``."""
    response = loss.inverse_link(margins(X, offset))
    if response.ndim == 1 and not squeeze:
        return response[:, None]
    return response


def squares(X: Any, y: Any, weight: Any, offset: Any, *, margins: Margins, loss: Loss) -> np.ndarray:
    """Return :func:`r2_sums` for the predictions of the model."""
    return r2_sums(loss.inverse_link(margins(block_matrix(X), offset)), y, weight)


def r2_sums(predicted: Any, y: Any, weight: Any) -> np.ndarray:
    """Return, by target, the sums of weights, targets, squared targets and squared errors, shape (4, n_targets).

    Raises
    ------
    ValueError
        If the numbers of targets and of predictions per row differ.
    """
    y, z = _host_matrix(y), _host_matrix(predicted)
    if y.shape != z.shape:
        raise ValueError(
            f"y has {y.shape[1]} columns, and the model predicts {z.shape[1]} targets per row; they must be equal."
        )
    w = _host_weight(weight, len(y))[:, None]
    ones = np.ones_like(y)
    return np.stack([np.sum(w * a, axis=0) for a in (ones, y, y**2, (y - z) ** 2)])


def r2(sums: np.ndarray) -> float:
    """Return :math:`R^2`, the mean over targets, from :func:`r2_sums` of all rows."""
    weight, total, square, error = sums
    spread = square - total**2 / weight
    # As in scikit-learn: a constant target is predicted exactly (1) or not (0).
    constant = spread <= 1e-15 * square
    ratio = np.where(constant, error > 1e-15 * square, error / np.where(constant, 1.0, spread))
    return float(np.mean(1 - ratio))


def deviances(X: Any, y: Any, weight: Any, offset: Any, *, margins: Margins, loss: Loss) -> np.ndarray:
    """Return the sums of weights, weighted targets, losses, and smallest possible losses, shape (4,)."""
    y, z = _host_matrix(y)[:, 0], to_host(margins(block_matrix(X), offset)).astype(np.float64)
    w = _host_weight(weight, len(y))
    return np.array([np.sum(w * a) for a in (np.ones_like(y), y, loss.value(y, z), loss.saturated(y))])


def _host_matrix(y: Any) -> np.ndarray:
    y = np.asarray(to_host(y), dtype=np.float64)
    return y if y.ndim == 2 else y[:, None]


def _host_weight(weight: Any, n: int) -> np.ndarray:
    return np.ones(n) if weight is None else np.asarray(to_host(weight), dtype=np.float64)
