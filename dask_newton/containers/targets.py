"""Targets: numbers; or labels, with the classes of all chunks, their codes and their weights."""

from __future__ import annotations

import functools
from typing import Any

import dask
import dask.array as da
import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from dask_newton.arrays import to_host
from dask_newton.blocks.names import delayed
from dask_newton.containers.inputs import Rows, delayed_chunks
from dask_newton.losses import Loss

__all__ = [
    "as_float",
    "class_codes",
    "find_classes",
    "given_classes",
    "numeric_targets",
    "require_outputs",
    "reweighing",
]


def given_classes(classes: Any) -> np.ndarray:
    """Return the classes that the user gave, sorted.

    Raises
    ------
    ValueError
        If there are fewer than two, or duplicates.
    """
    given = np.asarray(classes)
    unique = np.unique(given)
    if given.ndim != 1 or len(unique) < 2 or len(unique) < len(given):
        raise ValueError(f"classes must be a list of at least two different labels; got {classes!r}.")
    return unique


def find_classes(rows: Rows, class_weight: Any, given: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of all chunks and, if ``class_weight`` is 'balanced', the weight of each class.

    If the classes are ``given``, only their weights are computed.

    Raises
    ------
    ValueError
        If there are no rows, or fewer than two classes.
    """
    balanced = class_weight == "balanced"
    if rows.lazy:
        n = rows.X.numblocks[0]
        look = delayed(functools.partial(_class_weights, balanced=balanced), "read-labels")
        parts = zip(delayed_chunks(rows.y, n), delayed_chunks(rows.sample_weight, n), strict=True)
        found = [part for part in dask.compute(*(look(y, weight) for y, weight in parts)) if len(part[0])]
        if not found:
            raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    else:
        found = [_class_weights(rows.y, rows.sample_weight, balanced=balanced)]
    classes = np.unique(np.concatenate([part[0] for part in found])) if given is None else given_classes(given)
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes[0]!r}"
        )
    weights = np.zeros(len(classes))
    for labels, sums in found:
        weights[class_codes(labels, classes=classes, dtype=np.dtype(np.int64))] += sums
    return classes, weights


def reweighing(class_weight: Any, classes: np.ndarray, weights: np.ndarray, dtype: Any) -> Any:
    """Return a function of (y, weight) that multiplies the weights by the class weights; None if there are none.

    Raises
    ------
    ValueError
        If ``class_weight`` contains an unknown class.
    """
    if class_weight is None:
        return None
    if class_weight == "balanced":
        with np.errstate(divide="ignore"):
            factors = weights.sum() / (len(classes) * weights)
        factors = np.where(np.isfinite(factors), factors, 0.0)
    else:
        unknown = set(class_weight) - set(classes.tolist())
        if unknown:
            raise ValueError(
                f"class_weight contains classes that are not in y: {sorted(map(str, unknown))}; y has {list(classes)}."
            )
        factors = np.array([class_weight.get(c, 1.0) for c in classes.tolist()])
    return functools.partial(_reweigh, classes=classes, factors=factors.astype(dtype))


def _class_weights(y: Any, weight: Any, *, balanced: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of a chunk, and their weights if these are needed, which costs more."""
    y = to_host(y)
    labels = np.unique(y)
    if len(y):
        # It sorts y again. A few distinct labels are enough for it, and too few for its warning about many classes.
        check_classification_targets(labels if len(labels) <= 20 else y)
    if not balanced:
        return labels, np.zeros(len(labels))
    index = np.searchsorted(labels, y)
    return labels, np.bincount(index, None if weight is None else to_host(weight), len(labels))


def class_codes(y: Any, *, classes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the codes of labels.

    Raises
    ------
    ValueError
        If a label is not among the classes.
    """
    y = to_host(y)
    codes = np.searchsorted(classes, y)
    known = classes[np.minimum(codes, len(classes) - 1)] == y
    if not np.all(known):
        unknown = np.unique(y[~known])[:5].tolist()
        raise ValueError(f"y has labels that are not among the classes: {unknown}; classes are {classes.tolist()}.")
    return codes.astype(dtype)


def _reweigh(y: Any, weight: np.ndarray | None, *, classes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    factor = factors[np.searchsorted(classes, to_host(y))]
    return factor if weight is None else weight * factor


def numeric_targets(rows: Rows) -> Rows:
    """Return the rows, unless their targets are not numbers."""
    if rows.y.dtype.kind not in "fiub":
        raise ValueError(f"y has dtype {rows.y.dtype}; targets must be real numbers.")
    if isinstance(rows.y, da.Array) and rows.y.ndim == 2 and np.isnan(rows.y.shape[1]):
        raise ValueError("The number of columns of y is unknown; call y.compute_chunk_sizes() first.")
    return rows


def require_outputs(rows: Rows, loss: Loss) -> Loss:
    """Return the loss, unless the number of its outputs differs from the number of columns of the targets."""
    if rows.y.ndim == 2 and rows.y.shape[1] != loss.n_outputs:
        raise ValueError(f"y has {rows.y.shape[1]} columns and the loss has {loss.n_outputs} outputs: {loss}.")
    return loss


def as_float(y: Any, *, dtype: np.dtype) -> np.ndarray:
    """Return the targets of a block as a NumPy array."""
    return np.asarray(to_host(y), dtype=dtype)
