"""Blocks that are streamed: built from their source in every pass and discarded after it.

A column may hold recipes in place of values. A pass makes a value when it comes to that block, so that no more blocks
are in memory than threads work on them. Values that a pass keeps per block are kept as usual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask
from dask.highlevelgraph import HighLevelGraph
from dask.optimization import cull

from dask_newton.trees import aligned

__all__ = ["Recipe", "made", "recipes"]


class Recipe:
    """How a block is made: a graph of its own, small where it ends at a file.

    Parameters
    ----------
    graph : mapping
        All that the block depends on, and nothing else.
    key : hashable
        The block.
    """

    def __init__(self, graph: Mapping[Any, Any], key: Any) -> None:
        self.graph, self.key = graph, key

    def __call__(self) -> Any:
        """Make the block, in this thread."""
        return aligned(dask.get(self.graph, self.key))


def recipes(parts: Sequence[Any]) -> list[Recipe]:
    """Return the recipes of delayed values."""
    graph = HighLevelGraph.merge(*(part.__dask_graph__() for part in parts)).to_dict()
    return [Recipe(cull(graph, [part.key])[0], part.key) for part in parts]


def made(value: Any) -> Any:
    """Return a value, made first if it is a recipe."""
    return value() if isinstance(value, Recipe) else value
