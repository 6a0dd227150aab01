"""Who computes: the distributed client that Dask would use here, the memory of its workers, and waiting for them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["available_memory", "current_client", "wait_for"]


def current_client() -> Client | None:
    """Return the distributed client that Dask would compute with here, or None."""
    if "distributed" not in sys.modules:
        return None  # whoever has a client has imported it, and others need not wait for the import
    from distributed import Client, get_client

    scheduler = dask.config.get("scheduler", None)
    if isinstance(scheduler, Client):
        return scheduler
    if scheduler not in (None, "distributed", "dask.distributed"):
        return None
    try:
        return get_client()
    except ValueError:
        return None


def available_memory() -> float:
    """Return the memory limits of all workers of the current client together, else of this process, in bytes.

    Workers without a limit make it infinite.
    """
    from distributed.system import MEMORY_LIMIT

    client = current_client()
    return float(MEMORY_LIMIT) if client is None else client.run_on_scheduler(_memory_of_workers)


def wait_for(client: Client, futures: Sequence[Future], timeout: float | None = None) -> None:
    """Wait until futures of a client, which need not be the current one, are done.

    Raises
    ------
    TimeoutError
        If they are not after ``timeout`` seconds.
    """
    from distributed import wait

    with client.as_current():
        wait(futures, timeout=timeout)


def _memory_of_workers(dask_scheduler: Any) -> float:
    return float(sum(worker.memory_limit or math.inf for worker in dask_scheduler.workers.values()))
