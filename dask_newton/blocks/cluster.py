"""The engine for a distributed cluster: one task per worker per pass, over blocks that are named by key.

Workers come and go. Data blocks have a recipe that ends at their source, so what a lost worker held is read again.
Values kept by passes have a recipe of earlier passes; every ``dask-newton.anchor.every`` passes they are anchored, that
is, replaced by columns whose recipe is their own value, so that at most that many passes are ever done again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import dask
from distributed import Client, Future, get_client, get_worker, wait

from dask_newton.blocks.base import Blocks, Nodes, PerBlock, payload, tree_reduce
from dask_newton.blocks.dask import contiguous_groups
from dask_newton.blocks.group import run_group

__all__ = ["ClusterBlocks", "current_client"]

T = TypeVar("T")
logger = logging.getLogger(__name__)


def current_client() -> Client | None:
    """Return the distributed client that Dask would compute with here, or None."""
    scheduler = dask.config.get("scheduler", None)
    if isinstance(scheduler, Client):
        return scheduler
    if scheduler not in (None, "distributed", "dask.distributed"):
        return None
    try:
        return get_client()
    except ValueError:
        return None


@dataclass(frozen=True, eq=False)
class _Part:
    """Where the value of one block is: all of a future, or entry ``[0][row][column]`` of what a pass returned."""

    future: Future
    entry: tuple[int, int] | None = None


@dataclass
class ClusterBlocks(Blocks):
    """Blocks in the memory of distributed workers.

    Attributes
    ----------
    client : distributed.Client
        Whose cluster.
    data : list of Future
        The blocks of data; passes run where they are.
    """

    client: Client = field(kw_only=True)
    data: list[Future] = field(kw_only=True)
    _owners: list[str | None] = field(default_factory=list, init=False)
    _passes_since_look: int = field(default=0, init=False)

    @classmethod
    def from_delayed(cls, parts: Sequence[Any], client: Client) -> tuple[ClusterBlocks, PerBlock[Any]]:
        """Compute delayed blocks on the workers: in runs of neighbours, unless their chunks lie somewhere already.

        Raises
        ------
        ValueError
            If the cluster has no workers.
        """
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise ValueError("The cluster has no workers; start some, or close the client to compute in this process.")
        if any(_holds_futures(part) for part in parts):
            futures = client.compute(list(parts))
        else:
            futures = []
            groups = contiguous_groups(len(parts), [worker["nthreads"] for worker in workers.values()])
            for address, group in zip(workers, groups, strict=True):
                here = [parts[i] for i in group]
                futures += client.compute(here, workers=[address], allow_other_workers=True) if here else []
        wait(futures)
        for future in futures:
            if future.status != "finished":
                future.result()  # raises what happened on the worker
        return cls(len(parts), client=client, data=futures), PerBlock(tuple(_Part(future) for future in futures))

    def place(self, values: Sequence[T]) -> PerBlock[T]:
        """Put one value beside each block; the value itself is its recipe."""
        if len(values) != self.n_blocks:
            raise ValueError(f"{len(values)} values were given for {self.n_blocks} blocks; give one value per block.")
        parts: list[_Part | None] = [None] * self.n_blocks
        for owner, group in self._groups():
            rows = [(values[i],) for i in group]
            future = self._submit("place", owner, _Inline((rows,)))
            for row, i in enumerate(group):
                parts[i] = _Part(future, (row, 0))
        return PerBlock(tuple(parts))

    def gather(self, column: PerBlock[T]) -> list[T]:
        """Bring the values of a column to the driver."""
        futures = list(dict.fromkeys(part.future for part in column.parts))
        values = dict(zip([future.key for future in futures], self.client.gather(futures), strict=True))
        return [_entry(values[part.future.key], part.entry) for part in column.parts]

    def select(self, indices: Sequence[int], *columns: PerBlock[Any]) -> tuple[Any, ...]:
        """Return ``(blocks, *columns)`` with only the blocks ``indices``."""
        blocks = ClusterBlocks(
            len(indices), self.meter, client=self.client, data=[self.data[i] for i in indices]
        )
        chosen = (PerBlock(tuple(column.parts[i] for i in indices), column.depth) for column in columns)
        return blocks, *chosen

    def _groups(self) -> list[tuple[str | None, list[int]]]:
        """Return the blocks that each worker holds, looked up anew every few passes."""
        every = dask.config.get("dask-newton.anchor.every", 10)
        if not self._owners or self._passes_since_look >= every:
            who = self.client.who_has(self.data)
            self._owners = [min(who.get(future.key, ()), default=None) for future in self.data]
            self._passes_since_look = 0
        groups: dict[str | None, list[int]] = {}
        for i, owner in enumerate(self._owners):
            groups.setdefault(owner, []).append(i)
        return list(groups.items())

    def _submit(self, name: str, owner: str | None, fn: Callable[..., Any], *args: Any) -> Future:
        # The address is a wish: if that worker is gone, any other does the work.
        where = {"workers": [owner], "allow_other_workers": True} if owner else {}
        return self.client.submit(fn, *args, key=f"newton-{name}-{uuid.uuid4().hex}", pure=False, **where)

    def _run(
        self, fn: Callable[..., Any], columns: tuple[PerBlock[Any], ...], keep: int, shared: dict[str, Any]
    ) -> tuple[tuple[PerBlock[Any], ...], Any, int]:
        name = getattr(getattr(fn, "fn", fn), "__name__", "pass").strip("_")
        broadcast: Any = _Inline(shared)
        if payload(shared) > dask.config.get("dask-newton.broadcast.inline-bytes", 1_000_000):
            # One copy to the scheduler instead of one per worker. Unlike scattered data it has a recipe.
            broadcast = self._submit("broadcast", None, broadcast)
        groups, results = self._groups(), []
        for owner, group in groups:
            futures = list(dict.fromkeys(column.parts[i].future for i in group for column in columns))
            place = {future.key: j for j, future in enumerate(futures)}
            entries = [tuple((place[c.parts[i].future.key], c.parts[i].entry) for c in columns) for i in group]
            task = _Task(fn, keep, group, entries, self.n_blocks)
            results.append(self._submit(name, owner, task, broadcast, *futures))
        if keep:
            summaries = [
                self._submit(f"{name}-sum", owner, _summary, future)
                for (owner, _), future in zip(groups, results, strict=True)
            ]
        nodes: Nodes = {}
        bytes_up = kept_bytes = 0
        for _, part, up, size in self.client.gather(summaries if keep else results):
            nodes |= part
            bytes_up += up
            kept_bytes += size
        self._passes_since_look += 1
        (total,) = tree_reduce(nodes, self.n_blocks).values()
        depth = 1 + max((column.depth for column in columns), default=0)
        kept = []
        for j in range(keep):
            parts: list[_Part | None] = [None] * self.n_blocks
            for (_, group), future in zip(groups, results, strict=True):
                for row, i in enumerate(group):
                    parts[i] = _Part(future, (row, j))
            kept.append(PerBlock(tuple(parts), depth))
        if keep and depth > dask.config.get("dask-newton.anchor.every", 10):
            kept = self._anchor(kept, kept_bytes)
        return tuple(kept), total, bytes_up

    def _anchor(self, columns: list[PerBlock[Any]], size: int) -> list[PerBlock[Any]]:
        limit = dask.config.get("dask-newton.anchor.max-bytes", 256_000_000)
        if size > limit:
            logger.warning(
                "%d bytes of per-block state are above dask-newton.anchor.max-bytes (%d) and stay on the workers "
                "unanchored: after the loss of a worker, passes back to the last anchor are done again.", size, limit)
            return columns
        return [self.place(self.gather(column)) for column in columns]


@dataclass(frozen=True)
class _Inline:
    """A value that travels inside the task, hidden from Dask's search for futures."""

    value: Any

    def __call__(self) -> Any:
        return self.value


