"""The in-process engine: blocks are values in a list. No Dask, no cluster; the twin that makes everything testable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dask_newton.blocks.base import Blocks, PerBlock, total_of
from dask_newton.blocks.group import run_group

__all__ = ["SerialBlocks"]

T = TypeVar("T")


@dataclass
class SerialBlocks(Blocks):
    """Blocks in the memory of this process, run on its threads."""

    def place(self, values: Sequence[T]) -> PerBlock[T]:
        """Put one value beside each block."""
        if len(values) != self.n_blocks:
            raise ValueError(f"{len(values)} values were given for {self.n_blocks} blocks; give one value per block.")
        return PerBlock(tuple(values))

    def gather(self, column: PerBlock[T]) -> list[T]:
        """Return the values of a column."""
        return list(column.parts)

    def select(self, indices: Sequence[int], *columns: PerBlock[Any]) -> tuple[Any, ...]:
        """Return ``(blocks, *columns)`` with only the blocks ``indices``."""
        chosen: Any = tuple(PerBlock(tuple(column.parts[i] for i in indices)) for column in columns)
        return SerialBlocks(len(indices), self.meter), *chosen

    def _run(
        self, fn: Callable[..., Any], columns: tuple[PerBlock[Any], ...], keep: int, shared: dict[str, Any]
    ) -> tuple[tuple[PerBlock[Any], ...], Any, int]:
        values = list(zip(*(column.parts for column in columns), strict=True)) or [()] * self.n_blocks
        kept, nodes, bytes_up = run_group(fn, keep, range(self.n_blocks), values, shared, self.n_blocks)
        columns_out: tuple[PerBlock[Any], ...] = tuple(PerBlock(tuple(k[j] for k in kept)) for j in range(keep))
        return columns_out, total_of(nodes, self.n_blocks), bytes_up
