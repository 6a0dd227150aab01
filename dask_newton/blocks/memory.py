"""How much memory there is where blocks are placed."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["available_memory"]


def available_memory() -> float:
    """Return the memory limits of all workers of the current client together, else of this process, in bytes.

    Workers without a limit make it infinite.
    """
    from distributed.system import MEMORY_LIMIT

    from dask_newton.blocks.cluster import current_client

    client = current_client()
    return float(MEMORY_LIMIT) if client is None else client.run_on_scheduler(_of_workers)


def _of_workers(dask_scheduler: Any) -> float:
    return float(sum(worker.memory_limit or math.inf for worker in dask_scheduler.workers.values()))
