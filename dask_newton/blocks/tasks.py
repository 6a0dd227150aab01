"""What workers do for :class:`~dask_newton.blocks.cluster.ClusterBlocks`: callables that travel inside tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import get_worker

from dask_newton.blocks.anchors import Packed, pack, unpack
from dask_newton.blocks.base import Nodes, payload
from dask_newton.blocks.group import run_group
from dask_newton.blocks.memory import keep_freed_memory, nbytes
from dask_newton.blocks.streaming import made
from dask_newton.trees import aligned

__all__ = ["Anchor", "GroupResult", "Inline", "Pack", "Placed", "Task", "group_blocks", "hold", "sums_only"]


class Inline:
    """A value that travels inside the task, hidden from Dask's search for futures."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Inline:
        """Return itself, for the worker that holds it for all."""
        return self

    def __sizeof__(self) -> int:
        # For Dask the worker that has it is no better a place for a task than the one that has the blocks.
        return 0


@dataclass(frozen=True)
class GroupResult:
    """What a task leaves on its worker.

    Attributes
    ----------
    kept : sequence of tuple
        Per block, the values that stay beside it.
    nodes : dict
        Sums over these blocks, for the driver.
    bytes_up, size : int
        Bytes that the blocks would have sent, and bytes in ``kept``.
    """

    kept: Sequence[tuple[Any, ...]]
    nodes: Nodes
    bytes_up: int
    size: int

    def __sizeof__(self) -> int:
        # Dask does not look for arrays inside dataclasses, and could not tell how full a worker is.
        return self.size + payload(self.nodes)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(aligned(state))

    def value(self, row: int, column: int) -> Any:
        """Return what is kept beside one of the blocks."""
        return self.kept[row][column]


@dataclass(frozen=True)
class Task:
    """The work of one worker in one pass.

    Attributes
    ----------
    fn, keep
        As in :meth:`dask_newton.blocks.Blocks.map_reduce`.
    indices : list of int
        The blocks.
    entries : list of tuple
        Per block and column: which of the results that come along holds the value, and where in it.
    n_blocks : int
        Number of blocks in all.
    """

    fn: Callable[..., Any]
    keep: int
    indices: list[int]
    entries: list[tuple[tuple[int, int, int], ...]]
    n_blocks: int

    def __call__(self, shared: Inline, *results: GroupResult) -> GroupResult:
        """Run the pass over these blocks."""
        keep_freed_memory()
        values = [tuple(results[j].value(row, column) for j, row, column in entries) for entries in self.entries]
        threads = get_worker().state.nthreads
        kept, nodes, up = run_group(
            self.fn, self.keep, self.indices, values, aligned(shared.value), self.n_blocks, threads
        )
        return GroupResult(kept, nodes, up, nbytes(kept) if self.keep else 0)


@dataclass(frozen=True)
class Placed:
    """A task without work, whose recipe holds its values."""

    kept: list[tuple[Any, ...]]
    size: int

    def __call__(self, beside: GroupResult) -> GroupResult:
        """Return the values, where ``beside`` is."""
        return GroupResult(aligned(self.kept), {}, 0, self.size)


@dataclass(frozen=True)
class Pack:
    """Makes the recipe of an anchor of what a pass kept: its values, or files with their arrays in ``folder``."""

    indices: list[int]
    folder: str | None

    def __call__(self, result: GroupResult) -> Anchor:
        """Return the recipe."""
        paths = [os.path.join(self.folder, f"{i}.npz") if self.folder else None for i in self.indices]
        return Anchor([pack(row, path) for row, path in zip(result.kept, paths, strict=True)], result.size)


@dataclass(frozen=True)
class Anchor:
    """The recipe of an anchor."""

    packed: list[Packed]
    size: int

    @property
    def foreign(self) -> bool:
        """Whether it needs the blocks of data to know the device of its arrays."""
        return any(packed.foreign for packed in self.packed)

    def __call__(self, *data: GroupResult) -> GroupResult:
        """Return the values, where ``data`` is: all the blocks if needed, else one of them."""
        blocks = (made(result.value(0, 0)) for result in data) if self.foreign else [None] * len(self.packed)
        return GroupResult(
            [unpack(row, block) for row, block in zip(self.packed, blocks, strict=True)], {}, 0, self.size
        )


def hold(value: Any) -> GroupResult:
    """Keep a block of data."""
    return GroupResult([(aligned(value),)], {}, 0, nbytes(value))


def group_blocks(*blocks: GroupResult) -> GroupResult:
    """Bring blocks of one worker together; they count, and are kept or lost, one by one.

    As the arrays are those of the blocks, a small part of their size is all that Dask may know of, and has to know, as
    it sends tasks to where most bytes are.
    """
    return GroupResult([block.kept[0] for block in blocks], {}, 0, sum(block.size for block in blocks) // 16)


def sums_only(result: GroupResult) -> GroupResult:
    """Return what the driver wants of a pass that keeps values beside the blocks."""
    return GroupResult((), result.nodes, result.bytes_up, result.size)
