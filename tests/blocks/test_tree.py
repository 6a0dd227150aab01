"""The order of additions is a property of the number of blocks alone."""

from __future__ import annotations

import functools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_newton.blocks import Meter
from dask_newton.blocks.base import TreeSum, add, total_of, tree_reduce
from dask_newton.blocks.group import contiguous_groups


def leaves(n, seed):
    """Numbers whose sum has other bits in almost any other order."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(n) * 10.0 ** rng.integers(-15, 15, n)


def tree_sum(values):
    values = list(values)
    while len(values) > 1:
        values = [sum(values[i + 1 : i + 2], values[i]) for i in range(0, len(values), 2)]
    return values[0]


@st.composite
def partitions(draw):
    """Leaves 0..n-1, each with the number of its group, and the order in which groups arrive."""
    owners = draw(st.lists(st.integers(0, 7), min_size=1, max_size=70))
    return owners, draw(st.permutations(sorted(set(owners)))), draw(st.integers(0, 2**32 - 1))


@given(partitions())
def test_any_partition_of_the_leaves_into_groups_gives_the_same_bits(partition):
    owners, order, seed = partition
    n, values = len(owners), leaves(len(owners), seed)
    nodes = {}
    for group in order:
        part = tree_reduce({(0, i): values[i] for i in range(n) if owners[i] == group}, n)
        assert not nodes.keys() & part.keys()
        nodes |= part
    assert total_of(nodes, n) == tree_sum(values)


@given(st.integers(1, 200), st.randoms(use_true_random=False))
def test_leaves_may_come_in_any_order(n, random):
    values, order = leaves(n, n), list(range(n))
    random.shuffle(order)
    tree = TreeSum(n)
    for i in order:
        tree.add(0, i, values[i])
    (root,) = tree.nodes
    assert root == ((n - 1).bit_length(), 0), "the root alone is left"
    assert tree.nodes[root] == tree_sum(values)


@given(st.integers(1, 300), st.integers(1, 20))
def test_a_run_of_neighbours_sends_few_sums(n, n_groups):
    for group in contiguous_groups(n, [1] * n_groups):
        nodes = tree_reduce({(0, i): 1 for i in group}, n)
        assert len(nodes) <= 2 * n.bit_length()
        assert sum(nodes.values()) == len(group)


def test_few_sums_are_in_memory_while_leaves_come_in_order():
    tree = TreeSum(1000)
    for i in range(1000):
        tree.add(0, i, 1)
        assert len(tree.nodes) <= 10
    assert list(tree.nodes.values()) == [1000]


def test_threads_may_add_at_the_same_time():
    n, values = 4096, leaves(4096, 0)
    tree, start = TreeSum(n), threading.Barrier(4)

    def work(first):
        start.wait()
        for i in range(first, n, 4):
            tree.add(0, i, values[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(tree.nodes.values()) == [tree_sum(values)]


@given(st.integers(0, 200), st.lists(st.integers(1, 64), min_size=1, max_size=12))
def test_groups_cover_all_blocks_once_in_order_and_in_proportion(n, weights):
    groups = contiguous_groups(n, weights)
    assert functools.reduce(list.__add__, groups) == list(range(n))
    for group, weight in zip(groups, weights, strict=True):
        assert abs(len(group) - n * weight / sum(weights)) <= 1


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [
        (None, None, None),
        (None, 2, 2),
        (2, None, 2),
        ((1, (None, 2.5)), (2, (3, 4)), (3, (3, 6.5))),
        ({"a": 1, "b": None}, {"b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3}),
    ],
)
def test_add(a, b, total):
    assert add(a, b) == total


def test_add_leaves_its_arguments_as_they_are():
    a, b = np.ones(2), np.ones(2)
    add((a, {"x": a}), (b, {"x": b}))
    np.testing.assert_array_equal([a, b], 1)


def test_meter_snapshots_are_copies():
    meter = Meter()
    before = meter.snapshot()
    meter.passes += 1
    assert before == {"passes": 0, "rounds": 0, "bytes_up": 0, "bytes_down": 0, "epochs": 0.0}
