"""What engines share whose blocks are values in the memory of this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dask_newton.blocks.base import Blocks, Meter, PerBlock
from dask_newton.blocks.graphs import Held, run_in_order
from dask_newton.blocks.recipes import made

__all__ = ["InMemoryBlocks"]

T = TypeVar("T")


@dataclass
class InMemoryBlocks(Blocks):
    """Blocks in a tuple; how a pass runs over them is left open."""

    def place(self, values: Sequence[T]) -> PerBlock[T]:
        """Put one value beside each block."""
        if len(values) != self.n_blocks:
            raise ValueError(f"{len(values)} values were given for {self.n_blocks} blocks; give one value per block.")
        return PerBlock(tuple(values))

    def run_graph(
        self, calls: Sequence[Any], wanted: Sequence[str], keep: Sequence[str], held: Any, cost: Meter
    ) -> tuple[list[Any], Held] | None:
        """Run a graph, one call after the other."""
        self._pay(cost)
        return run_in_order(calls, wanted, keep, held)

    def gather(self, column: PerBlock[T]) -> list[T]:
        """Return the values of a column."""
        return [made(value) for value in column.parts]

    def select(self, indices: Sequence[int], *columns: PerBlock[Any]) -> tuple[Any, ...]:
        """Return ``(blocks, *columns)`` with only the blocks ``indices``."""
        chosen: Any = tuple(PerBlock(tuple(column.parts[i] for i in indices)) for column in columns)
        return type(self)(len(indices), self.meter, streamed=self.streamed), *chosen
