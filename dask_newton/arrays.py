"""The only file that tells array types apart.

Every kernel of the library is a pure function of block arrays written against the array API standard. It asks
:func:`namespace` for the module that goes with its arrays, :func:`from_host` to bring the driver's NumPy vectors to
the block's device, and :func:`to_host` at the one place where a small result leaves the task.

Support for a further array type is one call of :func:`register_array_type`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
import scipy.sparse

__all__ = [
    "ArrayType", "align", "by_column", "check_array_type", "convert_to", "from_host", "host_dtype", "is_host",
    "namespace", "register_array_type", "register_conversion", "to_host",
]

Array = Any


@dataclass(frozen=True)
class ArrayType:
    """What the library must know of an array type.

    Attributes
    ----------
    namespace : callable
        ``namespace(x)`` returns the array API module of ``x``.
    to_host : callable
        ``to_host(x)`` copies ``x`` into a NumPy array.
    from_host : callable
        ``from_host(a, like)`` copies the NumPy array ``a`` to the type and device of ``like``, keeping its dtype.
    host : bool
        Whether the data lie in the memory of the CPU, where cache-sized row tiles and threads pay.
    """

    namespace: Callable[[Array], Any]
    to_host: Callable[[Array], np.ndarray]
    from_host: Callable[[np.ndarray, Array], Array]
    host: bool = False


def _standard_to_host(x: Array) -> np.ndarray:
    if array_api_compat.is_cupy_array(x):
        return x.get()
    if array_api_compat.is_array_api_strict_namespace(array_api_compat.array_namespace(x)):
        xp = array_api_compat.array_namespace(x)
        return np.array(xp.to_device(x, xp.Device("CPU_DEVICE")) if hasattr(xp, "to_device")
                        else x.to_device(xp.Device("CPU_DEVICE")))
    return np.asarray(array_api_compat.to_device(x, "cpu"))


def _standard_from_host(a: np.ndarray, like: Array) -> Array:
    return namespace(like).asarray(a, device=array_api_compat.device(like))


_NUMPY = ArrayType(array_api_compat.array_namespace, np.asarray, lambda a, like: a, host=True)
_STANDARD = ArrayType(array_api_compat.array_namespace, _standard_to_host, _standard_from_host)
_REGISTERED: dict[type, ArrayType] = {}


def register_array_type(cls: type, array_type: ArrayType) -> None:
    """Teach the library a further array type.

    Parameters
    ----------
    cls : type
        The class of the arrays; subclasses are included.
    array_type : ArrayType
        Its namespace and its copies from and to the host.
    """
    _REGISTERED[cls] = array_type


def _type_of(x: Array) -> ArrayType:
    if isinstance(x, np.ndarray | np.generic):
        return _NUMPY
    for cls in type(x).__mro__:
        if cls in _REGISTERED:
            return _REGISTERED[cls]
    return _STANDARD


def namespace(x: Array) -> Any:
    """Return the array API namespace of ``x``, resolved from the array itself, inside the task that holds it.

    Raises
    ------
    TypeError
        If ``x`` is not an array of a known or registered type.
    """
    try:
        return _type_of(x).namespace(x)
    except TypeError as error:
        raise TypeError(
            f"{type(x).__module__}.{type(x).__name__} is not an array type that dask_newton knows; "
            "give a NumPy or CuPy array, or call dask_newton.arrays.register_array_type for it."
        ) from error


def to_host(x: Any) -> Any:
    """Copy an array into NumPy; numbers pass, tuples are copied entry by entry."""
    if isinstance(x, tuple):
        return tuple(to_host(entry) for entry in x)
    if x is None or isinstance(x, bool | int | float | str | np.ndarray | np.generic):
        return x
    return _type_of(x).to_host(x)


def from_host(a: np.ndarray, like: Array, dtype: Any = None) -> Array:
    """Copy the NumPy array ``a`` to the type and device of ``like``, cast to ``dtype`` on the host first."""
    a = align(np.asarray(a, dtype=host_dtype(dtype)))
    return a if isinstance(like, np.ndarray) else _type_of(like).from_host(a, like)


def host_dtype(dtype: Any) -> Any:
    """Return NumPy's dtype of the same name, as other array types have dtypes of their own."""
    try:
        return None if dtype is None else np.dtype(dtype)
    except TypeError:
        return np.dtype(str(dtype).rpartition(".")[2])


def align(x: Array) -> Array:
    """Return ``x``, copied if it lies in memory at an address that its dtype does not divide.

    Arrays that came over a network may; every product with them would be made through a copy, with other bits.
    """
    return np.require(x, requirements="A") if isinstance(x, np.ndarray) else x


def by_column(x: Array) -> Array:
    """Return ``x``, laid out column by column where that can be chosen: row-wise sums then run over long vectors."""
    return np.asfortranarray(x) if isinstance(x, np.ndarray) else x


def is_host(x: Array) -> bool:
    """Whether ``x`` lies in the memory of the CPU."""
    return _type_of(x).host


def _to_cupy(x: Any) -> Any:
    import cupy
    import cupyx.scipy.sparse

    return cupyx.scipy.sparse.csr_matrix(x) if scipy.sparse.issparse(x) else cupy.asarray(x)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"numpy": lambda x: x, "cupy": _to_cupy}


def register_conversion(name: str, convert: Callable[[Any], Any]) -> None:
    """Give a further array type a name, in every process that uses it.

    Parameters
    ----------
    name : str
        Such as "torch".
    convert : callable
        ``convert(x)`` copies a NumPy array, or a SciPy CSR matrix, into the type.
    """
    _CONVERSIONS[name] = convert


def check_array_type(name: str) -> None:
    """Raise ValueError if no array type has this name."""
    if name not in _CONVERSIONS:
        raise ValueError(f"array is {name!r}; give one of {', '.join(map(repr, _CONVERSIONS))}.")


def convert_to(name: str, x: Any) -> Any:
    """Copy a NumPy array, or a SciPy CSR matrix, to the array type of this name: "numpy", "cupy" or registered."""
    check_array_type(name)
    return _CONVERSIONS[name](x)
