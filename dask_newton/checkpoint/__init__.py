"""Runs that outlive their process: the state of a solver <-> a Zarr group. Reading one executes no code from the file.

``codec`` turns states into JSON and arrays and back, ``checkpoint`` reads and writes the group and refuses to continue
another problem, and ``keeper`` saves a run of :func:`dask_newton.minimize` while it is in progress.
"""

from dask_newton.checkpoint.checkpoint import Checkpoint, OpenCheckpoint, SavedRun, is_checkpoint, open_checkpoint
from dask_newton.checkpoint.keeper import Keeper
from dask_newton.storage.kinds import CheckpointError

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Keeper",
    "OpenCheckpoint",
    "SavedRun",
    "is_checkpoint",
    "open_checkpoint",
]
