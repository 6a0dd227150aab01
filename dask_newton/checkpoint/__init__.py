"""Runs that outlive their process: the state of a solver <-> a Zarr group, nothing that is executed when it is read.

``codec`` turns states into JSON and arrays and back, ``checkpoint`` says where and how often, and refuses to go on with
another problem, and ``keeper`` is what :func:`dask_newton.minimize` runs with.
"""

from dask_newton.checkpoint.checkpoint import Checkpoint, CheckpointError, is_checkpoint, saved_run
from dask_newton.checkpoint.keeper import Keeper

__all__ = ["Checkpoint", "CheckpointError", "Keeper", "is_checkpoint", "saved_run"]
