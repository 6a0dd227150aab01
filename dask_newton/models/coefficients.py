"""The coefficients of a model: named arrays with dimensions, checked when they are read.

A linear model has ``coef`` and ``intercept``. A network has ``coef_1`` and ``intercept_1`` for its first layer, and so
on; its dimensions are ``feature``, ``unit_1`` and so on, and finally ``class`` or ``output``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import zarr

from dask_newton.estimators.network import NetworkEstimator
from dask_newton.storage.history import read_array, write_array
from dask_newton.storage.kinds import ModelError

__all__ = ["is_convex", "parameters_of", "set_coefficients", "write_coefficients"]

Require = Callable[[bool, str], None]


def write_coefficients(group: zarr.Group, estimator: Any) -> None:
    """Write coefficients, classes and feature names."""
    classes = getattr(estimator, "classes_", None)
    network = isinstance(estimator, NetworkEstimator)
    columns = _columns_of_network(estimator) if network else _columns(estimator)
    if classes is not None:
        columns["class"] = (_text(classes, "class"), ("class",))
    if hasattr(estimator, "feature_names_in_"):
        columns["feature"] = (_text(estimator.feature_names_in_, "feature name"), ("feature",))
    for name, (values, dims) in columns.items():
        write_array(group, name, values, dims)
    if classes is not None:
        group.attrs["class_dtype"] = classes.dtype.str
    if network:
        group.attrs["n_layers"] = len(estimator.coefs_)


def set_coefficients(estimator: Any, group: zarr.Group, where: str) -> None:
    """Set the attributes that :func:`write_coefficients` wrote.

    Raises
    ------
    ModelError
        If arrays are missing or do not fit together.
    """

    def require(fits: bool, finding: str) -> None:
        if not fits:
            raise ModelError(f"The model {where} is damaged or was edited: {finding}.")

    classes, features = (read_array(group, name, where) for name in ("class", "feature"))
    if isinstance(estimator, NetworkEstimator):
        n_features, n_outputs = _set_network(estimator, group, where, require)
    else:
        n_features, n_outputs = _set_linear(estimator, group, where, require)
    require(
        (classes is not None) == hasattr(estimator, "predict_proba"),
        "classes are missing, or there are classes in a model without them",
    )
    if classes is not None:
        expected = 1 if len(classes) == 2 else len(classes)
        require(n_outputs == expected, f"{len(classes)} classes do not fit {n_outputs} outputs")
        dtype: np.dtype[Any] = np.dtype(str(group.attrs["class_dtype"]))
        require(dtype.kind in "biufUO", f"classes cannot have dtype {dtype}")
        estimator.classes_ = classes.astype(dtype)
    if features is not None:
        names = len(features)
        require(names == n_features, f"{names} feature names do not fit {n_features} coefficients")
        estimator.feature_names_in_ = features.astype(object)
    estimator.n_features_in_ = n_features
    if isinstance(estimator, NetworkEstimator):
        estimator._set_shape()


def parameters_of(estimator: Any) -> np.ndarray:
    """Return the parameters of the objective."""
    if isinstance(estimator, NetworkEstimator):
        return estimator._theta()
    rows = [np.atleast_2d(estimator.coef_).T]
    if estimator.fit_intercept:
        rows.append(np.atleast_2d(estimator.intercept_))
    return np.concatenate(rows)


def is_convex(estimator: Any) -> bool:
    """Whether the objective is convex."""
    if isinstance(estimator, NetworkEstimator):
        return False
    return getattr(estimator.get_params().get("loss"), "convex", True)


def _columns(estimator: Any) -> dict[str, Any]:
    coef, classes = np.asarray(estimator.coef_), getattr(estimator, "classes_", None)
    # xarray needs one length per dimension, but for two classes there is one row of coefficients.
    output = "class" if classes is not None and len(classes) == len(coef) else "output"
    outputs = (output,) if coef.ndim == 2 else ()
    return {
        "coef": (coef, (*outputs, "feature")),
        "intercept": (np.atleast_1d(estimator.intercept_), outputs or ("output",)),
    }


def _columns_of_network(estimator: Any) -> dict[str, Any]:
    n = len(estimator.coefs_)
    output = "class" if len(getattr(estimator, "classes_", ())) == len(estimator.intercepts_[-1]) else "output"
    dims = ("feature", *(f"unit_{i}" for i in range(1, n)), output)
    columns: dict[str, Any] = {}
    for i, (coef, intercept) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True), 1):
        columns |= {f"coef_{i}": (coef, dims[i - 1 : i + 1]), f"intercept_{i}": (intercept, dims[i : i + 1])}
    return columns


def _set_linear(estimator: Any, group: zarr.Group, where: str, require: Require) -> tuple[int, int]:
    coef, intercept = (read_array(group, name, where) for name in ("coef", "intercept"))
    require(coef is not None and intercept is not None, "it needs the arrays 'coef' and 'intercept'")
    assert coef is not None and intercept is not None
    require(coef.ndim in (1, 2) and coef.dtype.kind == "f", f"coef is {coef.dtype} of shape {coef.shape}")
    n_outputs = len(coef) if coef.ndim == 2 else 1
    require(intercept.shape == (n_outputs,), f"coef has shape {coef.shape}, but intercept {intercept.shape}")
    require(bool(np.isfinite(coef).all() and np.isfinite(intercept).all()), "coefficients are not finite")
    estimator.coef_ = coef
    estimator.intercept_ = intercept if coef.ndim == 2 else float(intercept[0])
    return coef.shape[-1], n_outputs


def _set_network(estimator: Any, group: zarr.Group, where: str, require: Require) -> tuple[int, int]:
    n: Any = group.attrs["n_layers"]
    require(isinstance(n, int) and n >= 1, f"a network has {n!r} layers")
    estimator.coefs_, estimator.intercepts_ = [], []
    for i in range(1, n + 1):
        coef, intercept = (read_array(group, f"{name}_{i}", where) for name in ("coef", "intercept"))
        require(coef is not None and intercept is not None, f"it needs the arrays 'coef_{i}' and 'intercept_{i}'")
        assert coef is not None and intercept is not None
        units = estimator.intercepts_[-1].size if i > 1 else len(coef)
        fits = coef.shape == (units, intercept.size) and intercept.ndim == 1 and coef.dtype.kind == "f"
        require(fits, f"coef_{i} is {coef.dtype} of shape {coef.shape}, intercept_{i} of shape {intercept.shape}")
        require(bool(np.isfinite(coef).all() and np.isfinite(intercept).all()), "coefficients are not finite")
        estimator.coefs_.append(coef)
        estimator.intercepts_.append(intercept)
    return len(estimator.coefs_[0]), estimator.intercepts_[-1].size


def _text(labels: np.ndarray, what: str) -> np.ndarray:
    if labels.dtype.kind != "O":
        return labels
    odd = [label for label in labels if not isinstance(label, str)]
    if odd:
        raise ModelError(f"The {what} {odd[0]!r} is a {type(odd[0]).__name__}; only strings and numbers can be saved.")
    return labels.astype(np.dtypes.StringDType())
