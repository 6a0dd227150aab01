"""Workers are killed, really, and nothing but time is lost.

What was computed again is counted by lines that functions append to files, as a worker that dies cannot be asked.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import catalogue
import dask
import numpy as np
import pytest
from distributed import KilledWorker

from dask_newton.blocks import SerialBlocks, place_delayed

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

N = 6


def note(log, text):
    with open(log, "a", encoding="utf-8") as file:  # small appends are atomic
        file.write(f"{text}\n")


def notes(log):
    return Counter(Path(log).read_text(encoding="utf-8").split()) if Path(log).exists() else Counter()


def make_block(i, log):
    note(log, i)
    return np.random.default_rng(i).standard_normal((40, 3)) * 10.0 ** (i - 3)


def make_blocks(log):
    blocks, column = place_delayed([dask.delayed(make_block)(i, str(log)) for i in range(N)])
    assert notes(log) == Counter(map(str, range(N)))
    return blocks, column


def in_process(log):
    blocks = SerialBlocks(N)
    return blocks, blocks.place([make_block(i, log) for i in range(N)])


def held_by(blocks):
    return {owner: set(map(str, group)) for owner, group in blocks._groups()}


def kill(client, address):
    """Kill a worker process, and wait until the scheduler has noticed and its nanny has brought another."""
    os.kill(client.run(os.getpid, workers=[address])[address], signal.SIGKILL)
    while client.run_on_scheduler(knows, address=address):
        time.sleep(0.01)
    try:
        client.wait_for_workers(2, timeout=60)
    except TimeoutError:  # a nanny that cannot start a process on a busy machine gives up; that is not what is tested
        client.cluster.scale(len(client.cluster.workers) + 1)
        client.wait_for_workers(2, timeout=240)


def knows(address, dask_scheduler):
    return address in dask_scheduler.workers


def column_sums(X, *, scale):
    return scale * X.sum(axis=0)


def step(X, state, index, *, v, log="", k=0):
    if log:
        note(log, f"{index}:{k}")
    moved = 0.5 * state + X.T @ (X @ v) / (1 + np.abs(state).sum())
    return moved, moved


def die_once(marker):
    """Kill this worker process, unless that was done before."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def step_that_kills(X, state, index, *, v, folder, victims):
    if index in victims:
        die_once(os.path.join(folder, f"died-{index}"))
    return step(X, state, index, v=v)


def test_only_the_blocks_of_a_killed_worker_are_made_again(fragile_client, tmp_path):
    blocks, column = make_blocks(tmp_path / "log")
    before = blocks.map_reduce(column_sums, column, scale=0.1)
    (victim, lost), (_, safe) = held_by(blocks).items()
    assert lost
    assert safe
    kill(fragile_client, victim)
    np.testing.assert_array_equal(blocks.map_reduce(column_sums, column, scale=0.1), before)
    made = notes(tmp_path / "log")
    assert {i for i, count in made.items() if count > 1} == lost
    assert all(made[i] == 2 for i in lost)


ONE = pytest.param([1], marks=pytest.mark.slow, id="one worker")


@pytest.mark.parametrize("victims", [ONE, pytest.param([0, N - 1], id="both workers")])
def test_killed_in_the_middle_of_a_pass(fragile_client, tmp_path, victims):
    blocks, column = make_blocks(tmp_path / "log")
    index = blocks.place(list(range(N)))
    state = blocks.place([np.zeros(3)] * N)
    options = {"v": np.ones(3) / 3, "folder": str(tmp_path), "victims": victims}
    # Broadcasts of this size are computed on one worker, which may be the one that is killed.
    with dask.config.set({"dask-newton.broadcast.inline-bytes": 0}):
        for _ in range(3):
            state, total = blocks.map_reduce(step_that_kills, column, state, index, keep=1, **options)
    assert len(list(tmp_path.glob("died-*"))) == len(victims)
    here, column = in_process(tmp_path / "other log")
    expected, index = here.place([np.zeros(3)] * N), here.place(list(range(N)))
    for _ in range(3):
        expected, total_here = here.map_reduce(step, column, expected, index, keep=1, v=options["v"])
    np.testing.assert_array_equal(total, total_here)
    np.testing.assert_array_equal(blocks.gather(state), here.gather(expected))


def tasks(dask_scheduler):
    return len(dask_scheduler.tasks)


