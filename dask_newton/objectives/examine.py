"""Checks of the rows and their statistics, which objectives need before the first pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import namespace, stored, to_host
from dask_newton.blocks import Blocks, PerBlock, named
from dask_newton.losses import Loss
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["Examined", "ExaminedBlock", "TargetSums", "examine"]


@dataclass(frozen=True)
class ExaminedBlock:
    """Statistics of a block, for the driver."""

    n_rows: int
    n_stored: int
    n_features: int
    weight: float
    smallest_weight: float
    problem: str
    loss: Loss
    precision: float
    targets: TargetSums | None


@dataclass(frozen=True)
class TargetSums:
    """Weighted sums over rows, for numeric losses: targets and offsets, (n_outputs,), and squared targets."""

    total: np.ndarray
    offset: np.ndarray
    square: float


@dataclass(frozen=True, eq=False)
class Examined:
    """The blocks with a positive weight, and their statistics.

    Attributes
    ----------
    blocks, data, index
        The engine, the rows, and a number for each block, the seed of its random streams.
    found : list of ExaminedBlock
        Statistics by block.
    squares : ndarray
        Sum of the blocks' column squares.
    """

    blocks: Blocks
    data: PerBlock[Any]
    index: PerBlock[int]
    found: list[ExaminedBlock]
    squares: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Sum of the sample weights of each block; all are positive."""
        return np.array([block.weight for block in self.found])

    def targets(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the weighted means of targets, offsets and squared targets, for numeric losses."""
        targets, total = [block.targets for block in self.found if block.targets is not None], math.fsum(self.weights)
        mean, offset = (sum(getattr(t, name) for t in targets) / total for name in ("total", "offset"))
        return mean, offset, math.fsum(t.square for t in targets) / total


def examine(blocks: Blocks, data: PerBlock[Any]) -> Examined:
    """Check the blocks (one pass) and drop those without weight.

    Raises
    ------
    ValueError
        If a block holds NaN, infinity or negative weights, if its arrays differ in length, or if no block has any
        weight.
    """
    index = blocks.place(range(blocks.n_blocks))
    found, squares = blocks.map_reduce(_examine_block, data, index)
    for i, block in sorted(found.items()):
        if block.problem:
            raise ValueError(f"Block {i} of the data {block.problem}")
    used = [i for i, block in sorted(found.items()) if block.weight > 0]
    if not used:
        raise ValueError("All sample weights are zero, or there are no rows; there is nothing to fit.")
    if len(used) < blocks.n_blocks:
        blocks, data, index = blocks.select(used, data, index)
    return Examined(blocks, data, index, [found[i] for i in used], squares)


@named("examine-rows")
def _examine_block(block: RowBlock, index: int) -> tuple[dict[int, ExaminedBlock], Any]:
    """Send the statistics of a block, keyed by its index, and its column squares."""
    squares, weight, smallest, problem, targets = None, 0.0, math.inf, _mismatch(block), None
    if block.n_rows and not problem:
        squares, weight = to_host(block.column_squares()), block.total_weight
        problem = _bad_values(block, bool(np.all(np.isfinite(squares))))
        if not problem:
            smallest = _smallest_weight(block)
            targets = _targets(block) if block.loss.numeric else None
    found = ExaminedBlock(
        block.n_rows,
        stored(block.X).size,
        block.X.shape[1],
        weight,
        smallest,
        problem,
        block.loss,
        block.precision,
        targets,
    )
    return {index: found}, squares


def _targets(block: RowBlock) -> TargetSums:
    xp = namespace(block.y)

    def total(a: Any) -> np.ndarray:
        a = a if a.ndim == 2 else a[:, None]
        return to_host(xp.sum(block.weigh(xp.astype(a, xp.float64), slice(None)), axis=0))

    offset = np.zeros(block.loss.n_outputs) if block.offset is None else total(block.offset)
    return TargetSums(total(block.y), offset, float(np.mean(total(xp.astype(block.y, xp.float64) ** 2))))


def _smallest_weight(block: RowBlock) -> float:
    """Return the smallest weight that is not zero; inf if there is none."""
    if block.weight is None:
        return 1.0
    xp = namespace(block.weight)
    return float(xp.min(xp.where(block.weight > 0, block.weight, 0 * block.weight + math.inf)))


def _arrays(block: RowBlock) -> dict[str, Any]:
    arrays = {name: getattr(block, name) for name in ("X", "y", "weight", "offset")}
    return {name: a for name, a in arrays.items() if a is not None}


def _mismatch(block: RowBlock) -> str:
    lengths = {name: a.shape[0] for name, a in _arrays(block).items()}
    if len(set(lengths.values())) == 1:
        return ""
    return f"has arrays of different lengths, {lengths}; give them the same chunks along the rows."


def _bad_values(block: RowBlock, finite: bool) -> str:
    """Describe invalid values, or return ''; ``finite``: the weighted sums of squares of X are finite."""
    # Squares can overflow where entries do not, so the entries of X are checked only if a sum is not finite.
    bad = [name for name, a in _arrays(block).items() if not (name == "X" and finite or _finite(stored(a)))]
    if bad:
        return f"contains NaN or infinity in {' and '.join(bad)}; impute or drop those rows before fit."
    if block.weight is not None and bool(namespace(block.weight).any(block.weight < 0)):
        return "contains negative sample weights; weights must be zero or positive."
    xp, allowed = namespace(block.y), block.loss.valid(block.y)
    if not bool(xp.all(allowed)):
        count = int(xp.sum(xp.astype(~allowed, xp.int64)))
        return (
            f"contains {count} targets that {type(block.loss).__name__} does not allow: y must be {block.loss.targets}."
        )
    return ""


def _finite(a: Any) -> bool:
    xp = namespace(a)
    return not xp.isdtype(a.dtype, "real floating") or bool(xp.all(xp.isfinite(a)))
