"""Delayed blocks -> the memory of the workers of a cluster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import dask
from distributed import Client, Future

from dask_newton.blocks.client import wait_for
from dask_newton.blocks.group import contiguous_groups
from dask_newton.blocks.names import delayed
from dask_newton.blocks.streaming import recipes
from dask_newton.blocks.tasks import hold

__all__ = ["place_on_workers"]

logger = logging.getLogger(__name__)


def place_on_workers(parts: Sequence[Any], client: Client, *, persist: bool) -> tuple[list[Future], bool]:
    """Compute delayed blocks on workers: runs of neighbours on each, unless their chunks are on workers already.

    Parameters
    ----------
    parts : sequence of dask.delayed.Delayed
        One per block.
    client : distributed.Client
    persist : bool
        False gives the workers the recipes of the blocks. Chunks that are on workers already are used where they are.

    Returns
    -------
    futures : list of Future
        The blocks, or their recipes.
    streamed : bool
        Whether they are recipes.

    Raises
    ------
    ValueError
        If the cluster has no workers.
    """
    # Not scheduler_info: the client's own refresh, which asks for no workers, may overwrite what it returns.
    workers = client.nthreads()
    if not workers:
        raise ValueError("The cluster has no workers; start some, or close the client to compute in this process.")
    homes = _homes(parts, client)
    streamed = not persist and not any(homes)
    if not persist and any(homes):
        logger.info("The chunks lie in the memory of workers already; they are used there and not streamed.")
    elif streamed:
        parts = [dask.delayed(recipe, traverse=False) for recipe in recipes(parts)]
    if not any(homes):
        groups = contiguous_groups(len(parts), list(workers.values()))
        homes = [address for address, group in zip(workers, groups, strict=True) for _ in group]
    lazily = delayed(hold, "hold-block")
    blocks = [lazily(part) for part in parts]
    computed: dict[str, Future] = {}
    for home in dict.fromkeys(homes):
        here = [block for block, other in zip(blocks, homes, strict=True) if other == home]
        where = {"workers": [home], "allow_other_workers": True} if home else {}
        computed |= {future.key: future for future in client.compute(here, **where)}
    futures = [computed[block.key] for block in blocks]
    wait_for(client, futures)
    client.run_on_scheduler(_lift_restrictions, keys=[future.key for future in futures])
    for future in futures:
        if future.status != "finished":
            future.result()  # raises what happened on the worker
    return futures, streamed


def _lift_restrictions(keys: list[str], dask_scheduler: Any) -> None:
    """Forget, on the scheduler, where blocks were first wanted: they are made again wherever there is a worker."""
    todo = [dask_scheduler.tasks[key] for key in keys if key in dask_scheduler.tasks]
    while todo:
        task = todo.pop()
        if task.worker_restrictions and task.loose_restrictions:
            dask_scheduler.set_restrictions(worker={task.key: None})
            todo.extend(task.dependencies)


def _homes(parts: Sequence[Any], client: Client) -> list[str | None]:
    """Return, for parts made of chunks that lie on workers already, one of those workers."""
    chunks = [_chunks(part, client) for part in parts]
    every = {chunk.key: chunk for here in chunks for chunk in here}
    if not every:
        return [None] * len(parts)
    wait_for(client, list(every.values()))  # what was persisted a moment ago lies nowhere yet
    who = client.who_has(list(every.values()))
    return [next((owner for chunk in here for owner in sorted(who.get(chunk.key, ()))), None) for here in chunks]


def _chunks(part: Any, client: Client) -> list[Future]:
    """Return the results that a delayed value depends on and that the cluster has or is about to have."""
    graph, keys, seen = part.__dask_graph__(), [part.key], set()
    found: list[Future] = []
    while keys:
        key = keys.pop()
        if key in seen:
            continue
        seen.add(key)
        # Graphs name persisted chunks by key only; the client knows which of them are its futures.
        if key in client.futures:
            found.append(Future(key, client))
        elif key in graph:
            keys.extend(sorted(getattr(graph[key], "dependencies", ()), key=str))
    return found
