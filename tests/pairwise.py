"""Cases of a test that stand for the full product of its parameters.

A test of four losses, five options and two dtypes has 40 cases, but what goes wrong nearly always does so for one value
or for two together. :func:`cases` runs as few cases as contain every pair of values (or every value), and leaves the
others to ``pytest -m slow``: the same test, the same parameters.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Hashable, Iterable
from itertools import combinations
from typing import Any

import pytest

Row = tuple[Any, ...]


def covering(
    rows: Iterable[Row],
    together: int | Iterable[tuple[int, ...]] = 2,
    seed: int = 0,
    costly: Callable[..., bool] = lambda *values: False,
) -> list[Row]:
    """Choose few of the rows, such that any values that occur together in a row do so in a chosen one.

    Parameters
    ----------
    rows : iterable of tuple
        Cases, one value for each parameter. They need not be a full product.
    together : int or iterable of tuple of int
        2 for every pair of values of two parameters, 1 for every value; or the groups of columns that count, such as
        ``[(0, 2), (1,)]`` for every pair of values of the first and the third, and every value of the second.
    seed : int
        Which rows are taken where several would do.
    costly : callable
        ``costly(*row)`` says which rows to take only for what no other row contains.

    Returns
    -------
    list of tuple
        In the order of ``rows``. The greedy choice: always the row that adds the most combinations.
    """
    rows = list(rows)
    order = random.Random(seed).sample(range(len(rows)), len(rows))
    columns = [_numbered(column) for column in zip(*rows, strict=True)]
    groups = combinations(range(len(columns)), together) if isinstance(together, int) else together
    groups = list(groups)
    chosen, missing = [], {i: {tuple((c, columns[c][i]) for c in group) for group in groups} for i in order}
    avoided = {i for i in order if costly(*rows[i])}
    while missing:
        best = max(missing, key=lambda i: (bool(missing[i]), i not in avoided, len(missing[i])))
        found = missing.pop(best)
        if not found:
            break
        chosen.append(best)
        for others in missing.values():
            others -= found
    return [rows[i] for i in sorted(chosen)]


def _numbered(values: Iterable[Any]) -> list[int]:
    """Return a number for each value: equal ones have the same, and those that have no hash are told apart."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(v if isinstance(v, Hashable) else id(v), len(numbers)) for v in values]


def cases(
    names: str,
    rows: Iterable[Row],
    together: int | Iterable[str] = 2,
    costly: Callable[..., bool] = lambda *values: False,
    **options: Any,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Parametrise a test: a covering choice of the rows runs by default, the others are marked ``slow``.

    Parameters
    ----------
    names : str
        Parameters of the test, separated by commas.
    rows : iterable of tuple
        All cases; see :func:`itertools.product`.
    together : int or iterable of str
        As in :func:`covering`, with names for columns: ``["name, rows", "penalty"]``. The choice differs from test to
        test, so that together they run more combinations.
    costly : callable
        As in :func:`covering`.
    **options
        Of ``pytest.mark.parametrize``.
    """
    rows, columns = list(rows), names.split(", ")
    if not isinstance(together, int):
        together = [tuple(columns.index(name) for name in group.split(", ")) for group in together]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        chosen = {id(row) for row in covering(rows, together, zlib.crc32(test.__qualname__.encode()), costly)}
        params = [pytest.param(*row, marks=() if id(row) in chosen else pytest.mark.slow) for row in rows]
        return pytest.mark.parametrize(names, params, **options)(test)

    return decorate
