"""A column: one value per block, beside the block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["PerBlock"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PerBlock(Generic[T]):
    """One ``T`` per block, beside the block. Write-once, and opaque: only the engine that made it looks inside.

    Attributes
    ----------
    parts : tuple
        One handle per block, of the engine's own kind.
    depth : int
        How many passes its recipe goes back to data that can be read again; 0 for data and anchored columns.
    needs : tuple
        What must exist as long as the column or one made from it does, such as the files that its recipe reads.
    """

    parts: tuple[Any, ...]
    depth: int = 0
    needs: tuple[Any, ...] = ()
