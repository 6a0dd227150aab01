"""Threads are shared out without waiting for each other, and the BLAS is given back as it was."""

from __future__ import annotations

import os
import threading

import dask
import joblib
import numpy as np
import pytest
import threadpoolctl

from dask_newton.blocks import DaskBlocks, SerialBlocks, n_threads, parallel, run_blocks, thread_budget


def blas_threads():
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def two_blas_threads():
    """Limits the BLAS to two threads, whatever the machine, so that one thread is something else."""
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert blas_threads() == {2}
        yield
        assert blas_threads() == {2}


def test_all_cores_are_for_whom_no_budget_was_set():
    assert n_threads() == joblib.cpu_count()


def test_budgets_nest():
    with thread_budget(3):
        assert n_threads() == 3
        with thread_budget(1):
            assert n_threads() == 1
        assert n_threads() == 3
        with thread_budget(0):
            assert n_threads() == 1, "there is always the calling thread"
    assert n_threads() == joblib.cpu_count()


def test_a_budget_ends_with_an_error():
    with pytest.raises(KeyError), thread_budget(3):
        raise KeyError
    assert n_threads() == joblib.cpu_count()


def test_budgets_of_threads_are_apart():
    seen = []
    with thread_budget(3):
        thread = threading.Thread(target=lambda: seen.append(n_threads()))
        thread.start()
        thread.join()
    assert seen == [joblib.cpu_count()]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("run", [parallel, run_blocks])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 20, 41])
def test_results_are_in_order(run, threads, n):
    with thread_budget(threads):
        assert run(lambda i: i * i, list(range(n))) == [i * i for i in range(n)]


def test_work_is_spread_over_the_budget():
    # Five items meet at a barrier that opens only when five threads are there.
    barrier = threading.Barrier(5, timeout=240)
    with thread_budget(5):
        parallel(lambda i: barrier.wait(), list(range(5)))


def test_no_more_threads_than_the_budget_run_at_a_time():
    lock, running, most = threading.Lock(), set(), [0]

    def work(i):
        with lock:
            running.add(threading.get_ident())
            most[0] = max(most[0], len(running))
        np.ones(1000).sum()
        with lock:
            running.discard(threading.get_ident())

    with thread_budget(3):
        parallel(work, list(range(300)))
    assert most[0] <= 3


def test_inside_the_budget_is_one_thread():
    with thread_budget(4):
        assert parallel(lambda i: n_threads(), [0, 1, 2]) == [1, 1, 1]
        assert n_threads() == 4


def test_nested_calls_do_not_wait_for_each_other():
    # Every level asks for all threads of a pool that the level above is using.
    def work(depth):
        if depth == 0:
            return 1
        with thread_budget(64):
            return sum(parallel(work, [depth - 1] * 5))

    with thread_budget(64):
        assert parallel(work, [3] * 40) == [125] * 40


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_of_several_errors_is_raised(threads):
    def work(i):
        if i >= 10:
            raise ValueError(f"item {i}")
        return i

    with thread_budget(threads), pytest.raises(ValueError, match="item 10$"):
        parallel(work, list(range(50)))


def test_few_blocks_get_all_threads_each_and_many_one():
    with thread_budget(4):
        assert run_blocks(lambda i: n_threads(), [0, 1, 2]) == [4] * 3
        assert run_blocks(lambda i: n_threads(), list(range(4))) == [1] * 4
        assert run_blocks(lambda i: n_threads(), list(range(6))) == [4] * 6
        assert run_blocks(lambda i: n_threads(), list(range(17))) == [1] * 17


def observe(i):
    return tuple(blas_threads())


def make_serial():
    return SerialBlocks(5)


def make_dask():
    return DaskBlocks(5)


@pytest.mark.parametrize("make", [make_serial, make_dask])
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_the_blas_has_one_thread_inside_a_pass_and_all_after(two_blas_threads, make, scheduler):
    blocks = make()
    with dask.config.set(scheduler=scheduler):
        seen = blocks.gather(blocks.map_blocks(observe, blocks.place([0] * 5)))
    assert seen == [(1,)] * 5


def fail(i):
    raise OSError("no such block")


@pytest.mark.parametrize("make", [make_serial, make_dask])
def test_the_blas_is_given_back_after_an_error(two_blas_threads, make):
    blocks = make()
    with pytest.raises(OSError, match="no such block"):
        blocks.map_reduce(fail, blocks.place([0] * 5))


def test_the_blas_is_given_back_when_the_last_of_overlapping_passes_ends(two_blas_threads):
    first_is_inside, second_is_over = threading.Event(), threading.Event()
    seen = []

    def wait_inside(i):
        first_is_inside.set()
        assert second_is_over.wait(240)
        seen.append(blas_threads())

    def first_pass():
        blocks = SerialBlocks(1)
        blocks.map_reduce(wait_inside, blocks.place([0]))

    thread = threading.Thread(target=first_pass)
    thread.start()
    assert first_is_inside.wait(240)
    blocks = SerialBlocks(1)
    blocks.map_reduce(lambda i: seen.append(blas_threads()), blocks.place([0]))
    assert blas_threads() == {1}, "the other pass is still inside"
    second_is_over.set()
    thread.join()
    assert seen == [{1}, {1}]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_that_it_does_not_have():
    with thread_budget(4):
        parallel(abs, list(range(8)))  # now this process has a pool
        pid = os.fork()
        if pid == 0:
            os._exit(0 if parallel(abs, list(range(8))) == list(range(8)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
