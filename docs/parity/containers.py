"""The containers: each turns columns of NumPy into what a user might hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import scipy.sparse
import xarray as xr

from dask_newton.data import save_dataset

__all__ = ["CONTAINERS", "Container"]

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Container:
    """A way to hold data.

    Attributes
    ----------
    convert : callable
        ``convert(columns, folder)`` returns the arguments of ``fit``; the folder is empty.
    text : str
        What it is.
    cluster : bool
        Whether a fit runs on two worker processes.
    float32 : bool
        Whether the columns are rounded, and all products done, in single precision.
    """

    convert: Callable[[Columns, Path], dict[str, Any]]
    text: str
    cluster: bool = False
    float32: bool = False


def _with(columns: Columns, convert: Callable[[np.ndarray], Any], X: Any) -> dict[str, Any]:
    return {"X": X, **{name: convert(a) for name, a in columns.items() if name != "X"}}


def _chunked(sizes: Callable[[int], Any], columns_of_x: Any = -1) -> Callable[[Columns, Path], dict[str, Any]]:
    def convert(columns: Columns, folder: Path) -> dict[str, Any]:
        chunks = sizes(len(columns["X"]))
        X = da.from_array(columns["X"], chunks=(chunks, columns_of_x))
        return _with(columns, lambda a: da.from_array(a, chunks=(chunks, *a.shape[1:])), X)

    return convert


def _quarters(n: int) -> int:
    return -(-n // 4)


def _halves(n: int) -> int:
    return -(-n // 2)


def _unequal(n: int) -> tuple[int, ...]:
    return (n // 2, 0, n // 20, n - n // 2 - n // 20)


def _csr_blocks(columns: Columns, folder: Path) -> dict[str, Any]:
    given = _chunked(_halves)(columns, folder)
    return {**given, "X": given["X"].map_blocks(scipy.sparse.csr_array, meta=scipy.sparse.csr_array((0, 0)))}


def _series(a: np.ndarray, index: pd.Index) -> pd.Series | pd.DataFrame:
    return pd.Series(a, index) if a.ndim == 1 else pd.DataFrame(a, index, [f"target {j}" for j in range(a.shape[1])])


def _pandas(columns: Columns, folder: Path) -> dict[str, Any]:
    X = columns["X"]
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    return _with(columns, lambda a: _series(a, frame.index), frame)


def _dask_frames(columns: Columns, folder: Path) -> dict[str, Any]:
    import dask.dataframe as dd

    given = _pandas(columns, folder)
    return {name: dd.from_pandas(a, npartitions=2) for name, a in given.items()}


def _xarray(columns: Columns, folder: Path) -> dict[str, Any]:
    dims = {"X": ("sample", "feature")}
    second = {name: ("sample", "target")[: a.ndim] for name, a in columns.items()}
    return {name: xr.DataArray(a, dims=dims.get(name, second[name])) for name, a in columns.items()}


def _xarray_dataset(columns: Columns, folder: Path) -> dict[str, Any]:
    given = _xarray(columns, folder)
    exposure = {name: given.pop(name) for name in ("exposure",) if name in given}  # no variable of a data set
    return {"X": xr.Dataset(given).chunk(sample=_halves(len(columns["X"]))), **exposure}


def _zarr(sparse: bool) -> Callable[[Columns, Path], dict[str, Any]]:
    def convert(columns: Columns, folder: Path) -> dict[str, Any]:
        stored = {name: a for name, a in columns.items() if name != "exposure"}
        if sparse:
            stored["X"] = scipy.sparse.csr_array(stored["X"])
        path = save_dataset(folder / "data.zarr", **stored, chunk_rows=_halves(len(columns["X"])))
        return {"X": path, **{name: a for name, a in columns.items() if name == "exposure"}}

    return convert


def _single(columns: Columns, folder: Path) -> dict[str, Any]:
    return {**columns, "X": columns["X"].astype(np.float32)}


CONTAINERS: dict[str, Container] = {
    "NumPy": Container(lambda columns, folder: columns, "one array in memory"),
    "Dask array": Container(_chunked(_quarters), "four equal chunks of rows"),
    "Dask array, unequal": Container(_chunked(_unequal), "chunks of half of the rows, none, a twentieth and the rest"),
    "Dask array, 2-D chunks": Container(_chunked(_halves, 4), "two chunks of rows, cut into groups of four columns"),
    "SciPy CSR": Container(lambda c, folder: {**c, "X": scipy.sparse.csr_matrix(c["X"])}, "one `csr_matrix`"),
    "Dask array of CSR": Container(_csr_blocks, "two chunks, each a `csr_array`"),
    "pandas": Container(_pandas, "a data frame; targets and weights are series"),
    "Dask data frame": Container(_dask_frames, "two partitions of unknown length"),
    "xarray": Container(_xarray, "arrays with the dimensions sample and feature"),
    "xarray Dataset": Container(_xarray_dataset, "one set of variables over two Dask chunks"),
    "Zarr": Container(_zarr(False), "the path of a group that `save_dataset` wrote, two chunks"),
    "Zarr, CSR": Container(_zarr(True), "the same with a sparse matrix"),
    "two processes": Container(_chunked(_halves), "a Dask array of two chunks, on two worker processes", cluster=True),
    "float32": Container(_single, "one NumPy array in single precision", float32=True),
}
