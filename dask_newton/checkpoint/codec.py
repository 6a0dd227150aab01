"""States of solvers <-> JSON and flat arrays.

To what :mod:`dask_newton.storage.codec` stores, a state adds its status, points and columns beside blocks. All arrays
of one type are stored one after the other in a flat array, so that a thousand blocks do not make a thousand files. A
point is stored as its W and is linearised again.

Samples of rows that were brought to the driver, and values that live on workers only, are not stored; nor is then the
state as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dask_newton.blocks import Blocks, PerBlock
from dask_newton.blocks.anchors import Packed, Stored
from dask_newton.objectives.base import Objective
from dask_newton.objectives.points import Point
from dask_newton.solvers import Status
from dask_newton.storage.codec import Decoder, Encoder, NotStoredError
from dask_newton.trees import Record

__all__ = ["StateDecoder", "StateEncoder"]


class StateEncoder(Encoder):
    """Turns states into JSON.

    Parameters
    ----------
    blocks : Blocks
        Where columns lie.

    Attributes
    ----------
    arrays : dict
        The arrays met so far, by the name of their dtype.
    """

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.arrays: dict[str, list[np.ndarray]] = {}
        self._sizes: dict[str, int] = {}

    def flat(self) -> dict[str, np.ndarray]:
        """Return the arrays, those of one dtype joined."""
        return {name: np.concatenate([a.ravel() for a in arrays]) for name, arrays in self.arrays.items()}

    def encode(self, value: Any) -> Any:
        """Return a value as JSON; its arrays are kept for :meth:`flat`."""
        if isinstance(value, Status):
            return {"status": value.value}
        if isinstance(value, PerBlock):
            return {"column": [self.encode(packed.structure) for packed in self.blocks.take(value)]}
        if isinstance(value, Stored):
            return {"stored": self.array(np.asarray(value.array)), "type": value.kind}
        if isinstance(value, Point):
            return {"point": self.encode(value.W), "hessian": value.hessian is not None}
        return super().encode(value)

    def array(self, array: np.ndarray) -> list[Any]:
        """Keep an array; return where it is in the flat one."""
        name = array.dtype.name
        if array.dtype.kind not in "biuf":
            raise NotStoredError(f"arrays of dtype {name} cannot be stored")
        start = self._sizes.get(name, 0)
        self.arrays.setdefault(name, []).append(array)
        self._sizes[name] = start + array.size
        return [name, start, list(array.shape)]


class StateDecoder(Decoder):
    """Inverts :class:`StateEncoder`.

    Parameters
    ----------
    problem : Objective
        The objective that linearises points; columns are put beside its blocks.
    flat : mapping
        The joined arrays by the name of their dtype.
    """

    def __init__(self, problem: Objective, flat: Mapping[str, np.ndarray]) -> None:
        self.problem, self.flat = problem, flat

    def array(self, content: Any) -> np.ndarray:
        """Return a copy of a part of a flat array."""
        name, start, shape = content
        return self.flat[name][start : start + math.prod(shape)].reshape(shape).copy()

    def other(self, kind: str, content: Mapping[str, Any]) -> Any:
        """Return a status, a point or a column."""
        if kind == "status":
            return Status(content[kind])
        if kind == "point":
            options = {"hessian": True} if content["hessian"] else {}
            return self.problem.at(self.decode(content[kind]), **options)
        if kind == "column":
            beside = _ColumnDecoder(self.problem, self.flat)
            values = [Packed(beside.decode(entry), None, False) for entry in content[kind]]
            return self.problem.blocks.put_back(values, self.problem.data)
        return super().other(kind, content)


class _ColumnDecoder(StateDecoder):
    """Returns values as :func:`dask_newton.blocks.anchors.pack` does, to be put together beside their block."""

    def build(self, cls: Any, fields: Mapping[str, Any]) -> Any:
        return Record(cls, dict(fields))

    def other(self, kind: str, content: Mapping[str, Any]) -> Any:
        if kind == "stored":
            return Stored(self.array(content[kind]), content["type"])
        return super().other(kind, content)
