"""Graphs of calls: the same results from every engine, values that stay, and what a lost worker does."""

import gc
import operator
import os
import time

import catalogue
import dask
import numpy as np
import pytest

from dask_newton.blocks import Meter
from dask_newton.blocks.graphs.calls import Call, Held, Kept, Part, Ref

ENGINES = {
    "serial": (catalogue.serial_blocks, {}),
    "threads": (catalogue.dask_blocks, {"scheduler": "threads", "num_workers": 3}),
    "cluster": (catalogue.dask_blocks, {}),
    "configured-cluster": (catalogue.dask_blocks, {}),
}


@pytest.fixture(params=[pytest.param(e, marks=pytest.mark.cluster if "cluster" in e else ()) for e in ENGINES])
def engine(request):
    """A function that makes blocks of a list of values."""
    make, config = ENGINES[request.param]
    if request.param == "cluster":
        request.getfixturevalue("cluster_client")
    elif request.param == "configured-cluster":  # a client that is not current
        config = {"scheduler": request.getfixturevalue("session_client")}
    with dask.config.set(config):
        yield make


def chain(column, n):
    """Sums along the blocks, each from the one before and from a block."""
    calls = [Call("0", np.add, (1.0, Part(column, 0)), 0)]
    return calls + [Call(str(i), np.add, (Ref(str(i - 1)), Part(column, i)), i) for i in range(1, n)]


def test_results_are_those_of_the_calls_in_order(engine):
    blocks, column = engine([np.full(3, 10.0**i) for i in range(4)])
    cost = Meter(passes=2, rounds=3, bytes_up=5, bytes_down=7, epochs=2.0)
    before = blocks.meter.snapshot()
    values, held = blocks.run_graph(chain(column, 4), ["3", "1"], ["2"], None, cost)
    np.testing.assert_array_equal(values, [np.full(3, 1112.0), np.full(3, 12.0)])
    spent = {key: count - before[key] for key, count in blocks.meter.snapshot().items()}
    assert spent == cost.snapshot()
    for _ in range(2):  # what stays can be used again, and is not changed
        twice = Call("twice", operator.mul, (Kept("2"), 2), 1)
        (value,), other = blocks.run_graph([twice], ["twice"], [], held, Meter())
        np.testing.assert_array_equal(value, np.full(3, 224.0))
        assert isinstance(other, Held) and not other.values


def of_process():
    return os.getpid()


@pytest.mark.cluster
def test_calls_with_one_home_share_a_worker_and_others_do_not(cluster_client):
    blocks, _ = catalogue.dask_blocks([1, 2])
    calls = [Call(f"{i}", of_process, (), i % 2) for i in range(6)]
    (values, _) = blocks.run_graph(calls, [call.key for call in calls], [], None, Meter())
    assert values[0::2] == values[:1] * 3 and values[1::2] == values[1:2] * 3 and values[0] != values[1]


def slow(value):
    time.sleep(0.1)
    return os.getpid()


@pytest.mark.cluster
def test_an_idle_worker_steals_neither_calls_nor_what_was_put_away(cluster_client):
    blocks, _ = catalogue.dask_blocks([1, 2])
    first = [Call(f"{i}", of_process, (), 0) for i in range(12)]
    (home, *_), held = blocks.run_graph(first, ["0"], [call.key for call in first], None, Meter())
    calls = [Call(f"slow {i}", slow, (Kept(f"{i}"),), 0) for i in range(12)]
    values, _ = blocks.run_graph(calls, [call.key for call in calls], [], held, Meter())
    assert set(values) == {home}


def stored():
    from dask_newton.blocks.graphs.on_cluster import _KEPT

    return set(_KEPT)


@pytest.mark.cluster
def test_what_stays_goes_with_the_last_reference(cluster_client):
    blocks, column = catalogue.dask_blocks([np.ones(2), np.ones(2)])
    before = set().union(*cluster_client.run(stored).values())
    _, held = blocks.run_graph(chain(column, 2), [], ["0", "1"], None, Meter())
    kept = set().union(*cluster_client.run(stored).values()) - before
    assert len(kept) == 2
    del held
    gc.collect()
    deadline = time.monotonic() + 60
    while kept & set().union(*cluster_client.run(stored).values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.cluster
def test_what_is_lost_is_said_to_be_lost(cluster_client, caplog):
    from dask_newton.blocks.graphs.on_cluster import _drop

    blocks, column = catalogue.dask_blocks([np.ones(2), np.ones(2)])
    _, held = blocks.run_graph(chain(column, 2), [], ["1"], None, Meter())
    cluster_client.run(_drop, [held.values["1"].name])
    assert blocks.run_graph([Call("a", operator.neg, (Kept("1"),))], ["a"], [], held, Meter()) is None
    assert "lost" in caplog.text
