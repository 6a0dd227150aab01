"""Parameters and solvers <-> JSON.

A solver is stored by name with all its options. An option that is a dataclass, such as a line search, is stored by
its fields, and read back into the class that the solver has there by default: a file never names a class.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from dask_newton import losses, penalties
from dask_newton.estimators.network import NetworkEstimator
from dask_newton.losses import Loss
from dask_newton.penalties import Penalty
from dask_newton.solvers import Solver
from dask_newton.solvers.named import solver_classes

__all__ = [
    "ModelError",
    "decode",
    "decode_loss",
    "decode_parameters",
    "decode_penalty",
    "decode_solver",
    "encode",
    "encode_loss",
    "encode_parameters",
    "encode_penalty",
    "encode_solver",
    "known_solvers",
]

Solvers = Mapping[str, type[Solver[Any]]]


def _members(package: Any, base: type) -> dict[str, Any]:
    named = {name: getattr(package, name) for name in package.__all__}
    return {name: cls for name, cls in named.items() if inspect.isclass(cls) and issubclass(cls, base)}


_PENALTIES, _LOSSES = _members(penalties, Penalty), _members(losses, Loss)


class ModelError(ValueError):
    """An estimator cannot be saved, or a group is no model; the message says what and what to do."""


def encode_parameters(estimator: Any) -> dict[str, Any]:
    """Encode the constructor parameters of an estimator.

    Raises
    ------
    ModelError
        If one is more than JSON can hold.
    """
    parameters, known = estimator.get_params(deep=False), known_solvers(type(estimator))
    solver, options = parameters.pop("solver"), parameters.pop("solver_options")
    regularizer, loss = parameters.pop("regularizer"), parameters.pop("loss", None)
    encoded = {name: encode(value, f"The parameter {name}") for name, value in parameters.items()}
    encoded["regularizer"] = regularizer and encode_penalty(regularizer)
    if hasattr(estimator, "loss"):
        encoded["loss"] = encode_loss(loss) if isinstance(loss, Loss) else loss
    encoded["solver"] = encode_solver(solver, known) if isinstance(solver, Solver) else solver
    encoded["solver_options"] = options and _encode_options(_class_of(solver, known), options)
    return encoded


def decode_parameters(stored: Mapping[str, Any], estimator: type) -> dict[str, Any]:
    """Invert :func:`encode_parameters`, for a class of estimators."""
    solver, options, known = stored["solver"], stored["solver_options"], known_solvers(estimator)
    solver = decode_solver(solver, known) if isinstance(solver, dict) else solver
    own = ("solver", "solver_options", "regularizer", "loss")
    parameters = {name: decode(value) for name, value in stored.items() if name not in own}
    regularizer = stored["regularizer"]
    if "loss" in stored:
        parameters["loss"] = decode_loss(stored["loss"]) if isinstance(stored["loss"], dict) else stored["loss"]
    return parameters | {
        "regularizer": regularizer and decode_penalty(regularizer),
        "solver": solver,
        "solver_options": options and _decode_options(_class_of(solver, known), options),
    }


def encode_penalty(penalty: Penalty) -> dict[str, Any]:
    """Encode a penalty of this library as its name and its strengths."""
    return _encode_named(penalty, _PENALTIES, "penalty")


def decode_penalty(stored: Mapping[str, Any]) -> Penalty:
    """Make the penalty that was encoded."""
    return _decode_named(stored, _PENALTIES, "penalty")


def encode_loss(loss: Loss) -> dict[str, Any]:
    """Encode a loss of this library as its name and its parameters."""
    return _encode_named(loss, _LOSSES, "loss")


def decode_loss(stored: Mapping[str, Any]) -> Loss:
    """Make the loss that was encoded."""
    return _decode_named(stored, _LOSSES, "loss")


def _encode_named(thing: Any, known: Mapping[str, Any], what: str) -> dict[str, Any]:
    name = type(thing).__name__
    if known.get(name) is not type(thing):
        raise ModelError(
            f"{name} is not a {what} of this library; a model holds no code, and names only those. Keep coef_ and "
            f"intercept_, and the {what} in a module of your own."
        )
    return {"name": name, "options": {key: encode(value, f"{name}.{key}") for key, value in _fields(thing).items()}}


def _decode_named(stored: Mapping[str, Any], known: Mapping[str, Any], what: str) -> Any:
    if stored["name"] not in known:
        raise ModelError(f"This version knows no {what} {stored['name']!r}; update dask_newton.")
    return known[stored["name"]](**{key: decode(value) for key, value in stored["options"].items()})


def known_solvers(estimator: type) -> Solvers:
    """Return the solvers that a class of estimators knows by name."""
    return solver_classes(network=issubclass(estimator, NetworkEstimator))


def encode_solver(solver: Solver[Any], known: Solvers) -> dict[str, Any]:
    """Encode a solver of this library as its name and its options."""
    if known.get(solver.name) is not type(solver):
        raise ModelError(f"{type(solver).__name__} is not a solver of this library; a model names only those.")
    return {"name": solver.name, "options": _encode_options(type(solver), _fields(solver))}


def decode_solver(stored: Mapping[str, Any], known: Solvers) -> Solver[Any]:
    """Make the solver that was encoded."""
    cls: Any = _class_of(stored["name"], known)
    return cls(**_decode_options(cls, stored["options"]))


def _class_of(solver: Any, known: Solvers) -> Any:
    if isinstance(solver, Solver):
        return type(solver)
    if solver not in known:
        raise ModelError(f"This version knows no solver {solver!r}; update dask_newton.")
    return known[solver]


def _fields(thing: Any) -> dict[str, Any]:
    return {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}


def _defaults(cls: Any) -> dict[str, Any]:
    missing = dataclasses.MISSING
    return {
        field.name: field.default if field.default_factory is missing else field.default_factory()
        for field in dataclasses.fields(cls)
        if field.default is not missing or field.default_factory is not missing
    }


def _encode_options(cls: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    defaults, encoded = _defaults(cls), {}
    for name, value in options.items():
        if not dataclasses.is_dataclass(value):
            encoded[name] = encode(value, f"The solver option {name}")
        elif type(value) is type(defaults.get(name)):
            encoded[name] = {"options": _encode_options(type(value), _fields(value))}
        else:
            raise ModelError(f"The solver option {name}={value!r} cannot be saved; only its usual class can.")
    return encoded


def _decode_options(cls: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(stored) - {field.name for field in dataclasses.fields(cls)}
    if unknown:
        raise ModelError(f"{cls.__name__} has no option {min(unknown)!r} in this version; update dask_newton.")
    defaults, options = _defaults(cls), {}
    for name, value in stored.items():
        if isinstance(value, dict) and "options" in value:
            kind: Any = type(defaults[name])
            options[name] = kind(**_decode_options(kind, value["options"]))
        else:
            options[name] = decode(value)
    return options


def encode(value: Any, what: str) -> Any:
    """Turn a value into JSON, which has neither infinities nor keys that are numbers.

    Parameters
    ----------
    value : number, str, None, or list, tuple or mapping of those
    what : str
        What it is, for the message.

    Returns
    -------
    value
        Numbers, strings and lists as they are; anything else as ``{kind: content}``.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": str(value)}
    if isinstance(value, list):
        return [encode(entry, what) for entry in value]
    if isinstance(value, np.ndarray):
        return {"array": encode(value.tolist(), what)}
    if isinstance(value, tuple):
        return {"tuple": [encode(entry, what) for entry in value]}
    if isinstance(value, Mapping):
        return {"dict": [[encode(k, what), encode(v, what)] for k, v in value.items()]}
    raise ModelError(f"{what} is a {type(value).__name__}, which cannot be saved; give numbers or strings.")


def decode(stored: Any) -> Any:
    """Invert :func:`encode`."""
    if isinstance(stored, list):
        return [decode(entry) for entry in stored]
    if not isinstance(stored, dict):
        return stored
    ((kind, content),) = stored.items()
    if kind == "float":
        return float(content)
    if kind == "array":
        return np.array(decode(content))
    if kind == "tuple":
        return tuple(decode(entry) for entry in content)
    if kind == "dict":
        return {decode(key): decode(value) for key, value in content}
    raise ModelError(f"The model holds a value of the unknown kind {kind!r}.")
