"""Every engine does the same arithmetic, in the same order, and counts it alike."""

from __future__ import annotations

import functools
import math
import os
import platform
import subprocess
import sys
from dataclasses import dataclass

import catalogue
import dask
import dask.array as da
import numpy as np
import pytest

from dask_newton.blocks import Blocks, DaskBlocks, SerialBlocks, place_delayed
from dask_newton.blocks.base import payload, tree_reduce
from dask_newton.blocks.cluster import ClusterBlocks

ENGINES = {
    "serial": (catalogue.serial_blocks, SerialBlocks, None),
    "sync": (catalogue.dask_blocks, DaskBlocks, {"scheduler": "sync"}),
    "threads": (catalogue.dask_blocks, DaskBlocks, {"scheduler": "threads"}),
    "one thread": (catalogue.dask_blocks, DaskBlocks, {"scheduler": "threads", "num_workers": 1}),
    "five threads": (catalogue.dask_blocks, DaskBlocks, {"scheduler": "threads", "num_workers": 5}),
    "cluster": (catalogue.dask_blocks, ClusterBlocks, None),
    "streamed": (functools.partial(catalogue.dask_blocks, persist=False), DaskBlocks, {"scheduler": "threads"}),
    "streamed on a cluster": (functools.partial(catalogue.dask_blocks, persist=False), ClusterBlocks, None),
}


@pytest.fixture(params=[pytest.param(e, marks=pytest.mark.cluster if "cluster" in e else ()) for e in ENGINES])
def engine(request):
    """A function that makes blocks of a list of values."""
    make, cls, config = ENGINES[request.param]
    if "cluster" in request.param:
        request.getfixturevalue("cluster_client")

    def checked(values):
        blocks, column = make(values)
        assert type(blocks) is cls
        return blocks, column

    with dask.config.set(config or {}):
        yield checked


