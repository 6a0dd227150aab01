"""A stand-in for arrays on a device, with CuPy's manners: nothing leaves it but by ``get``, which is counted.

It wraps NumPy arrays by the protocols of NEP 13 and NEP 18. Register it with :func:`register`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_newton.arrays import ArrayType, register_array_type

__all__ = ["DuckArray", "asduck", "copies", "register"]

#: Copies to the host since the start, of the process.
copies = {"to host": 0, "from host": 0}


_METHODS = {"all", "any", "argmax", "astype", "copy", "dot", "max", "mean", "min", "ravel", "reshape", "sum"}


class DuckArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that refuses to turn into, or to be mixed with, NumPy arrays."""

    __array_priority__ = 100

    def __init__(self, data: np.ndarray) -> None:
        self._data = data

    dtype = property(lambda self: self._data.dtype)
    shape = property(lambda self: self._data.shape)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    nbytes = property(lambda self: self._data.nbytes)
    T = property(lambda self: DuckArray(self._data.T))

    def get(self) -> np.ndarray:
        """Copy to the host."""
        copies["to host"] += 1
        return self._data.copy()

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use .get().")

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: Any) -> DuckArray:
        return DuckArray(np.asarray(self._data[_inside(index)]))

    def __setitem__(self, index: Any, value: Any) -> None:
        _refuse_host(value)
        self._data[_inside(index)] = _inside(value)

    def __float__(self) -> float:
        return float(self._data)

    def __int__(self) -> int:
        return int(self._data)

    def __bool__(self) -> bool:
        return bool(self._data)

    def __repr__(self) -> str:
        return f"DuckArray({self._data!r})"

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(f"DuckArray has no attribute {name!r}")
        method = getattr(self._data, name)
        return lambda *args, **kwargs: _outside(method(*_inside(args), **_inside(kwargs)))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        _refuse_host(*args, *kwargs.get("out", ()))
        return _outside(getattr(ufunc, method)(*_inside(args), **_inside(kwargs)))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(issubclass(cls, np.ndarray) for cls in types):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        return _outside(function(*_inside(args), **_inside(kwargs)))


def _refuse_host(*values: Any) -> None:
    if any(isinstance(value, np.ndarray) and value.ndim for value in values):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")


def _inside(value: Any) -> Any:
    if isinstance(value, DuckArray):
        return value._data
    if isinstance(value, tuple | list):
        return type(value)(_inside(entry) for entry in value)
    if isinstance(value, dict):
        return {key: _inside(entry) for key, entry in value.items()}
    return value


def _outside(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return DuckArray(np.asarray(value))
    if isinstance(value, tuple | list):
        return type(value)(_outside(entry) for entry in value)
    return value


class _Namespace:
    """NumPy's functions; those that make arrays make them on the device."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        if name in {"arange", "empty", "eye", "full", "linspace", "ones", "zeros"}:
            return lambda *args, device=None, **kwargs: DuckArray(value(*args, **kwargs))
        return value

    @staticmethod
    def asarray(value: Any, dtype: Any = None, device: Any = None, copy: bool | None = None) -> DuckArray:
        if isinstance(value, DuckArray):
            return value if dtype is None else DuckArray(value._data.astype(dtype, copy=False))
        if isinstance(value, np.ndarray) and value.ndim:
            copies["from host"] += 1
        return DuckArray(np.array(value, dtype=dtype))


namespace = _Namespace()


def asduck(value: Any) -> DuckArray:
    """Copy a NumPy array to the device."""
    return namespace.asarray(value)


def register() -> None:
    """Make the type known to the library."""
    register_array_type(
        DuckArray,
        ArrayType(lambda x: namespace, lambda x: x.get(), lambda a, like: asduck(a)),
    )
