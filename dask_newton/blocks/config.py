"""The settings of the engines: ``dask-newton`` in Dask's configuration, with defaults from ``dask_newton.yaml``."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import dask
import yaml

__all__ = ["n_bytes", "setting"]

with files("dask_newton").joinpath("dask_newton.yaml").open(encoding="utf-8") as _file:
    dask.config.update_defaults(yaml.safe_load(_file))


def setting(name: str) -> Any:
    """Return the setting ``dask-newton.<name>``."""
    return dask.config.get(f"dask-newton.{name}")


def n_bytes(name: str) -> int:
    """Return a setting that is a number of bytes, given as 1_000_000 or as "1 MB"."""
    return int(dask.utils.parse_bytes(setting(name)))
