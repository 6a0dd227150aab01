"""Values <-> JSON: what models and checkpoints store besides arrays of their own.

Numbers, strings, lists, tuples, dictionaries, arrays, and the dataclasses of :mod:`~dask_newton.storage.registry`.
Strings, finite numbers and lists are stored as they are, everything else as an object whose first key says what it is.
Reading executes nothing but the constructors of registered classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np

from dask_newton.storage.registry import class_of, name_of
from dask_newton.trees import Record, children

__all__ = ["Decoder", "Encoder", "NotStoredError"]


class NotStoredError(TypeError):
    """A value holds something that cannot be stored; the message says what."""


class Encoder:
    """Turns values into JSON, with arrays as lists."""

    def encode(self, value: Any) -> Any:
        """Return a value as JSON.

        Raises
        ------
        NotStoredError
            If it holds anything but what the module lists.
        """
        if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if isinstance(value, np.generic):
            return {"scalar": self.array(np.asarray(value))}
        if isinstance(value, np.ndarray):
            return {"array": self.array(value)}
        if isinstance(value, list):
            return [self.encode(entry) for entry in value]
        if type(value) is tuple:
            return {"tuple": [self.encode(entry) for entry in value]}
        if isinstance(value, dict):
            return {"dict": [[self.encode(key), self.encode(entry)] for key, entry in value.items()]}
        return self._record(value)

    def array(self, array: np.ndarray) -> Any:
        """Return an array as JSON."""
        if array.dtype.kind not in "biufU":
            raise NotStoredError(f"arrays of dtype {array.dtype} cannot be stored")
        return [array.dtype.str, list(array.shape), self.encode(array.ravel().tolist())]

    def _record(self, value: Any) -> dict[str, Any]:
        cls = value.cls if isinstance(value, Record) else type(value)
        name, entries = name_of(cls), children(value)
        if name is None or entries is None:
            kinds = "neither a number, a string, an array, a list, a tuple or a dictionary, nor of a registered class"
            raise NotStoredError(f"{cls.__name__} is {kinds} (see dask_newton.storage.registry.stored)")
        return {"record": name, "fields": {key: self.encode(entry) for key, entry in entries.items()}}


class Decoder:
    """Inverts :class:`Encoder`."""

    def decode(self, content: Any) -> Any:
        """Return the value.

        Raises
        ------
        UnknownNameError
            If it names a class that is not registered.
        ValueError, TypeError, KeyError
            If it is not what an encoder returns.
        """
        if isinstance(content, list):
            return [self.decode(entry) for entry in content]
        if not isinstance(content, dict):
            return content
        kind, inner = next(iter(content.items()))
        if kind == "float":
            return float(inner)
        if kind == "scalar":
            return self.array(inner)[()]
        if kind == "array":
            return self.array(inner)
        if kind == "tuple":
            return tuple(self.decode(entry) for entry in inner)
        if kind == "dict":
            return {self.decode(key): self.decode(entry) for key, entry in inner}
        if kind == "record":
            return self._record(inner, content["fields"])
        return self.other(kind, content)

    def array(self, content: Any) -> np.ndarray:
        """Return an array."""
        name, shape, values = content
        dtype: np.dtype[Any] = np.dtype(name)
        if dtype.kind not in "biufU":
            raise ValueError(f"it holds an array of dtype {dtype}")
        return np.array(self.decode(values), dtype=dtype).reshape(shape)

    def build(self, cls: Any, fields: Mapping[str, Any]) -> Any:
        """Return a dataclass with these fields."""
        return cls(**fields)

    def other(self, kind: str, content: Mapping[str, Any]) -> Any:
        """Return a value of a kind that only a subclass knows."""
        raise ValueError(f"it holds a value of the unknown kind {kind!r}")

    def _record(self, name: str, fields: Mapping[str, Any]) -> Any:
        cls: Any = class_of(name)
        known = {field.name for field in dataclasses.fields(cls) if field.init}
        if unknown := set(fields) - known:
            raise ValueError(f"{name!r} has no field {min(unknown)!r} in this version of dask_newton")
        return self.build(cls, {key: self.decode(entry) for key, entry in fields.items()})
