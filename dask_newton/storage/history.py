"""Arrays and histories in the Zarr groups of models and checkpoints, written with checksums."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from dask_newton.history import History
from dask_newton.storage.column import Column
from dask_newton.storage.groups import array_of, plain_dtype
from dask_newton.storage.integrity import verify_group
from dask_newton.storage.kinds import DatasetError

__all__ = ["read_array", "read_history", "write_array", "write_history"]


def write_array(
    group: zarr.Group, name: str, values: np.ndarray, dims: tuple[str, ...], chunk: int | None = None
) -> None:
    """Write an array in chunks of ``chunk`` rows, by default in one chunk."""
    rows = max(1, len(values)) if chunk is None else chunk
    column = Column.create(group, name, values, rows, dims)
    for start in range(0, max(1, len(values)), rows):
        column.append(values[start : start + rows])
    column.finish()


def read_array(group: zarr.Group, name: str, where: str) -> np.ndarray | None:
    """Read a whole array; None if there is none."""
    array = array_of(group, name, where)
    return None if array is None else np.asarray(array[:]).astype(plain_dtype(array, where))


def write_history(group: zarr.Group, history: History) -> None:
    """Write one array per recorded quantity."""
    names = list(dict.fromkeys(name for record in history for name in record))
    for name in names:
        present = [i for i, record in enumerate(history) if name in record]
        values = [history[i][name] for i in present]
        filled = np.full(len(history), "" if isinstance(values[0], str) else np.nan, dtype=object)
        filled[present] = values
        dtype = np.asarray(values if len(present) == len(history) else filled.tolist()).dtype
        write_array(group, name, filled.astype(dtype), ("iteration",))
        if len(present) < len(history):
            group[name].attrs["present"] = present  # some solvers record a quantity in some iterations only
    group.attrs.update({"solver": history.solver, "columns": names})
    verify_group(group, "history")


def read_history(parent: zarr.Group, where: str) -> History:
    """Read and verify the history in a group.

    Raises
    ------
    DatasetError
        If it is missing or damaged.
    """
    try:  # past its consolidated metadata, which may list arrays that are missing
        group = zarr.open_group(parent.store, path=f"{parent.path}/history", mode="r", use_consolidated=False)
    except FileNotFoundError as error:
        raise DatasetError("it has no history") from error
    verify_group(group, f"{where}/history")
    attributes: dict[str, Any] = group.attrs.asdict()
    values: dict[str, list[Any]] = {}
    present: dict[str, set[int]] = {}
    for name in attributes["columns"]:
        array = read_array(group, name, where)
        if array is None:
            raise DatasetError(f"the history has no {name!r}")
        values[name] = array.tolist()
        noted: dict[str, Any] = group[name].attrs.asdict()
        present[name] = set(noted.get("present", range(len(array))))
    lengths = {len(column) for column in values.values()}
    if len(lengths) > 1:
        raise DatasetError("the columns of the history differ in length")
    records = [{name: values[name][i] for name in values if i in present[name]} for i in range(max(lengths, default=0))]
    return History(attributes["solver"], records)
