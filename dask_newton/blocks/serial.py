"""The in-process engine: blocks are values in a list. No Dask, no cluster; the twin that makes everything testable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dask_newton.blocks.base import PerBlock, total_of
from dask_newton.blocks.group import run_group
from dask_newton.blocks.in_memory import InMemoryBlocks

__all__ = ["SerialBlocks"]


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