@pytest.mark.slow
@pytest.mark.parametrize("anchors", ["in memory", "in files"])
def test_a_long_chain_of_passes_is_done_again_only_from_its_last_anchor(fragile_client, tmp_path, anchors):
    every, log, folder = dask.config.get("dask-newton.anchor.every"), tmp_path / "steps", tmp_path / "anchors"
    in_files = {"dask-newton.anchor.max-bytes": 0, "dask-newton.anchor.directory": str(folder)}
    blocks, column = make_blocks(tmp_path / "log")
    here, column_here = in_process(tmp_path / "other log")
    index, index_here = blocks.place(list(range(N))), here.place(list(range(N)))
    state, state_here = blocks.place([np.zeros(3)] * N), here.place([np.zeros(3)] * N)
    rng, done_again, n_tasks = np.random.default_rng(0), [], []
    with dask.config.set(in_files if anchors == "in files" else {}):
        for k in range(60):
            v = rng.standard_normal(3)
            state, total = blocks.map_reduce(step, column, state, index, keep=1, v=v, log=str(log), k=k)
            state_here, total_here = here.map_reduce(step, column_here, state_here, index_here, keep=1, v=v, k=k)
            np.testing.assert_array_equal(total, total_here)
            n_tasks.append(fragile_client.run_on_scheduler(tasks))
            if k in (20, 42):  # the pass before an anchor, when most is to be lost
                before = notes(log)
                kill(fragile_client, max(held_by(blocks), key=lambda owner: len(held_by(blocks)[owner])))
                np.testing.assert_array_equal(blocks.gather(state), here.gather(state_here))
                again = notes(log) - before
                done_again.append(max(Counter(entry.split(":")[0] for entry in again.elements()).values()))
    assert all(1 < count <= every for count in done_again), done_again
    assert max(n_tasks[20:]) <= max(n_tasks[:20]) + 2 * N, "the cluster forgets the passes before an anchor"
    np.testing.assert_array_equal(blocks.gather(state), here.gather(state_here))
    assert len(list(folder.glob("*"))) == (1 if anchors == "in files" else 0)
    assert blocks.meter == here.meter


@pytest.mark.slow
def test_a_worker_that_joins_changes_no_bit(fragile_client, tmp_path):
    blocks, column = make_blocks(tmp_path / "log")
    before, owners = blocks.map_reduce(column_sums, column, scale=0.1), held_by(blocks)
    try:
        fragile_client.cluster.scale(3)
        fragile_client.wait_for_workers(3, timeout=240)
        blocks._owners = []  # as after a few passes
        np.testing.assert_array_equal(blocks.map_reduce(column_sums, column, scale=0.1), before)
        assert held_by(blocks) == owners
        again, column = place_delayed([dask.delayed(make_block)(i, str(tmp_path / "log")) for i in range(N)])
        np.testing.assert_array_equal(again.map_reduce(column_sums, column, scale=0.1), before)
        assert len(held_by(again)) == 3
    finally:
        fragile_client.cluster.scale(2)
        while len(fragile_client.scheduler_info(n_workers=-1)["workers"]) > 2:
            time.sleep(0.05)


def test_blocks_that_nobody_holds_are_made_where_there_is_room(cluster_client, tmp_path, monkeypatch):
    blocks, column = make_blocks(tmp_path / "log")
    before = blocks.map_reduce(column_sums, column, scale=0.1)
    blocks._owners = []
    # As if all workers had gone and their blocks were not made again yet.
    monkeypatch.setattr(cluster_client, "who_has", lambda futures: {})
    np.testing.assert_array_equal(blocks.map_reduce(column_sums, column, scale=0.1), before)
    assert held_by(blocks) == {None: set(map(str, range(N)))}
    monkeypatch.undo()
    blocks.map_reduce(column_sums, column, scale=0.1)
    assert None not in held_by(blocks), "lost blocks are looked for at the next pass"


def test_a_cluster_without_workers_is_refused(start_cluster):
    with start_cluster(0) as client, client.as_current():
        with pytest.raises(ValueError, match="cluster has no workers; start some"):
            catalogue.dask_blocks([1, 2])


def always_die(x):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_function_that_kills_every_worker_ends_in_an_error(start_cluster):
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), start_cluster(1) as client:
        with client.as_current():
            blocks, column = catalogue.dask_blocks([1, 2])
            with pytest.raises(KilledWorker, match="newton-always-die"):
                blocks.map_reduce(always_die, column)
