"""The engine for Dask without a cluster: passes are graphs of one task per thread, run by the configured scheduler."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import dask.base
import dask.threaded
import joblib

from dask_newton.blocks.base import Nodes, total_of
from dask_newton.blocks.column import PerBlock
from dask_newton.blocks.graphs.calls import Call, Held, Ref, run_here
from dask_newton.blocks.group import contiguous_groups, run_group
from dask_newton.blocks.in_memory import InMemoryBlocks
from dask_newton.blocks.names import task_key, task_name

__all__ = ["DaskBlocks"]


@dataclass
class DaskBlocks(InMemoryBlocks):
    """Blocks in the memory of this process, run by the scheduler that Dask is configured with."""

    def _run_graph(
        self, calls: Sequence[Call], wanted: Sequence[str], keep: Sequence[str], held: Held | None
    ) -> tuple[list[Any], Held] | None:
        get, cores = self._scheduler()
        run = uuid.uuid4().hex
        keys = {call.key: (task_key(task_name(call.fn), run), call.key) for call in calls}
        graph: dict[Any, Any] = {}
        for call in calls:
            refs = [keys[arg.key] for arg in call.args if isinstance(arg, Ref)]
            graph[keys[call.key]] = (functools.partial(run_here, call, held), *refs)
        ends = [*wanted, *keep]
        results = dict(zip(ends, get(graph, [keys[key] for key in ends], num_workers=cores), strict=True))
        return [results[key] for key in wanted], Held({key: results[key] for key in keep})

    def _scheduler(self) -> tuple[Any, int]:
        """Return what runs graphs, and the number of cores."""
        get = dask.base.get_scheduler() or dask.threaded.get
        if hasattr(get, "__self__"):
            # A distributed client that came after these blocks were placed; they stay where they are.
            get = dask.threaded.get
        return get, dask.config.get("num_workers", None) or joblib.cpu_count()

    def _run(
        self, fn: Callable[..., Any], columns: tuple[PerBlock[Any], ...], keep: int, shared: dict[str, Any]
    ) -> tuple[tuple[PerBlock[Any], ...], Any, int]:
        get, cores = self._scheduler()
        n_tasks = 1 if get is dask.get else min(cores, self.n_blocks)
        groups = [group for group in contiguous_groups(self.n_blocks, [1] * n_tasks) if group]
        name = task_key(task_name(fn))
        graph = {}
        for j, group in enumerate(groups):
            values = [tuple(column.parts[i] for column in columns) for i in group]
            # A partial without arguments, so that Dask does not walk through the blocks in search of tasks.
            run = functools.partial(
                run_group, fn, keep, group, values, shared, self.n_blocks, threads=cores // len(groups)
            )
            graph[name, j] = (run,)
        results = get(graph, list(graph), num_workers=cores)
        nodes: Nodes = {}
        for _, part, _ in results:
            nodes |= part
        kept = [values for group_kept, _, _ in results for values in group_kept]
        columns_out: list[PerBlock[Any]] = [PerBlock(tuple(values[j] for values in kept)) for j in range(keep)]
        return tuple(columns_out), total_of(nodes, self.n_blocks), sum(bytes_up for _, _, bytes_up in results)
