"""The parameters and the solver of an estimator <-> JSON.

Losses, penalties, solvers and their options are dataclasses with registered names, see
:mod:`dask_newton.storage.registry`; classes without one cannot be saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask_newton.solvers import Solver
from dask_newton.storage.codec import Decoder, Encoder, NotStoredError
from dask_newton.storage.kinds import ModelError

__all__ = ["decode_parameters", "decode_solver", "encode_named", "encode_parameters"]


def encode_parameters(estimator: Any) -> dict[str, Any]:
    """Encode the constructor parameters of an estimator.

    Raises
    ------
    ModelError
        If one cannot be stored.
    """
    parameters = estimator.get_params(deep=False)
    return {name: encode_named(value, f"The parameter {name}") for name, value in parameters.items()}


def decode_parameters(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Invert :func:`encode_parameters`."""
    return {name: Decoder().decode(content) for name, content in stored.items()}


def encode_named(value: Any, what: str) -> Any:
    """Encode a value; ``what`` names it in the message.

    Raises
    ------
    ModelError
        If it cannot be stored.
    """
    try:
        return Encoder().encode(value)
    except NotStoredError as error:
        raise ModelError(
            f"{what} cannot be saved: {error}. A model holds no code. Save an estimator without it, or keep the "
            "coefficients yourself."
        ) from error


def decode_solver(stored: Any) -> Solver[Any]:
    """Make the solver that was encoded."""
    solver = Decoder().decode(stored)
    if not isinstance(solver, Solver):
        raise ModelError(f"{solver!r} is stored as the solver, but is none.")
    return solver
