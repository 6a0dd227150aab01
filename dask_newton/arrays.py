"""The array types: the only file that depends on which one an array has.

Every kernel of the library is a pure function of block arrays written against the array API standard. It uses
:func:`namespace` for the module of its arrays, :func:`from_host` to copy the driver's NumPy vectors to the block's
device, and :func:`to_host` where a small result leaves the task.

X may also be a sparse matrix by rows (CSR) of SciPy or CuPy. Its namespace is that of its stored entries, so that
all results are dense and on its device. Besides ``X @ V`` the kernels use a matrix only through
:func:`row_slice`, :func:`take_rows`, :func:`transposed_product`, :func:`squares` and :func:`weighted_gram`.

One call of :func:`register_array_type` adds another array type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
import scipy.sparse

__all__ = [
    "ArrayType",
    "align",
    "by_column",
    "check_array_type",
    "convert_to",
    "from_host",
    "host_dtype",
    "is_array",
    "is_host",
    "is_sparse",
    "namespace",
    "nbytes",
    "register_array_type",
    "register_conversion",
    "row_slice",
    "squares",
    "stored",
    "take_rows",
    "to_host",
    "transposed_product",
    "weighted_gram",
]

Array = Any


@dataclass(frozen=True)
class ArrayType:
    """What the library needs for an array type.

    Attributes
    ----------
    namespace : callable
        ``namespace(x)`` returns the array API module of ``x``.
    to_host : callable
        ``to_host(x)`` copies ``x`` into a NumPy array.
    from_host : callable
        ``from_host(a, like)`` copies the NumPy array ``a`` to the type and device of ``like``, keeping its dtype.
    host : bool
        Whether the data are in CPU memory, where row tiles of the size of the cache and threads pay.
    sparse : bool
        Whether it is a CSR matrix, with attributes ``data``, ``indices`` and ``indptr``.
    """

    namespace: Callable[[Array], Any]
    to_host: Callable[[Array], np.ndarray]
    from_host: Callable[[np.ndarray, Array], Array]
    host: bool = False
    sparse: bool = False


def _standard_to_host(x: Array) -> np.ndarray:
    if array_api_compat.is_cupy_array(x):
        return x.get()
    if array_api_compat.is_array_api_strict_namespace(array_api_compat.array_namespace(x)):
        xp = array_api_compat.array_namespace(x)
        return np.array(
            xp.to_device(x, xp.Device("CPU_DEVICE"))
            if hasattr(xp, "to_device")
            else x.to_device(xp.Device("CPU_DEVICE"))
        )
    return np.asarray(array_api_compat.to_device(x, "cpu"))


def _standard_from_host(a: np.ndarray, like: Array) -> Array:
    return namespace(like).asarray(a, device=array_api_compat.device(like))


_NUMPY = ArrayType(array_api_compat.array_namespace, np.asarray, lambda a, like: a, host=True)
_STANDARD = ArrayType(array_api_compat.array_namespace, _standard_to_host, _standard_from_host)
_SCIPY_CSR = ArrayType(
    lambda x: namespace(x.data), lambda x: x, lambda a, like: from_host(a, like.data), host=True, sparse=True
)
_CUPY_CSR = ArrayType(
    lambda x: namespace(x.data), lambda x: x.get(), lambda a, like: from_host(a, like.data), sparse=True
)
_REGISTERED: dict[type, ArrayType] = {scipy.sparse.csr_array: _SCIPY_CSR, scipy.sparse.csr_matrix: _SCIPY_CSR}


def register_array_type(cls: type, array_type: ArrayType) -> None:
    """Add an array type.

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
        # By name, because a machine without a GPU cannot import the class.
        if cls.__module__.startswith("cupyx.scipy.sparse") and cls.__name__.startswith("csr"):
            return _CUPY_CSR
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
            f"{type(x).__module__}.{type(x).__name__} is not an array type that dask_newton supports; "
            "give a NumPy or CuPy array, or call dask_newton.arrays.register_array_type for it."
        ) from error


def to_host(x: Any) -> Any:
    """Copy an array to NumPy; numbers are returned as they are, tuples are copied entry by entry."""
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
    """Return NumPy's dtype of the same name; other array libraries have other dtype objects."""
    try:
        return None if dtype is None else np.dtype(dtype)
    except TypeError:
        return np.dtype(str(dtype).rpartition(".")[2])