@dataclass(frozen=True)
class _Task:
    """The work of one worker in one pass."""

    fn: Callable[..., Any]
    keep: int
    indices: list[int]
    entries: list[tuple[tuple[int, tuple[int, int] | None], ...]]
    n_blocks: int

    def __call__(self, shared: Any, *pieces: Any) -> tuple[Any, Nodes, int, int]:
        shared = shared.value if isinstance(shared, _Inline) else shared
        values = [tuple(_entry(pieces[j], entry) for j, entry in row) for row in self.entries]
        threads = get_worker().state.nthreads
        kept, nodes, up = run_group(self.fn, self.keep, self.indices, values, shared, self.n_blocks, threads)
        return kept, nodes, up, sum(payload_of_kept(row) for row in kept)


def payload_of_kept(value: Any) -> int:
    """Return about how many bytes a kept value holds."""
    return dask.sizeof.sizeof(value) if not isinstance(value, tuple) else sum(map(payload_of_kept, value))


def _entry(value: Any, entry: tuple[int, int] | None) -> Any:
    return value if entry is None else value[0][entry[0]][entry[1]]


def _summary(result: tuple[Any, ...]) -> tuple[Any, ...]:
    return None, *result[1:]


def _holds_futures(part: Any) -> bool:
    return any(isinstance(value, Future) for value in part.__dask_graph__().values())
