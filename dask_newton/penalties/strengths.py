"""Strengths of penalties: a number, or an array with a number for each coefficient.

A strength has shape (), (n_features,) or (n_features, n_outputs). Coefficients of strength zero are not penalised.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

__all__ = ["ByValue", "Strength", "broadcast", "require_shape", "strength"]

Strength = float | np.ndarray


class ByValue:
    """Equality, hash and repr by value, for frozen dataclasses with arrays as fields."""

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(np.array_equal(value, getattr(other, name)) for name, value in self._values().items())

    def __hash__(self) -> int:
        values = self._values().values()
        return hash((type(self), *(v.tobytes() if isinstance(v, np.ndarray) else v for v in values)))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={_short(value)}" for name, value in self._values().items())
        return f"{type(self).__name__}({fields})"


def _short(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    shape = " x ".join(str(n) for n in value.shape)
    return f"<{shape} numbers from {value.min():g} to {value.max():g}>" if value.size else "<no numbers>"


def strength(value: Any, name: str) -> Strength:
    """Return a strength as a float or a read-only float64 array.

    Raises
    ------
    ValueError
        If it is negative or not finite somewhere, or has more than two dimensions.
    """
    array = np.array(value, dtype=np.float64)
    if array.ndim > 2:
        raise ValueError(
            f"{name} has {array.ndim} dimensions; give a number, or an array of shape (n_features,) or "
            "(n_features, n_outputs)."
        )
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f"{name}[{', '.join(map(str, first))}]" if first else name
        raise ValueError(f"{where} is {array[first]}; strengths of a penalty must be zero or positive, and finite.")
    array.setflags(write=False)
    return array if array.ndim else float(array)


def require_shape(value: Strength, name: str, shape: tuple[int, int]) -> None:
    """Raise ValueError if a strength does not fit coefficients of shape (n_features, n_outputs)."""
    if isinstance(value, np.ndarray) and value.shape not in {shape[:1], shape}:
        raise ValueError(
            f"{name} has the shape {value.shape}, but the model has {shape[0]} features and {shape[1]} outputs; give a "
            f"number, or an array of shape ({shape[0]},) or {shape}."
        )


def broadcast(value: Strength) -> Strength:
    """Return a strength that broadcasts against (n_features, n_outputs)."""
    return value[:, None] if isinstance(value, np.ndarray) and value.ndim == 1 else value
