"""Save and load models.

A model is a Zarr v3 group with its coefficients, the coordinates ``class`` and ``feature``, a sub-group ``history``
with one array per recorded quantity, and attributes. The estimator is stored by its name in ``ESTIMATORS``, its solver,
loss and penalty by their registered names, so that a file can name nothing else.
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
from dask_newton.models.parameters import decode_parameters, decode_solver, encode_named, encode_parameters
from dask_newton.solvers import Status
from dask_newton.storage.atomic import replacing
from dask_newton.storage.codec import Decoder
from dask_newton.storage.groups import consolidate, created_by, is_kind, open_group
from dask_newton.storage.history import read_history, write_history
from dask_newton.storage.integrity import verify_group
from dask_newton.storage.kinds import MODEL, ModelError
from dask_newton.storage.registry import UnknownNameError

__all__ = ["is_model", "load_model", "save_model"]

ESTIMATORS: dict[str, type[Any]] = {name: getattr(estimators, name) for name in estimators.__all__}


def save_model(estimator: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Save a fitted estimator as a Zarr group.

    Parameters
    ----------
    estimator : estimator of this library
        Fitted.
    path : path
        The group to create, such as ``"model.zarr"``; it appears only when it is complete.
    overwrite : bool, default False
        Replace the Zarr group at ``path``.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ModelError
        If a parameter cannot be stored, such as a random number generator, or an object of an unregistered class.
    NotFittedError
        If the estimator is not fitted.
    FileExistsError, FileNotFoundError
        If ``path`` exists already or its folder does not.
    """
    name = type(estimator).__name__
    if ESTIMATORS.get(name) is not type(estimator):
        raise ModelError(f"{name} cannot be saved; estimators that can be saved are {', '.join(ESTIMATORS)}.")
    check_is_fitted(estimator)
    attributes: dict[str, Any] = {  # before anything is written, as this may fail
        MODEL.key: MODEL.version,
        "created_by": created_by(),
        "estimator": name,
        "parameters": encode_parameters(estimator),
        "solver": encode_named(estimator.solver_, "The solver"),
        "fitted": {
            "n_iter": int(np.max(estimator.n_iter_)),
            "converged": bool(estimator.converged_),
            "n_passes": int(estimator.n_passes_),
            "n_rounds": int(estimator.n_rounds_),
            "status": estimator.result_.status.value,
            "objective": encode_named(estimator.result_.value, "The objective"),
            "gradient_norm": encode_named(estimator.result_.gradient_norm, "The gradient norm"),
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

    Checksums, shapes, names and the range of every parameter are checked.

    Parameters
    ----------
    path : path
        The group.

    Returns
    -------
    estimator
        Fitted, with the parameters and attributes that it was saved with, except that ``result_.state`` is None.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    ModelError
        If it is not a model, damaged, or of another version of the format.
    """
    group, where = open_group(path, MODEL)
    attributes: dict[str, Any] = group.attrs.asdict()
    try:
        verify_group(group, where)
        estimator = _make_estimator(attributes, where)
        set_coefficients(estimator, group, where)
        _set_fitted(estimator, attributes, read_history(group, where))
    except ModelError:
        raise
    except UnknownNameError as error:
        raise ModelError(
            f"The model {where} cannot be loaded: {error}. Update dask_newton, or import the package that registers it."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, FileNotFoundError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"The model {where} is damaged or was edited: {what}") from error
    return estimator


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether there is a Zarr group at ``path`` that says it is a model."""
    return is_kind(path, MODEL)


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
    estimator = cls(**decode_parameters(stored))
    estimator._validate_params()
    return estimator


def _set_fitted(estimator: Any, attributes: Mapping[str, Any], history: History) -> None:
    fitted = attributes["fitted"]
    n_iter = int(fitted["n_iter"])
    estimator.n_iter_ = np.array([n_iter], dtype=np.int32) if isinstance(estimator, LogisticRegression) else n_iter
    estimator.converged_ = bool(fitted["converged"])
    estimator.n_passes_, estimator.n_rounds_ = int(fitted["n_passes"]), int(fitted["n_rounds"])
    estimator.solver_, estimator.history_ = decode_solver(attributes["solver"]), history
    estimator.result_ = Result(
        W=parameters_of(estimator),
        value=Decoder().decode(fitted["objective"]),
        gradient_norm=Decoder().decode(fitted["gradient_norm"]),
        status=Status(fitted["status"]),
        n_iter=fitted["n_iter"],
        history=history,
        state=None,
        convex=is_convex(estimator),
    )
    if isinstance(estimator, NetworkEstimator):
        estimator._set_curves()
