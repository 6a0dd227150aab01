"""The one place that picks an engine for blocks that Dask computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask

from dask_newton.blocks.base import Blocks
from dask_newton.blocks.client import current_client
from dask_newton.blocks.column import PerBlock
from dask_newton.blocks.dask import DaskBlocks
from dask_newton.blocks.streaming import recipes

__all__ = ["place_delayed"]


def place_delayed(parts: Sequence[Any], *, persist: bool = True) -> tuple[Blocks, PerBlock[Any]]:
    """Compute delayed blocks and keep them where they are, or compute them in every pass.

    Parameters
    ----------
    parts : sequence of dask.delayed.Delayed
        One per block.
    persist : bool, default=True
        False streams the blocks: each pass makes them from their source, no more at a time than it has threads.

    Returns
    -------
    blocks : Blocks
        The engine: on the current distributed client, if there is one and Dask is configured to use it.
    column : PerBlock
        The blocks.
    """
    client = current_client()
    if client is not None:
        from dask_newton.blocks.cluster import ClusterBlocks  # imports distributed, which is there by now

        return ClusterBlocks.from_delayed(parts, client, persist=persist)
    blocks = DaskBlocks(len(parts), streamed=not persist)
    return blocks, blocks.place(dask.compute(*parts) if persist else recipes(parts))
