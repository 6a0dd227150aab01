"""What one pass adds up over the rows: the moments of layers, and numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, is_sparse, namespace, to_host, transposed_product, weighted_gram
from dask_newton.blocks import parallel
from dask_newton.objectives.network.block import NetworkBlock, adjoint
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.objectives.rows.tiles import stripes
from dask_newton.solvers.layerwise.weights import Moments

__all__ = ["LayerSums", "over_tiles", "sent"]

Array = Any
Sent = tuple[dict[Any, np.ndarray], np.ndarray]


class LayerSums:
    """Sums over the tiles of a stripe, in float64.

    Attributes
    ----------
    squares : dict of Array
        By layer, the moments S of its inputs; only the last row and what is left of it and above are filled.
    products : dict of Array
        By layer, the moments C of its inputs with its targets.
    """

    def __init__(self, rows: RowBlock, sizes: Sequence[int]) -> None:
        self.squares: dict[int, Array] = {}
        self.products: dict[int, Array] = {}
        self._rows, self._shapes = rows, list(pairwise(sizes))
        self._numbers: Array = None

    def add(self, layer: int, P: Array, T: Array, tile: slice, *, square: bool = True) -> None:
        """Add the moments of inputs P with targets T, and with ``square`` those with themselves."""
        weighted = self._rows.weigh(T, tile)
        C = self._of(self.products, layer, self._shapes[layer][1])
        C[:-1, :] += adjoint(P, weighted)
        C[-1, :] += namespace(C).sum(weighted, axis=0, dtype=C.dtype)
        if square:
            self._add_square(self._of(self.squares, layer, C.shape[0]), P, tile)

    def count(self, *numbers: Array) -> None:
        """Add numbers, which are arrays without axes."""
        stacked = namespace(numbers[0]).stack(numbers)
        self._numbers = stacked if self._numbers is None else self._numbers + stacked

    def square(self, R: Array, tile: slice, other: Array | None = None) -> Array:
        """Return the weighted sum of squares of a tile's rows, or of products with another array."""
        return self._rows.sum(namespace(R).vecdot(R, R if other is None else other), tile)

    def merge(self, other: LayerSums) -> LayerSums:
        """Add those of another stripe."""
        for mine, theirs in ((self.squares, other.squares), (self.products, other.products)):
            for layer, total in theirs.items():
                mine[layer] += total
        if other._numbers is not None:
            self._numbers = self._numbers + other._numbers
        return self

    def send(self) -> Sent:
        """Return all sums on the host."""
        squares = {("S", layer): to_host(S) for layer, S in self.squares.items()}
        products = {("C", layer): to_host(C) for layer, C in self.products.items()}
        return squares | products, np.zeros(0) if self._numbers is None else to_host(self._numbers)

    def _of(self, sums: dict[int, Array], layer: int, columns: int) -> Array:
        if layer not in sums:
            sums[layer] = from_host(np.zeros((self._shapes[layer][0] + 1, columns)), self._rows.X)
        return sums[layer]

    def _add_square(self, S: Array, P: Array, tile: slice) -> None:
        xp = namespace(S)
        ones = from_host(np.ones((P.shape[0], 1)), P, P.dtype)
        weight = self._rows.weigh(ones, tile)
        if is_sparse(P):
            S[:-1, :-1] += weighted_gram(P, weight)
            S[-1, :-1] += transposed_product(P, weight)[0, :]
        else:
            weighted = self._rows.weigh(P, tile)
            S[:-1, :-1] += P.T @ weighted  # of a matrix with itself, half of the work
            S[-1, :-1] += xp.sum(weighted, axis=0, dtype=S.dtype)
        S[-1, -1] += xp.sum(weight, dtype=S.dtype)


def over_tiles(
    rows: RowBlock, layers: Layers, fn: Callable[[int, slice, LayerSums], Any]
) -> tuple[tuple[Any, ...], Sent]:
    """Run ``fn`` on every tile of a block; return what it returns by tile, and the sums to send."""
    tiles = list(enumerate(NetworkBlock(rows, layers).tiles()))
    size = 8 * sum((n + 1) * (n + 1 + m) for n, m in pairwise(layers.sizes))

    def stripe(some: Sequence[tuple[int, slice]]) -> tuple[list[Any], LayerSums]:
        sums = LayerSums(rows, layers.sizes)
        return [fn(i, tile, sums) for i, tile in some], sums

    (kept, total), *rest = parallel(stripe, stripes(tiles, size))
    for more, sums in rest:
        kept.extend(more)
        total.merge(sums)
    return tuple(kept), total.send()


def sent(sums: Sent, squares: dict[int, np.ndarray]) -> tuple[dict[int, Moments], dict[int, np.ndarray], np.ndarray]:
    """Return, on the driver, the moments of layers, all S that are known, and the numbers.

    Parameters
    ----------
    sums
        Of all blocks.
    squares : dict of ndarray
        S of layers for which none was sent.
    """
    found, numbers = sums
    known = squares | {layer: _filled(S) for (kind, layer), S in found.items() if kind == "S"}
    return {i: Moments(known[i], C) for (kind, i), C in found.items() if kind == "C"}, known, numbers


def _filled(S: np.ndarray) -> np.ndarray:
    S = S.copy()
    S[:-1, -1] = S[-1, :-1]
    return S
