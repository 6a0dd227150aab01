"""The boundary between algorithms and where the data are.

The data are n blocks of rows. An algorithm sees a :class:`PerBlock` column (one value per block, kept beside the block)
and calls :meth:`Blocks.map_reduce`: one broadcast, one function on every block, one sum. That is a *pass*, and the only
way in which anything is computed on the data.

Sums run over a fixed binary tree of block indices: whichever worker or thread holds a block, the additions are the
same ones, and so are the bits of the result.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np

from dask_newton.arrays import is_sparse, nbytes
from dask_newton.blocks.anchors import Packed, pack, unpack
from dask_newton.blocks.column import PerBlock
from dask_newton.blocks.graphs.calls import Call, Held
from dask_newton.blocks.names import task_name

__all__ = ["Blocks", "Meter", "Nodes", "TreeSum", "add", "payload", "total_of", "tree_reduce"]

T = TypeVar("T")

# A partial sum: the sum of the blocks [index * 2**level, (index + 1) * 2**level), keyed by (level, index).
Nodes = dict[tuple[int, int], Any]


@dataclass
class Meter:
    """Counts communication in the papers' model: every block receives each broadcast and sends its own part.

    What an engine really sends is less (blocks of one worker share it); these counts are the same in every engine.

    Attributes
    ----------
    passes : int
        Broadcast + map + sum, two rounds.
    rounds : int
        One broadcast or one reduction.
    bytes_up, bytes_down : int
        Bytes sent by, and to, all the blocks.
    epochs : float
        Passes, each counted by the share of the rows that it looks at; none for those that read remembered margins.
    """

    passes: int = 0
    rounds: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    epochs: float = 0.0

    def snapshot(self) -> dict[str, float]:
        """Return the counts as a dictionary."""
        return asdict(self)


def payload(x: Any) -> int:
    """Return the bytes of what is sent: arrays, and 8 for a number; names, flags and functions are free."""
    if isinstance(x, np.ndarray | np.generic):
        return x.nbytes
    if isinstance(x, bool) or x is None:
        return 0
    if is_sparse(x):
        return nbytes(x)
    if isinstance(x, int | float):
        return 8
    if isinstance(x, tuple | list):
        return sum(map(payload, x))
    if isinstance(x, dict):
        return sum(map(payload, x.values()))
    return 0


def add(a: Any, b: Any) -> Any:
    """Add two partial results: numbers and arrays, tuples of them, or dictionaries by key; None is nothing."""
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, tuple):
        return tuple(add(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return {key: add(a.get(key), b.get(key)) for key in {**a, **b}}
    return a + b


class TreeSum:
    """A sum over a fixed binary tree of ``n_blocks`` leaves, to which nodes may be given in any order by any thread.

    Two nodes with the same parent are added as soon as both are there, so that few of them are in memory at a time.

    Attributes
    ----------
    nodes : dict
        Sums that cannot be joined without nodes that were not given yet; in the end the root alone.
    """

    def __init__(self, n_blocks: int) -> None:
        self.nodes: Nodes = {}
        self._n_blocks = n_blocks
        self._lock = threading.Lock()

    def add(self, level: int, index: int, value: Any) -> None:
        """Give the node ``(level, index)``."""
        width = -(-self._n_blocks >> level)
        while width > 1:
            if index ^ 1 < width:
                with self._lock:
                    if (level, index ^ 1) not in self.nodes:
                        self.nodes[level, index] = value
                        return
                    other = self.nodes.pop((level, index ^ 1))
                value = add(other, value) if index % 2 else add(value, other)
            level, index, width = level + 1, index // 2, (width + 1) // 2
        self.nodes[level, index] = value


def tree_reduce(nodes: Nodes, n_blocks: int) -> Nodes:
    """Add all complete pairs of a fixed binary tree over ``n_blocks`` leaves.

    Parameters
    ----------
    nodes : dict
        Any disjoint nodes of the tree. With every leaf covered, the root alone comes back.
    n_blocks : int
        Number of leaves.

    Returns
    -------
    dict
        The sums that cannot be joined without nodes that are missing here.
    """
    tree = TreeSum(n_blocks)
    for (level, index), value in nodes.items():
        tree.add(level, index, value)
    return tree.nodes


def total_of(nodes: Nodes, n_blocks: int) -> Any:
    """Return the sum over all blocks from nodes that cover them; None if there are no blocks."""
    (total,) = tree_reduce(nodes, n_blocks).values() if n_blocks else (None,)
    return total


@dataclass
class Blocks(ABC):
    """``n_blocks`` blocks of rows, somewhere.

    Attributes
    ----------
    n_blocks : int
        Number of blocks.
    meter : Meter
        What the passes so far have cost; the only thing in the core that changes.
    streamed : bool
        Whether the blocks of data are made again from their source in every pass.
    """

    n_blocks: int
    meter: Meter = field(default_factory=Meter)
    streamed: bool = field(default=False, kw_only=True)

    def map_reduce(
        self, fn: Callable[..., Any], *columns: PerBlock[Any], keep: int = 0, share: float = 1.0, **shared: Any
    ) -> Any:
        """Run one pass.

        Parameters
        ----------
        fn : callable
            ``fn(*values, **shared)`` gets one value per column. It returns its part of the sum, or, with ``keep``,
            a tuple of ``keep`` values to leave beside the block and then its part of the sum. It must be pure,
            as a block may be computed again after a worker was lost.
        *columns : PerBlock
            Arguments that lie beside the blocks.
        keep : int
            How many values of the result stay beside the block.
        share : float
            Of the rows, how many the pass looks at, for the meter.
        **shared
            Arguments broadcast to every block.

        Returns
        -------
        total, or (column, ..., total)
            The sum over all blocks, after the columns that were kept, if any.
        """
        kept, total, bytes_up = self._run(fn, columns, keep, shared)
        bytes_down = self.n_blocks * payload(shared)
        self.meter.passes += 1
        self.meter.epochs += share
        self.meter.rounds += (bytes_down > 0) + (bytes_up > 0)
        self.meter.bytes_down += bytes_down
        self.meter.bytes_up += bytes_up
        return (*kept, total) if keep else total

    def map_blocks(self, fn: Callable[..., Any], *columns: PerBlock[Any], **shared: Any) -> PerBlock[Any]:
        """Keep ``fn(*values, **shared)`` beside every block; nothing is sent up."""
        return self.map_reduce(_KeepOnly(fn, task_name(fn)), *columns, keep=1, **shared)[0]

    def take(self, column: PerBlock[Any]) -> list[Packed]:
        """Bring a column to the driver, its arrays as NumPy arrays; not on the meter, as an anchor is not."""
        (packed,), _, _ = self._run(_KeepOnly(pack, "fetch-values"), (column,), 1, {})
        return self.gather(packed)

    def put_back(self, values: Sequence[Packed], data: PerBlock[Any]) -> PerBlock[Any]:
        """Undo :meth:`take`, beside the data of the blocks, on whose device arrays of other types belong."""
        (column,), _, _ = self._run(_KeepOnly(unpack, "restore-values"), (self.place(values), data), 1, {})
        return column

    def run_graph(
        self, calls: Sequence[Call], wanted: Sequence[str], keep: Sequence[str], held: Held | None, cost: Meter
    ) -> tuple[list[Any], Held] | None:
        """Run a graph of calls, which wait for one another and not for all, see :mod:`dask_newton.blocks.graphs.calls`.

        Parameters
        ----------
        calls : sequence of Call
            Each after those whose results it is given.
        wanted, keep : sequence of str
            Keys of the calls whose results come to the driver, and of those whose results stay for a later graph.
        held : Held or None
            What an earlier graph kept.
        cost : Meter
            What the graph costs, in the model that the meter counts in.

        Returns
        -------
        (values, Held) or None
            None if what was kept, or is needed, was lost with a worker.
        """
        for key, count in asdict(cost).items():
            setattr(self.meter, key, getattr(self.meter, key) + count)
        return self._run_graph(calls, wanted, keep, held)

    def place(self, values: Sequence[T]) -> PerBlock[T]:
        """Put one small value of the driver beside each block.

        Raises
        ------
        ValueError
            If there are more or fewer values than blocks.
        """
        if len(values) != self.n_blocks:
            raise ValueError(f"{len(values)} values were given for {self.n_blocks} blocks; give one value per block.")
        return self._place(values)

    @abstractmethod
    def gather(self, column: PerBlock[T]) -> list[T]:
        """Bring the values of a column to the driver, in block order."""

    @abstractmethod
    def select(self, indices: Sequence[int], *columns: PerBlock[Any]) -> tuple[Any, ...]:
        """Return ``(blocks, *columns)`` with only the blocks ``indices``; the meter goes along."""

    @abstractmethod
    def _run(
        self, fn: Callable[..., Any], columns: tuple[PerBlock[Any], ...], keep: int, shared: dict[str, Any]
    ) -> tuple[tuple[PerBlock[Any], ...], Any, int]:
        """Run a pass; return the kept columns, the total and the bytes that all blocks sent up."""

    @abstractmethod
    def _run_graph(
        self, calls: Sequence[Call], wanted: Sequence[str], keep: Sequence[str], held: Held | None
    ) -> tuple[list[Any], Held] | None:
        """Run a graph, as :meth:`run_graph` says."""

    @abstractmethod
    def _place(self, values: Sequence[T]) -> PerBlock[T]:
        """Put one of so many values beside each block."""


@dataclass(frozen=True)
class _KeepOnly:
    """``fn`` with its whole result kept and nothing sent."""

    fn: Callable[..., Any]
    task_name: str

    def __call__(self, *values: Any, **shared: Any) -> tuple[Any, None]:
        return self.fn(*values, **shared), None
