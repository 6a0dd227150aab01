"""States of solvers <-> JSON and flat arrays.

A state is a tree: dataclasses, tuples, lists and dictionaries of numbers, names and arrays, and columns with such a
tree for each block. The tree becomes JSON, and all arrays of one type stand one after the other in a flat array, so
that a thousand blocks do not make a thousand files. A point is stored as its W and is linearised again.

What is made of rows, such as a sample that came to the driver, and what lives on workers only is not stored, and then
the state as a whole is not. Dataclasses are looked up by name among those of solvers; a file can name nothing else.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from dask_newton.blocks import Blocks, PerBlock
from dask_newton.blocks.anchors import Packed, Record, Stored
from dask_newton.objectives.base import Objective
from dask_newton.objectives.points import Point
from dask_newton.solvers import Solver, Status

__all__ = ["Decoder", "Encoder", "NotStoredError", "modules_of"]

_PACKAGES = ("dask_newton.solvers", "dask_newton.solvers.layerwise", "dask_newton.inner")


class NotStoredError(TypeError):
    """A state holds what cannot be stored."""


def modules_of(solver: Solver[Any] | None) -> tuple[str, ...]:
    """Return the modules and packages whose dataclasses may be stored: those of solvers, and that of this one."""
    return _PACKAGES if solver is None else (*_PACKAGES, type(solver).__module__)


class Encoder:
    """Turns values into JSON.

    Parameters
    ----------
    blocks : Blocks or None
        Where columns lie.
    modules : tuple of str
        See :func:`modules_of`.

    Attributes
    ----------
    arrays : dict
        By the name of their type, the arrays met so far.
    """

    def __init__(self, blocks: Blocks | None, modules: tuple[str, ...]) -> None:
        self.blocks, self.modules = blocks, modules
        self.arrays: dict[str, list[np.ndarray]] = {}
        self._sizes: dict[str, int] = {}

    def flat(self) -> dict[str, np.ndarray]:
        """Return the arrays, those of one type joined."""
        return {name: np.concatenate([a.ravel() for a in arrays]) for name, arrays in self.arrays.items()}

    def encode(self, value: Any) -> Any:
        """Return a value as JSON; its arrays are kept for :meth:`flat`.

        Raises
        ------
        NotStoredError
            If it holds anything else than the module says.
        """
        if isinstance(value, Status):
            return {"status": value.value}
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if isinstance(value, np.generic):
            return {"scalar": self._array(np.asarray(value))}
        if isinstance(value, np.ndarray):
            return {"array": self._array(value)}
        if isinstance(value, Stored):
            return {"array": self._array(np.asarray(value.array)), "kind": value.kind}
        if isinstance(value, PerBlock):
            assert self.blocks is not None
            return {"column": [self.encode(packed.structure) for packed in self.blocks.take(value)]}
        if isinstance(value, Point):
            return {"point": self.encode(value.W), "hessian": value.hessian is not None}
        if isinstance(value, list):
            return [self.encode(entry) for entry in value]
        if type(value) is tuple:
            return {"tuple": [self.encode(entry) for entry in value]}
        if isinstance(value, dict):
            return {"dict": [[self.encode(key), self.encode(entry)] for key, entry in value.items()]}
        if isinstance(value, Record):
            return self._record(value.cls, value.entries)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value) if field.init]
            return self._record(type(value), {name: getattr(value, name) for name in names})
        raise NotStoredError(f"{type(value).__name__} is neither a number nor an array.")

    def _record(self, cls: type, entries: Mapping[str, Any]) -> dict[str, Any]:
        if not _storable(cls.__module__, self.modules):
            raise NotStoredError(f"{cls.__name__} is not of a solver.")
        fields = {name: self.encode(entry) for name, entry in entries.items()}
        return {"record": [cls.__module__, cls.__name__], "fields": fields}

    def _array(self, array: np.ndarray) -> list[Any]:
        name = array.dtype.name
        if array.dtype.kind not in "biuf":
            raise NotStoredError(f"an array of {name} is not stored.")
        start = self._sizes.get(name, 0)
        self.arrays.setdefault(name, []).append(array)
        self._sizes[name] = start + array.size
        return [name, start, list(array.shape)]


class Decoder:
    """Inverts :class:`Encoder`.

    Parameters
    ----------
    problem : Objective or None
        Beside whose blocks columns belong, and which linearises points.
    modules : tuple of str
    flat : mapping
        The joined arrays by the name of their type.
    """

    def __init__(self, problem: Objective | None, modules: tuple[str, ...], flat: Mapping[str, np.ndarray]) -> None:
        self.problem, self.modules, self.flat = problem, modules, flat

    def decode(self, stored: Any, *, packed: bool = False) -> Any:
        """Return the value; ``packed`` inside a column, whose arrays go back to the blocks."""
        if isinstance(stored, list):
            return [self.decode(entry, packed=packed) for entry in stored]
        if not isinstance(stored, dict):
            return stored
        kind, content = next(iter(stored.items()))
        if kind == "float":
            return float(content)
        if kind == "status":
            return Status(content)
        if kind == "scalar":
            return self._array(content)[()]
        if kind == "array":
            array = self._array(content)
            return Stored(array, stored.get("kind")) if packed else array
        if kind == "tuple":
            return tuple(self.decode(entry, packed=packed) for entry in content)
        if kind == "dict":
            pairs = [[self.decode(part, packed=packed) for part in pair] for pair in content]
            return dict(pairs)
        if kind == "record":
            cls = _dataclass(content[0], content[1], self.modules)
            entries = {name: self.decode(entry, packed=packed) for name, entry in stored["fields"].items()}
            return Record(cls, entries) if packed else cls(**entries)
        assert self.problem is not None
        if kind == "column":
            values = [Packed(self.decode(entry, packed=True), None, False) for entry in content]
            return self.problem.blocks.put_back(values, self.problem.data)
        if kind == "point":
            options = {"hessian": True} if stored["hessian"] else {}
            return self.problem.at(self.decode(content), **options)
        raise ValueError(f"it holds a value of the unknown kind {kind!r}")

    def _array(self, content: Any) -> np.ndarray:
        name, start, shape = content
        return self.flat[name][start : start + math.prod(shape)].reshape(shape).copy()


def _storable(module: str, modules: tuple[str, ...]) -> bool:
    return any(module == known or module.startswith(f"{known}.") for known in modules)


def _dataclass(module: str, name: str, modules: tuple[str, ...]) -> Any:
    cls = getattr(sys.modules.get(module), name, None) if _storable(module, modules) else None
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ValueError(f"it names {module}.{name}, which is no part of a solver here")
    return cls
