"""Code that runs on the workers: one call for all blocks of a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dask_newton.blocks.base import Nodes, TreeSum, payload
from dask_newton.blocks.streaming import made
from dask_newton.blocks.threads import run_blocks, thread_budget

__all__ = ["contiguous_groups", "run_group"]


def run_group(
    fn: Callable[..., Any],
    keep: int,
    indices: Sequence[int],
    values: Sequence[tuple[Any, ...]],
    shared: dict[str, Any],
    n_blocks: int,
    threads: int | None = None,
) -> tuple[list[tuple[Any, ...]], Nodes, int]:
    """Run ``fn`` on some of the blocks and add up what can be added.

    Parameters
    ----------
    fn, keep, shared
        As in :meth:`dask_newton.blocks.Blocks.map_reduce`.
    indices : sequence of int
        The blocks.
    values : sequence of tuple
        The column values of each block, or recipes of them.
    n_blocks : int
        Total number of blocks, which fixes the tree.
    threads : int or None
        Threads to use; None leaves the budget as it is.

    Returns
    -------
    kept : list of tuple
        Per block, the ``keep`` values that stay.
    nodes : dict
        Sums over complete subtrees of these blocks.
    bytes_up : int
        What the blocks would send one by one.
    """
    total = TreeSum(n_blocks)

    def one(place: tuple[int, tuple[Any, ...]]) -> tuple[tuple[Any, ...], int]:
        index, arguments = place
        result = fn(*map(made, arguments), **shared)
        part = result[keep] if keep else result
        total.add(0, index, part)
        return (result[:keep] if keep else ()), payload(part)

    items = list(zip(indices, values, strict=True))
    if threads is None:
        results = run_blocks(one, items)
    else:
        with thread_budget(threads):
            results = run_blocks(one, items)
    return [kept for kept, _ in results], total.nodes, sum(size for _, size in results)


def contiguous_groups(n_blocks: int, weights: Sequence[int]) -> list[list[int]]:
    """Cut ``range(n_blocks)`` into runs in proportion to ``weights``; runs may be empty.

    Neighbours stay together because sums over complete subtrees of neighbours travel as one.
    """
    total, ends, seen = sum(weights), [0], 0
    for weight in weights:
        seen += weight
        ends.append(round(n_blocks * seen / total))
    return [list(range(start, stop)) for start, stop in zip(ends, ends[1:], strict=False)]
