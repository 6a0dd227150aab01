"""Save and load models.

A model is a Zarr v3 group with its coefficients, the coordinates ``class`` and ``feature``, a sub-group ``history``
with one array per recorded quantity, and attributes. The class of the estimator and its solver are stored by name and
looked up in the tables of this library, so that a file can name nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from sklearn.utils.validation import check_is_fitted

from dask_newton import estimators
from dask_newton.estimators import LogisticRegression
from dask_newton.estimators.network import NetworkEstimator
from dask_newton.history import History
from dask_newton.minimize import Result
from dask_newton.models.coefficients import is_convex, parameters_of, set_coefficients, write_coefficients
from dask_newton.models.parameters import (
    ModelError,
    decode,
    decode_parameters,
    decode_solver,
    encode,
    encode_parameters,
    encode_solver,
    known_solvers,
)
from dask_newton.solvers import Status
from dask_newton.storage.atomic import replacing
from dask_newton.storage.checksums import DatasetError
from dask_newton.storage.groups import consolidate, created_by, open_group
from dask_newton.storage.history import is_marked, read_history, write_history
from dask_newton.storage.integrity import verify_group

__all__ = ["is_model", "load_model", "save_model"]

ESTIMATORS: dict[str, type[Any]] = {name: getattr(estimators, name) for name in estimators.__all__}

_FORMAT_KEY, _FORMAT = "dask_newton_model_format", 1


def save_model(estimator: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Save a fitted estimator as a Zarr group.

    Parameters
    ----------
    estimator : estimator of this library
        Fitted.
    path : path
        The group to make, such as ``"model.zarr"``; it appears whole or not at all.
    overwrite : bool, default False
        Replace the Zarr group that is at ``path`` already.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ModelError
        If a parameter, such as a generator of random numbers, is more than JSON can hold.
    NotFittedError
        If the estimator is not fitted.
    FileExistsError, FileNotFoundError
        If ``path`` exists already or its folder does not.
    """
    name = type(estimator).__name__
    if ESTIMATORS.get(name) is not type(estimator):
        raise ModelError(f"{name} cannot be saved; estimators that can are {', '.join(ESTIMATORS)}.")
    check_is_fitted(estimator)
    attributes: dict[str, Any] = {  # before anything is written: this is what may fail
        _FORMAT_KEY: _FORMAT,
        "created_by": created_by(),
        "estimator": name,
        "parameters": encode_parameters(estimator),
        "solver": encode_solver(estimator.solver_, known_solvers(type(estimator))),
        "fitted": {
            "n_iter": int(np.max(estimator.n_iter_)),
            "converged": bool(estimator.converged_),
            "n_passes": int(estimator.n_passes_),
            "n_rounds": int(estimator.n_rounds_),
            "status": estimator.result_.status.value,
            "objective": encode(estimator.result_.value, "the objective"),
            "gradient_norm": encode(estimator.result_.gradient_norm, "the gradient norm"),
        },
    }
    with replacing(path, overwrite=overwrite) as partial:
        group = zarr.open_group(partial, mode="w-", zarr_format=3, attributes=attributes)
        write_coefficients(group, estimator)
        write_history(group.create_group("history"), estimator.history_)
        verify_group(group, str(path))
        consolidate(partial / "history")
        consolidate(partial)
    return Path(path)


def load_model(path: str | os.PathLike[str]) -> Any:
    """Load an estimator that :func:`save_model` saved.

    Everything read is checked: checksums, shapes, names and the range of every parameter.

    Parameters
    ----------
    path : path
        The group.

    Returns
    -------
    estimator
        Fitted, with the parameters and attributes that it was saved with. Only ``result_.state`` is None.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    ModelError
        If it is no model, damaged, or of a newer version of the library.
    """
    group, where = _open(path)
    attributes: dict[str, Any] = group.attrs.asdict()
    if attributes[_FORMAT_KEY] != _FORMAT:
        raise ModelError(
            f"{where} is a model of format {attributes[_FORMAT_KEY]!r}, but this version reads format {_FORMAT}; "
            "update dask_newton."
        )
    try:
        verify_group(group, where)
        estimator = _make_estimator(attributes, where)
        set_coefficients(estimator, group, where)
        _set_fitted(estimator, attributes, read_history(where))
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, FileNotFoundError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"The model {where} is damaged or was edited: {what}") from error
    return estimator


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether there is a Zarr group at ``path`` that says it is a model."""
    return is_marked(path, _FORMAT_KEY)


def _open(path: str | os.PathLike[str]) -> tuple[zarr.Group, str]:
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no model at {os.fspath(path)}.")
    try:
        group, where = open_group(path)
    except DatasetError as error:
        raise ModelError(f"{os.fspath(path)} cannot be opened as a model: {error}") from error
    if _FORMAT_KEY not in group.attrs:
        raise ModelError(f"{where} is a Zarr group, but not a model that save_model wrote.")
    return group, where


def _make_estimator(attributes: Mapping[str, Any], where: str) -> Any:
    cls = ESTIMATORS.get(attributes["estimator"])
    if cls is None:
        raise ModelError(
            f"{where} is a {attributes['estimator']!r}, which this version does not know; known are "
            f"{', '.join(ESTIMATORS)}. Update dask_newton."
        )
    stored = attributes["parameters"]
    unknown = set(stored) - set(cls().get_params(deep=False))
    if unknown:
        raise ModelError(
            f"{where} has the parameter {min(unknown)!r}, which this version does not know; update dask_newton."
        )
    estimator = cls(**decode_parameters(stored, cls))
    estimator._validate_params()
    return estimator


def _set_fitted(estimator: Any, attributes: Mapping[str, Any], history: History) -> None:
    fitted = attributes["fitted"]
    n_iter = int(fitted["n_iter"])
    estimator.n_iter_ = np.array([n_iter], dtype=np.int32) if isinstance(estimator, LogisticRegression) else n_iter
    estimator.converged_ = bool(fitted["converged"])
    estimator.n_passes_, estimator.n_rounds_ = int(fitted["n_passes"]), int(fitted["n_rounds"])
    known = known_solvers(type(estimator))
    estimator.solver_, estimator.history_ = decode_solver(attributes["solver"], known), history
    estimator.result_ = Result(
        W=parameters_of(estimator),
        value=decode(fitted["objective"]),
        gradient_norm=decode(fitted["gradient_norm"]),
        status=Status(fitted["status"]),
        n_iter=fitted["n_iter"],
        history=history,
        state=None,
        convex=is_convex(estimator),
    )
    if isinstance(estimator, NetworkEstimator):
        estimator._set_curves()