def fixed_tree(parts):
    """The order of additions that the engines promise: pairs of neighbours, level by level."""
    parts = list(parts)
    while len(parts) > 1:
        parts = [functools.reduce(np.add, parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return parts[0]


def rows(n_blocks, n_rows=5, seed=0):
    """Blocks whose sum has other bits in any other order."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n_rows, 3)) * 10.0 ** rng.integers(-12, 12) for _ in range(n_blocks)]


def column_sums(X, *, scale=1.0):
    return scale * X.sum(axis=0)


# One block; fewer blocks than workers or threads; as many; more; odd numbers, whose tree has gaps.
N_BLOCKS = [1, 2, 3, 5, 8, 33]


@pytest.mark.smoke
def test_total_has_the_bits_of_the_fixed_tree(engine):
    for n_blocks in N_BLOCKS:
        blocks, column = engine(rows(n_blocks))
        assert blocks.n_blocks == n_blocks
        total = blocks.map_reduce(column_sums, column, scale=1.5)
        np.testing.assert_array_equal(total, fixed_tree([column_sums(X, scale=1.5) for X in rows(n_blocks)]))
        assert total.flags.aligned, "products with unaligned arrays have other bits"
        assert total.flags.writeable


def test_integer_totals_equal_the_plain_loop(engine):
    for n_blocks in N_BLOCKS:
        values = [np.arange(4) * i**3 for i in range(n_blocks)]
        blocks, column = engine(values)
        np.testing.assert_array_equal(blocks.map_reduce(np.cumsum, column), np.cumsum(sum(values)))


def test_order_matters_in_these_tests():
    parts = [column_sums(X) for X in rows(33)]
    assert not np.array_equal(fixed_tree(parts), functools.reduce(np.add, parts))


def statistics(X, *, keep):
    parts = {"sum": X.sum(), "moments": (X.sum(axis=0), (X**2).sum(axis=0)), "nothing": None, "count": len(X)}
    return (X.sum(axis=1), len(X), {"min": X.min()}, "unused")[:keep] + (parts,) if keep else parts


@pytest.mark.parametrize("keep", [0, 1, 3])
@pytest.mark.parametrize("n_blocks", [1, 7])
def test_structured_totals_and_kept_columns(engine, n_blocks, keep):
    blocks, column = engine(rows(n_blocks))
    result = blocks.map_reduce(functools.partial(statistics, keep=keep), column, keep=keep)
    *kept, total = result if keep else (result,)
    data = rows(n_blocks)
    assert total["nothing"] is None
    assert total["count"] == 5 * n_blocks
    assert total["sum"] == fixed_tree([X.sum() for X in data])
    assert isinstance(total["moments"], tuple)
    for moment, power in zip(total["moments"], (1, 2), strict=True):
        np.testing.assert_array_equal(moment, fixed_tree([(X**power).sum(axis=0) for X in data]))
    assert len(kept) == keep
    expected = ([X.sum(axis=1) for X in data], [5] * n_blocks, [{"min": X.min()} for X in data])
    for column, values in zip(kept, expected, strict=False):
        gathered = blocks.gather(column)
        assert type(gathered) is list
        for got, value in zip(gathered, values, strict=True):
            np.testing.assert_equal(got, value)


def some_none(i):
    return None if i % 2 else np.ones(2) * i


def test_blocks_that_send_none_add_nothing(engine):
    blocks, column = engine(list(range(9)))
    np.testing.assert_array_equal(blocks.map_reduce(some_none, column), [20, 20])
    blocks, column = engine([1, 3])
    assert blocks.map_reduce(some_none, column) is None


def different_keys(i):
    return {f"key {i % 2}": i, "all": 1}


def test_dictionaries_are_added_key_by_key(engine):
    blocks, column = engine(list(range(5)))
    assert blocks.map_reduce(different_keys, column) == {"key 0": 6, "key 1": 4, "all": 5}


def uneven(i):
    return (1,) * (1 + i % 2)


def test_tuples_of_different_lengths_are_refused(engine):
    blocks, column = engine([0, 1])
    with pytest.raises(ValueError, match="zip"):
        blocks.map_reduce(uneven, column)


@dataclass(frozen=True, eq=False)
class Walker:
    """State that is kept beside a block, such as a solver has."""

    x: np.ndarray
    steps: int
    before: tuple[np.ndarray, ...] = ()


def walk(X, walker, index, *, step):
    x = walker.x * 0.5 + X.T @ (X @ step) / (1 + index)
    moved = Walker(x, walker.steps + 1, (walker.x, *walker.before[:1]))
    return moved, x


def walk_plainly(data, steps):
    walkers = [Walker(np.zeros(3), 0) for _ in data]
    totals = []
    for step in steps:
        moved = [walk(X, walker, i, step=step) for i, (X, walker) in enumerate(zip(data, walkers, strict=True))]
        walkers = [state for state, _ in moved]
        totals.append(fixed_tree([x for _, x in moved]))
    return walkers, totals


@pytest.mark.parametrize("n_blocks", [1, 2, 7])
def test_columns_of_state_go_from_pass_to_pass(engine, n_blocks):
    # 25 passes: on a cluster the state is anchored twice on the way.
    data, steps = rows(n_blocks), np.random.default_rng(1).standard_normal((25, 3))
    blocks, column = engine(data)
    state, index = blocks.place([Walker(np.zeros(3), 0)] * n_blocks), blocks.place(list(range(n_blocks)))
    walkers, totals = walk_plainly(data, steps)
    for step, expected in zip(steps, totals, strict=True):
        state, total = blocks.map_reduce(walk, column, state, index, keep=1, step=step)
        np.testing.assert_array_equal(total, expected)
    for got, expected in zip(blocks.gather(state), walkers, strict=True):
        assert got.steps == 25
        np.testing.assert_array_equal(got.x, expected.x)
        np.testing.assert_array_equal(got.before, expected.before)


def test_columns_leave_and_come_back_off_the_meter(engine):
    blocks, data = engine(rows(5))
    column = blocks.map_blocks(_with_squares, data)
    before = blocks.meter.snapshot()
    back = blocks.put_back(blocks.take(column), data)
    assert blocks.meter.snapshot() == before
    for there, here in zip(blocks.gather(back), blocks.gather(column), strict=True):
        assert there["name"] == here["name"] == "squares"
        np.testing.assert_array_equal(there["values"][0], here["values"][0])
    assert blocks.map_reduce(_first_sum, back) == blocks.map_reduce(_first_sum, column)


def _with_squares(X):
    return {"name": "squares", "values": (X**2, len(X))}


def _first_sum(value):
    return float(value["values"][0].sum())


def test_columns_are_write_once(engine):
    blocks, column = engine(rows(3))
    first = blocks.map_blocks(column_sums, column, scale=1.0)
    blocks.map_blocks(column_sums, column, scale=2.0)
    np.testing.assert_array_equal(blocks.gather(first), [column_sums(X) for X in rows(3)])


def test_broadcasts_of_a_megabyte_arrive_whole(engine):
    step = np.arange(400_000.0)
    blocks, column = engine([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(blocks.map_reduce(times, column, step=step), 6 * step)


def times(x, *, step):
    return x * step


def two_results(x, *, v, flag=False, name=""):
    return x, (v, 1.0)


def test_rounds_and_bytes_are_counted_in_the_model_of_the_papers(engine):
    n, v = 7, np.ones(5)
    blocks, column = engine(list(range(n)))
    meter = blocks.meter
    assert (meter.passes, meter.rounds, meter.bytes_up, meter.bytes_down) == (0, 0, 0, 0)
    blocks.map_reduce(two_results, column, keep=1, v=v, flag=True, name="free")
    assert meter.snapshot() == {"passes": 1, "rounds": 2, "bytes_up": 48 * n, "bytes_down": 40 * n, "epochs": 1.0}
    blocks.map_blocks(two_results, column, v=v)  # one broadcast, and nothing is sent
    assert (meter.passes, meter.rounds) == (2, 3)
    blocks.map_reduce(abs, column)  # one sum, and nothing is broadcast
    assert (meter.passes, meter.rounds, meter.bytes_up) == (3, 4, 48 * n + 8 * n)
    blocks.map_blocks(abs, column)
    assert (meter.passes, meter.rounds, meter.bytes_down) == (4, 4, 80 * n)
    blocks.gather(blocks.place([0] * n))
    assert meter.passes == 4
    blocks.map_reduce(abs, column, share=0.25)
    assert meter.epochs == 4.25


@pytest.mark.parametrize(
    ("value", "size"),
    [(np.ones(3), 24), (np.float32(1), 4), (1, 8), (1.0, 8), (True, 0), (None, 0), ("name", 0), (abs, 0),
     ((1, [2.0, np.ones(1)]), 24), ({"a": 1, "b": None}, 8)],
)  # fmt: skip
def test_payload_counts_arrays_and_numbers(value, size):
    assert payload(value) == size


def scaled(X, factor):
    return X.sum(axis=0) * factor


def test_select_keeps_the_named_blocks_in_the_order_asked_for(engine):
    data = rows(6)
    blocks, column = engine(data)
    factors = blocks.place([float(i) for i in range(6)])
    doubled = blocks.map_blocks(times, factors, step=2.0)
    some, X, factors, doubled = blocks.select([4, 1, 5], column, factors, doubled)
    assert type(some) is type(blocks)
    assert some.n_blocks == 3
    assert some.gather(factors) == [4.0, 1.0, 5.0]
    assert some.gather(doubled) == [8.0, 2.0, 10.0]
    before = blocks.meter.passes
    total = some.map_reduce(scaled, X, factors)
    np.testing.assert_array_equal(total, fixed_tree([data[i].sum(axis=0) * i for i in (4, 1, 5)]))
    assert some.meter is blocks.meter
    assert blocks.meter.passes == before + 1


def test_select_of_a_selection(engine):
    blocks, column = engine(list(range(6)))
    some, column = blocks.select([5, 3, 1], column)
    fewer, column = some.select([2], column)
    assert fewer.gather(column) == [1]
    assert fewer.map_reduce(abs, column) == 1


def test_place_wants_one_value_per_block(engine):
    blocks, _ = engine([0, 1, 2])
    assert blocks.gather(blocks.place(["a", None, (1, 2)])) == ["a", None, (1, 2)]
    with pytest.raises(ValueError, match="2 values were given for 3 blocks"):
        blocks.place([1, 2])


def test_a_pass_without_columns(engine):
    blocks, _ = engine([0, 1, 2])
    assert blocks.map_reduce(constant, value=2) == 6


def constant(*, value):
    return value


def test_blocks_without_rows(engine):
    data = [np.empty((0, 3)), np.ones((2, 3)), np.empty((0, 3))]
    blocks, column = engine(data)
    kept, total = blocks.map_reduce(sums_and_rows, column, keep=1)
    np.testing.assert_array_equal(total, [2, 2, 2])
    assert [value.shape for value in blocks.gather(kept)] == [(0, 3), (2, 3), (0, 3)]


def sums_and_rows(X):
    return X, X.sum(axis=0)


class BlockError(Exception):
    """An error of the user's own."""


def fails_on_two(i, *, message):
    if i == 2:
        raise BlockError(message)
    return i


@pytest.mark.parametrize("keep", [False, True])
def test_errors_surface_with_their_own_type_and_message_and_the_engine_goes_on(engine, keep):
    blocks, column = engine([1, 2, 3, 4])
    run = blocks.map_blocks if keep else blocks.map_reduce
    with pytest.raises(BlockError, match="block two is bad"):
        run(fails_on_two, column, message="block two is bad")
    assert blocks.map_reduce(abs, column) == 10
    assert blocks.meter.passes == 1, "a pass that failed does not count"


def divided(x):
    return 1 // x


def test_errors_while_blocks_are_made_surface_too(engine):
    if engine([0])[0].__class__ is SerialBlocks:
        pytest.skip("SerialBlocks are given, not made")
    with pytest.raises(ZeroDivisionError):
        place_delayed([dask.delayed(divided)(i) for i in (1, 0)])


def inner_pass(i):
    blocks = SerialBlocks(5)
    return i + blocks.map_reduce(abs, blocks.place([1] * 5))


def inner_dask_pass(i):
    with dask.config.set(scheduler="threads"):
        return i + DaskBlocks(5).map_reduce(abs, DaskBlocks(5).place([1] * 5))


@pytest.mark.parametrize("inner", [inner_pass, inner_dask_pass])
def test_passes_inside_passes(engine, inner):
    blocks, column = engine(list(range(20)))
    assert blocks.map_reduce(inner, column) == 190 + 20 * 5


@pytest.mark.cluster
def test_blocks_in_this_process_stay_here_when_a_client_becomes_current(session_client):
    blocks, column = catalogue.dask_blocks([1, 2, 3])
    assert type(blocks) is DaskBlocks
    with session_client.as_current():
        assert blocks.map_reduce(process_id, column) == process_id(1) + process_id(2) + process_id(3)


def process_id(i):
    import os

    return i * os.getpid()


@pytest.mark.cluster
def test_blocks_lie_on_all_workers_in_runs_of_neighbours(cluster_client):
    blocks, _ = catalogue.dask_blocks(list(range(10)))
    owners = [owner for owner, _ in blocks._groups()]
    assert len(owners) == 2
    assert [group for _, group in blocks._groups()] == [list(range(5)), list(range(5, 10))]


@pytest.mark.cluster
@pytest.mark.parametrize("through", ["the chunks", "a lazy step", "delayed"])
def test_blocks_made_of_persisted_chunks_stay_where_the_chunks_are(cluster_client, through):
    first, second = sorted(cluster_client.scheduler_info(n_workers=-1)["workers"])
    where = [second, first, second, second]
    chunks = [cluster_client.persist(da.ones((2, 2), chunks=2) * i, workers=[w]) for i, w in enumerate(where)]
    X = da.concatenate(chunks)
    if through == "a lazy step":
        X = X.map_blocks(np.negative)
    parts = list(X.to_delayed().ravel())
    if through == "delayed":
        parts = [dask.delayed(np.negative)(part) for part in parts]
    blocks, column = place_delayed(parts)
    assert dict(blocks._groups()) == {second: [0, 2, 3], first: [1]}
    assert abs(blocks.map_reduce(np.sum, column)) == 24


@pytest.mark.cluster
def test_a_value_that_came_to_the_cluster_large_makes_no_warning(cluster_client):
    # Dask warns of tasks above 10 MB, which are meant here.
    blocks, _ = catalogue.dask_blocks([0, 1])
    large = blocks.place([np.ones(1_000_000)] * 2)
    assert blocks.map_reduce(np.sum, large) == 2_000_000
    np.testing.assert_array_equal(blocks.map_reduce(times, blocks.place([1.0, 2.0]), step=np.ones(2_000_000))[:2], 3)


def process(rows, vector):
    return {os.getpid(): rows.sum() + vector.sum()}


@pytest.mark.cluster
def test_blocks_stay_where_they_are_however_large_a_broadcast_is(cluster_client):
    """A worker that has the broadcast is no reason to send it the blocks of another."""
    blocks, column = catalogue.dask_blocks(list(np.ones((4, 50_000))))
    owners = blocks._groups()
    for _ in range(5):
        total = blocks.map_reduce(process, column, vector=np.ones(300_000))
        assert sorted(total.values()) == [700_000, 700_000]
        assert all(len(workers) == 1 for workers in cluster_client.who_has(list(blocks._grouped.values())).values())
    assert blocks._groups() == owners


FAULTS = """
import resource, sys
import dask, numpy as np
from dask_newton.blocks.memory import keep_freed_memory
dask.config.set({"dask-newton.memory.keep-freed": sys.argv[1]})
keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    np.ones(500_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="It is for the malloc of glibc.")
def test_a_worker_keeps_the_memory_that_arrays_leave_behind():
    faults = {}
    for kept in ("128 MB", "0"):
        run = subprocess.run(
            [sys.executable, "-c", FAULTS, kept], env=os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        faults[kept] = int(run.stdout)
    # A hundred arrays of 4 MB, whose pages are new each time; or those of the first array, whatever a page holds.
    assert faults["128 MB"] < 0.2 * faults["0"]


def test_the_engine_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Blocks(2)


def test_no_blocks_have_no_total():
    assert SerialBlocks(0).map_reduce(abs, SerialBlocks(0).place([])) is None
    with dask.config.set(scheduler="threads"):
        assert DaskBlocks(0).map_reduce(abs, DaskBlocks(0).place([])) is None


def test_tree_of_one_leaf_is_the_leaf():
    assert tree_reduce({(0, 0): math.pi}, 1) == {(0, 0): math.pi}
