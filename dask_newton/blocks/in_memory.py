"""Engines whose blocks are values in the memory of this process; without Dask, the one that makes all testable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dask_newton.blocks.base import Blocks, total_of
from dask_newton.blocks.column import PerBlock
from dask_newton.blocks.graphs.calls import Call, Held, run_in_order
from dask_newton.blocks.group import run_group
from dask_newton.blocks.streaming import made

__all__ = ["InMemoryBlocks", "SerialBlocks"]

T = TypeVar("T")


@dataclass
class InMemoryBlocks(Blocks):
    """Blocks in a tuple; how a pass runs over them is left open."""

    def _place(self, values: Sequence[T]) -> PerBlock[T]:
        return PerBlock(tuple(values))

    def gather(self, column: PerBlock[T]) -> list[T]:
        """Return the values of a column."""
        return [made(value) for value in column.parts]

    def select(self, indices: Sequence[int], *columns: PerBlock[Any]) -> tuple[Any, ...]:
        """Return ``(blocks, *columns)`` with only the blocks ``indices``."""
        chosen: Any = tuple(PerBlock(tuple(column.parts[i] for i in indices)) for column in columns)
        return type(self)(len(indices), self.meter, streamed=self.streamed), *chosen

    def _run_graph(
        self, calls: Sequence[Call], wanted: Sequence[str], keep: Sequence[str], held: Held | None
    ) -> tuple[list[Any], Held] | None:
        return run_in_order(calls, wanted, keep, held)


@dataclass
class SerialBlocks(InMemoryBlocks):
    """Blocks in the memory of this process, run on its threads."""

    def _run(
        self, fn: Callable[..., Any], columns: tuple[PerBlock[Any], ...], keep: int, shared: dict[str, Any]
    ) -> tuple[tuple[PerBlock[Any], ...], Any, int]:
        values = list(zip(*(column.parts for column in columns), strict=True)) or [()] * self.n_blocks
        kept, nodes, bytes_up = run_group(fn, keep, range(self.n_blocks), values, shared, self.n_blocks)
        columns_out: tuple[PerBlock[Any], ...] = tuple(PerBlock(tuple(k[j] for k in kept)) for j in range(keep))
        return columns_out, total_of(nodes, self.n_blocks), bytes_up
