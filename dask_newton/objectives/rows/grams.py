"""Weighted Gram matrices ``[X 1]' diag(h) [X 1]``, in parallel over row stripes and column panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, is_sparse, namespace, row_slice, weighted_gram
from dask_newton.blocks import parallel
from dask_newton.objectives.rows.sums import TransposedSum
from dask_newton.objectives.rows.tiles import panels, stripes, tiles

__all__ = ["weighted_grams"]

Array = Any


def weighted_grams(X: Array, intercept: bool, weights: Sequence[Callable[[int], Array]]) -> list[Array]:
    """Return ``[X 1]' diag(h) [X 1]`` for several h; ``weights[e](i)`` is h for row tile i, shape (n_tile_rows, 1)."""
    if is_sparse(X):
        return _sparse_grams(X, intercept, weights)
    xp, p, cuts = namespace(X), X.shape[1], tiles(X)
    q = p + intercept
    groups = stripes(range(len(cuts)), 8 * q * q * len(weights))
    pairs = list(panels(p, X))
    work = [(g, e, *pair) for g in range(len(groups)) for e in range(len(weights)) for pair in pairs]
    sums = [[from_host(np.zeros((q, q)), X) for _ in weights] for _ in groups]

    def gram(item: tuple[int, int, slice, slice]) -> None:
        g, e, left, right = item
        total, target = 0.0, sums[g][e]
        for i in groups[g]:
            h = weights[e](i)
            hX = h * X[cuts[i], right]
            total = total + X[cuts[i], left].T @ hX  # in the dtype of X within a stripe; float64 across stripes
            if intercept and left.start == 0:
                target[right, -1] += xp.sum(hX, axis=0, dtype=xp.float64)
                if right.start == 0:
                    target[-1, -1] += xp.sum(h, dtype=xp.float64)
        if groups[g]:
            target[left, right] = xp.astype(total, xp.float64)

    parallel(gram, work)
    result = []
    for e in range(len(weights)):
        total = _total([sums[g][e] for g in range(len(groups))])
        for left, right in pairs:
            if left != right:
                total[right, left] = total[left, right].T
        if intercept:
            total[-1, :p] = total[:p, -1]
        result.append(total)
    return result


def _sparse_grams(X: Array, intercept: bool, weights: Sequence[Callable[[int], Array]]) -> list[Array]:
    """Return the Gram matrices of a CSR matrix: one sparse product for each stripe."""
    xp, p, cuts = namespace(X), X.shape[1], tiles(X)
    q = p + intercept
    groups = [group for group in stripes(range(len(cuts)), 8 * q * q * len(weights)) if group]
    work = [(group, e) for e in range(len(weights)) for group in groups]

    def gram(item: tuple[Sequence[int], int]) -> Array:
        group, e = item
        rows = row_slice(X, slice(cuts[group[0]].start, cuts[group[-1]].stop))
        h = xp.concat([weights[e](i) for i in group])
        product = xp.astype(weighted_gram(rows, h), xp.float64)
        if not intercept:
            return product
        border = TransposedSum(True)
        border.add(rows, h)
        column = TransposedSum.total([border], X, (q, 1))
        return xp.concat([xp.concat([product, column[:p, :]], axis=1), column.T])

    grams = parallel(gram, work)
    zero, n = from_host(np.zeros((q, q)), X), len(groups)
    return [_total(grams[e * n : (e + 1) * n] or [zero]) for e in range(len(weights))]


def _total(parts: Sequence[Array]) -> Array:
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total
