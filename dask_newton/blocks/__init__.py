"""Where blocks live and how one pass runs."""

import dask_newton.blocks.config  # noqa: F401  the defaults must be there before anything is run
from dask_newton.blocks.base import Blocks, Meter
from dask_newton.blocks.column import PerBlock
from dask_newton.blocks.dask import DaskBlocks
from dask_newton.blocks.in_memory import SerialBlocks
from dask_newton.blocks.names import named, task_name
from dask_newton.blocks.placing import place_delayed
from dask_newton.blocks.threads import n_threads, parallel, run_blocks, thread_budget

__all__ = [
    "Blocks",
    "DaskBlocks",
    "Meter",
    "PerBlock",
    "SerialBlocks",
    "n_threads",
    "named",
    "parallel",
    "place_delayed",
    "run_blocks",
    "task_name",
    "thread_budget",
]
