"""The engine for a distributed cluster: one task per worker per pass, over blocks that are named by key.

Workers come and go. Data blocks have a recipe that ends at their source, so what a lost worker held is read again.
Values kept by passes have a recipe of earlier passes; every ``dask-newton.anchor.every`` passes they are anchored, that
is, replaced by columns whose recipe is their own value, so that at most that many passes are ever done again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import dask
from distributed import Client, Future

from dask_newton.blocks.anchors import Folder
from dask_newton.blocks.base import Blocks, Nodes, payload, total_of
from dask_newton.blocks.column import PerBlock
from dask_newton.blocks.config import n_bytes, setting
from dask_newton.blocks.graphs.calls import Call, Held
from dask_newton.blocks.graphs.on_cluster import run_on_cluster
from dask_newton.blocks.memory import nbytes
from dask_newton.blocks.names import task_key, task_name
from dask_newton.blocks.on_workers import place_on_workers
from dask_newton.blocks.streaming import made
from dask_newton.blocks.tasks import Inline, Pack, Placed, Task, group_blocks, sums_only

__all__ = ["ClusterBlocks"]

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Part:
    """Where the value of one block is: in a :class:`~dask_newton.blocks.tasks.GroupResult`."""

    future: Future
    row: int
    column: int


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
    _grouped: dict[tuple[int, ...], Future] = field(default_factory=dict, init=False)
    _warned: bool = field(default=False, init=False)

    @classmethod
    def from_delayed(
        cls, parts: Sequence[Any], client: Client, *, persist: bool = True
    ) -> tuple[ClusterBlocks, PerBlock[Any]]:
        """Place delayed blocks, see :func:`~dask_newton.blocks.on_workers.place_on_workers`."""
        futures, streamed = place_on_workers(parts, client, persist=persist)
        engine = cls(len(parts), client=client, data=futures, streamed=streamed)
        return engine, PerBlock(tuple(_Part(future, 0, 0) for future in futures))

    def _place(self, values: Sequence[T]) -> PerBlock[T]:
        """Put one value beside each block; the value itself is its recipe."""
        groups = self._groups()
        sizes = [sum(nbytes(values[i]) for i in group) for _, group in groups]
        futures = [
            self._submit("place-values", Placed([(values[i],) for i in group], size), self.data[group[0]], size=size)
            for (_, group), size in zip(groups, sizes, strict=True)
        ]
        return PerBlock(self._parts(groups, futures, 0))

    def _run_graph(
        self, calls: Sequence[Call], wanted: Sequence[str], keep: Sequence[str], held: Held | None
    ) -> tuple[list[Any], Held] | None:
        return run_on_cluster(self.client, calls, wanted, keep, held)

    def gather(self, column: PerBlock[T]) -> list[T]:
        """Bring the values of a column to the driver."""
        futures = list(dict.fromkeys(part.future for part in column.parts))
        values = dict(zip([future.key for future in futures], self.client.gather(futures), strict=True))
        return [made(values[part.future.key].value(part.row, part.column)) for part in column.parts]

    def select(self, indices: Sequence[int], *columns: PerBlock[Any]) -> tuple[Any, ...]:
        """Return ``(blocks, *columns)`` with only the blocks ``indices``."""
        blocks = ClusterBlocks(
            len(indices),
            self.meter,
            client=self.client,
            data=[self.data[i] for i in indices],
            streamed=self.streamed,
        )
        chosen: Any = (PerBlock(tuple(c.parts[i] for i in indices), c.depth, c.needs) for c in columns)
        return blocks, *chosen

    def _groups(self) -> list[tuple[str | None, list[int]]]:
        """Return the blocks that each worker holds, looked up anew every few passes, and while some are lost."""
        if not self._owners or None in self._owners or self._passes_since_look >= setting("anchor.every"):
            who, load = self.client.who_has(self.data), Counter[str | None]()
            self._owners = []
            for future in self.data:
                # Of several workers that hold a copy, the one with less to do.
                owner = min(who.get(future.key, ()), key=lambda address: (load[address], address), default=None)
                self._owners.append(owner)
                load[owner] += 1
            self._passes_since_look = 0
        groups: dict[str | None, list[int]] = {}
        for i, owner in enumerate(self._owners):
            groups.setdefault(owner, []).append(i)
        return list(groups.items())

    def _data_by_group(self, groups: list[tuple[str | None, list[int]]]) -> dict[Any, _Part]:
        """Return, by the key of each block of data, where it is in one result that holds all blocks of its group.

        The cost of a pass grows with the number of results that its tasks depend on. The result of a group has no data
        of its own: it refers to the blocks on its worker, which are what is made again when a worker is lost.
        """
        known, self._grouped = self._grouped, {}
        parts: dict[Any, _Part] = {}
        for _, group in groups:
            blocks, key = [self.data[i] for i in group], tuple(group)
            self._grouped[key] = known.get(key) or self._submit("group-blocks", group_blocks, *blocks)
            parts |= {block.key: _Part(self._grouped[key], row, 0) for row, block in enumerate(blocks)}
        return parts

    def _parts(self, groups: list[tuple[str | None, list[int]]], futures: list[Future], j: int) -> tuple[_Part, ...]:
        """Return column ``j`` of the results of one task per group."""
        parts = {
            i: _Part(future, row, j)
            for (_, group), future in zip(groups, futures, strict=True)
            for row, i in enumerate(group)
        }
        return tuple(parts[i] for i in range(self.n_blocks))

    def _submit(self, name: str, fn: Callable[..., Any], *args: Any, size: int = 0) -> Future:
        # Tasks go to the worker that has the blocks or results they are given. Addresses are never named: when all
        # workers of a cluster are replaced, tasks that wish for one that is gone wait forever (distributed 2026.8).
        submit = partial(self.client.submit, fn, *args, key=task_key(name), pure=False)
        if size <= n_bytes("broadcast.inline-bytes"):
            return submit()
        # Values that are their own recipe are sent inside the task on purpose; Dask need not warn of it.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            return submit()

    def _run(
        self, fn: Callable[..., Any], columns: tuple[PerBlock[Any], ...], keep: int, shared: dict[str, Any]
    ) -> tuple[tuple[PerBlock[Any], ...], Any, int]:
        broadcast: Any = Inline(shared)
        if payload(shared) > n_bytes("broadcast.inline-bytes"):
            # One copy to the scheduler instead of one per worker. Unlike scattered data it has a recipe.
            broadcast = self._submit("broadcast", broadcast, size=payload(shared))
        groups, results = self._groups(), []
        grouped = self._data_by_group(groups)
        for _, group in groups:
            parts = [[grouped.get(column.parts[i].future.key, column.parts[i]) for column in columns] for i in group]
            futures = list(dict.fromkeys(part.future for row in parts for part in row)) or [self.data[group[0]]]
            place = {future.key: j for j, future in enumerate(futures)}
            entries = [tuple((place[part.future.key], part.row, part.column) for part in row) for row in parts]
            task = Task(fn, keep, group, entries, self.n_blocks)
            results.append(self._submit(task_name(fn), task, broadcast, *futures))
        if keep:
            summaries = [self._submit("send-sums", sums_only, future) for future in results]
        nodes: Nodes = {}
        bytes_up = kept_bytes = 0
        for result in self.client.gather(summaries if keep else results):
            nodes |= result.nodes
            bytes_up += result.bytes_up
            kept_bytes += result.size
        self._passes_since_look += 1
        depth = 1 + max((column.depth for column in columns), default=0)
        needs = tuple(dict.fromkeys(need for column in columns for need in column.needs))
        if keep and depth > setting("anchor.every"):
            results, depth, needs = self._anchor(groups, results, kept_bytes) or (results, depth, needs)
        kept: tuple[PerBlock[Any], ...] = tuple(
            PerBlock(self._parts(groups, results, j), depth, needs) for j in range(keep)
        )
        return kept, total_of(nodes, self.n_blocks), bytes_up

    def _anchor(
        self, groups: list[tuple[str | None, list[int]]], results: list[Future], size: int
    ) -> tuple[list[Future], int, tuple[Folder, ...]] | None:
        """Return results with the same values whose recipe does not go through any pass, their depth and needs."""
        limit, directory = n_bytes("anchor.max-bytes"), setting("anchor.directory")
        if size > limit and not directory:
            if not self._warned:
                logger.warning(
                    "%d bytes of per-block state are above dask-newton.anchor.max-bytes (%d) and stay on the workers "
                    "unanchored: after the loss of a worker, all passes back to the last anchor are done again. Set "
                    "dask-newton.anchor.directory to a folder that the client and all workers see.",
                    size,
                    limit,
                )
            self._warned = True
            return None
        folder = Folder(directory) if size > limit else None
        packs = [
            self._submit("pack-anchor", Pack(group, folder.path if folder else None), result)
            for (_, group), result in zip(groups, results, strict=True)
        ]
        anchored = []
        for (_, group), anchor in zip(groups, self.client.gather(packs), strict=True):
            # All blocks of data come along where arrays are to go back to a device, which only they know.
            data = [self.data[i] for i in (group if anchor.foreign else group[:1])]
            anchored.append(self._submit("anchor", anchor, *data, size=0 if folder else anchor.size))
        return anchored, 0, (folder,) if folder else ()
