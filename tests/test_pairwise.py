"""The cases that stand for a full product contain what they promise."""

from itertools import combinations, product

import pytest
from pairwise import cases, covering

ROWS = [row for row in product("abcde", range(4), [True, False], "xyz") if row[:2] != ("a", 0)]


def together(rows, n):
    return {values for row in rows for values in combinations(enumerate(row), n)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 2])
def test_everything_that_occurs_together_is_chosen(n, seed):
    chosen = covering(ROWS, n, seed)
    assert set(chosen) <= set(ROWS)
    assert together(chosen, n) == together(ROWS, n)
    # The two longest parameters have 19 pairs; greedy choices need a few more rows.
    assert len(chosen) <= (5 if n == 1 else 27)
    assert chosen == covering(ROWS, n, seed)


def test_choices_differ_from_test_to_test():
    assert len({tuple(covering(ROWS, 1, seed)) for seed in range(5)}) == 5


def test_the_rest_of_the_product_is_slow():
    @cases("letter, number, flag, end", ROWS)
    def test(letter, number, flag, end):
        pass

    (mark,) = test.pytestmark
    assert [param.values for param in mark.args[1]] == ROWS
    run = [param.values for param in mark.args[1] if not param.marks]
    assert together(run, 2) == together(ROWS, 2)
    assert len(run) < len(ROWS) / 3