def align(x: Array) -> Array:
    """Return ``x``, or a copy if its address in memory is not aligned to its dtype; CSR part by part.

    Arrays from a network may be unaligned. Every product would then copy them, with other rounding errors.
    """
    if isinstance(x, np.ndarray):
        return np.require(x, requirements="A")
    if _type_of(x) is _SCIPY_CSR:
        data, indices, indptr = align(x.data), align(x.indices), align(x.indptr)
        if not (data is x.data and indices is x.indices and indptr is x.indptr):
            return _compressed(type(x), data, indices, indptr, x.shape)
    return x


def by_column(x: Array) -> Array:
    """Return ``x`` in column-major order if it is a NumPy array: row-wise sums then run over long vectors."""
    return np.asfortranarray(x) if isinstance(x, np.ndarray) else x


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array of a supported type, rather than a list or a data frame."""
    return _type_of(x) is not _STANDARD or array_api_compat.is_array_api_obj(x)


def is_host(x: Array) -> bool:
    """Whether ``x`` is in CPU memory."""
    return _type_of(x).host


def _to_cupy(x: Any) -> Any:
    import cupy
    import cupyx.scipy.sparse

    return cupyx.scipy.sparse.csr_matrix(x) if scipy.sparse.issparse(x) else cupy.asarray(x)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"numpy": lambda x: x, "cupy": _to_cupy}


def register_conversion(name: str, convert: Callable[[Any], Any]) -> None:
    """Register an array type under a name; every process that uses the name must do so.

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


def is_sparse(x: Array) -> bool:
    """Whether ``x`` is a sparse matrix by rows (CSR)."""
    return _type_of(x).sparse


def stored(x: Array) -> Array:
    """Return the array of the stored entries: ``x`` itself, or the entries of a CSR matrix, shape (n_stored,)."""
    return x.data if is_sparse(x) else x


def nbytes(x: Array) -> int:
    """Return the bytes of ``x``, with the indices of a CSR matrix."""
    if is_sparse(x):
        return int(x.data.nbytes + x.indices.nbytes + x.indptr.nbytes)
    return int(x.size * namespace(x).finfo(x.dtype).bits // 8)


def _compressed(cls: Any, data: Array, indices: Array, indptr: Array, shape: tuple[int, int]) -> Array:
    # The constructor would check the indices, convert them from 64 to 32 bits where it can, and copy views.
    x = cls(shape, dtype=data.dtype)
    x.data, x.indices, x.indptr = data, indices, indptr
    return x


def _transposed(x: Array) -> Array:
    """Return the transpose of a CSR matrix as a CSC matrix: a view."""
    by_columns = type(type(x)((1, 1), dtype=x.dtype).T)
    return _compressed(by_columns, x.data, x.indices, x.indptr, x.shape[::-1])


def row_slice(x: Array, rows: slice) -> Array:
    """Return consecutive rows of a matrix, as a view of its entries; ``rows`` has a start, a stop and no step."""
    if not is_sparse(x):
        return x[rows, :]
    if rows.start == 0 and rows.stop == x.shape[0]:
        return x
    first, last = int(x.indptr[rows.start]), int(x.indptr[rows.stop])
    indptr = x.indptr[rows.start : rows.stop + 1] - x.indptr[rows.start]
    shape = (rows.stop - rows.start, x.shape[1])
    return _compressed(type(x), x.data[first:last], x.indices[first:last], indptr, shape)


def take_rows(x: Array, index: Array) -> Array:
    """Return some rows of an array of any dimension, in any order (a copy)."""
    return x[index] if is_sparse(x) else namespace(x).take(x, index, axis=0)


def transposed_product(x: Array, R: Array) -> Array:
    """Return ``(x' R)'``, shape (R.shape[1], x.shape[1]), dense."""
    return (_transposed(x) @ R).T if is_sparse(x) else R.T @ x


def squares(x: Array) -> Array:
    """Return the squares of the entries of a matrix."""
    if not is_sparse(x):
        return x**2
    if not x.has_canonical_format:  # duplicate entries must be added first
        x = x.copy()
        x.sum_duplicates()
    return _compressed(type(x), x.data**2, x.indices, x.indptr, x.shape)


def weighted_gram(x: Array, h: Array) -> Array:
    """Return ``x' diag(h) x`` of a CSR matrix, with h of shape (x.shape[0], 1), as a dense matrix."""
    return (_transposed(x) @ x.multiply(h).tocsr()).toarray()
