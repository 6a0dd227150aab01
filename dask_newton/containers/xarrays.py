"""xarray objects with the dimensions ``sample`` and ``feature``, and predictions with their coordinates."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["coordinate", "is_labelled", "labelled_column", "labelled_like", "labelled_matrix", "variables"]


def is_labelled(a: Any) -> bool:
    """Whether ``a`` is a DataArray or Dataset of xarray."""
    xarray = sys.modules.get("xarray")  # imported by anyone who has a DataArray
    return xarray is not None and isinstance(a, xarray.DataArray | xarray.Dataset)


def variables(X: Any) -> dict[str, Any]:
    """Return X, y, sample_weight and offset as DataArrays by name; None for each that is missing.

    Raises
    ------
    ValueError
        If a Dataset has no variable ``X``.
    """
    names = ("X", "y", "sample_weight", "offset")
    if not hasattr(X, "data_vars"):
        return dict.fromkeys(names) | {"X": X}
    if "X" not in X.data_vars:
        raise ValueError(
            f"The Dataset has no variable 'X', only {', '.join(map(repr, X.data_vars)) or 'nothing'}; rename the "
            "variable that holds the features."
        )
    return {name: X.data_vars.get(name) for name in names}


def labelled_matrix(X: Any) -> Any:
    """Return X with its dimensions in the order (sample, feature).

    Raises
    ------
    ValueError
        If the dimensions have other names.
    """
    if sorted(map(str, X.dims)) != ["feature", "sample"]:
        raise ValueError(
            f"X has the dimensions {X.dims}; they must be 'sample' and 'feature'. Use X.rename({{old: new}}), or "
            "X.stack(sample=[...]) to join several."
        )
    return X.transpose("sample", "feature")


def labelled_column(a: Any, X: Any, name: str) -> Any:
    """Return the values of an array that belongs to X, samples first; ``X`` may be of any type.

    Raises
    ------
    ValueError
        If it has no dimension ``sample``, or if its sample labels differ from those of X.
    """
    if "sample" not in a.dims:
        raise ValueError(f"{name} has the dimensions {a.dims}; one of them must be 'sample'. Use {name}.rename.")
    if is_labelled(X) and "sample" in X.indexes and "sample" in a.indexes:
        if not X.indexes["sample"].equals(a.indexes["sample"]):
            raise ValueError(
                f"The sample labels of {name} are not those of X; align the two, for example with xarray.align."
            )
    return a.transpose("sample", ...).data


def coordinate(X: Any, name: str) -> list[str] | None:
    """Return the labels along a dimension as strings; None if there are none."""
    return [str(label) for label in X.coords[name].values.tolist()] if name in X.coords else None


def labelled_like(values: Any, X: Any, columns: Any, dim: str) -> Any:
    """Return predictions as a DataArray with the sample coordinates of X."""
    from xarray import DataArray

    dims = ("sample",) if columns is None else ("sample", dim)
    result = DataArray(values, dims=dims).assign_coords(X.isel(feature=0, drop=True).coords)
    result.name = None  # it would be that of the Dask array
    return result if columns is None else result.assign_coords({dim: list(columns)})
