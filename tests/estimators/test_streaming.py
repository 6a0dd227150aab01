"""``persist``: blocks that are read again in every pass, and what decides."""

import itertools
import logging
import threading
import time
import weakref

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from catalogue import SMOOTH, SOLVERS
from pairwise import cases

from dask_newton import LogisticRegression
from dask_newton.blocks import place_delayed
from dask_newton.data import save_dataset

RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 5))
Y = (X[:, 0] + RNG.logistic(size=400) > 0).astype(int)
N_BLOCKS = 16
FEW = 10_000  # bytes on a cluster that holds no blocks
MEASURED = 4  # blocks that solver="auto" reads once more


class Source:
    """Blocks made by a function that counts how many it made, and how many of them are in memory at once."""

    def __init__(self, convert=np.array):
        self.made, self.alive, self.most, self.lock = 0, 0, 0, threading.Lock()
        self.convert = convert

    def array(self):
        parts = [self._delayed(part) for part in np.split(X, N_BLOCKS)]
        return da.concatenate([da.from_delayed(part, (25, 5), meta=np.empty((0, 0))) for part in parts])

    def _delayed(self, part):
        return dask.delayed(self._make)(part)

    def _make(self, part):
        block = self.convert(part)
        with self.lock:
            self.made += 1
            self.alive += 1
            self.most = max(self.most, self.alive)
        weakref.finalize(block, self._gone)
        time.sleep(0.001)  # so that threads overlap
        return block

    def _gone(self):
        with self.lock:
            self.alive -= 1

    def __dask_tokenize__(self):
        return id(self)


EXACT = [name for name, case in SOLVERS.items() if case.exact and case.penalties[0] in SMOOTH]


@cases("solver, threads", itertools.product(EXACT, [1, 3]), together=1)
def test_every_pass_makes_every_block_once_and_few_at_a_time(solver, threads):
    source = Source()
    with dask.config.set(scheduler="threads", num_workers=threads):
        streamed = LogisticRegression(solver=solver, persist=False).fit(source.array(), Y)
        kept = LogisticRegression(solver=solver, persist=True).fit(da.from_array(X, chunks=(25, -1)), Y)
    alone = N_BLOCKS - 1 if solver == "disco" else 0  # the blocks of which a pass does not need the rows
    measured = MEASURED if solver == "auto" else 0
    assert source.made == N_BLOCKS * (streamed.n_passes_ + 1) - alone + measured, "one more pass looks at the data"
    assert source.most <= threads
    deadline = time.monotonic() + 60  # for threads that have still to let go of their last block
    while source.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.alive == 0
    np.testing.assert_array_equal(streamed.coef_, kept.coef_)
    assert streamed.n_passes_ == kept.n_passes_


def test_true_makes_every_block_once():
    source = Source()
    LogisticRegression(persist=True).fit(source.array(), Y)
    assert source.made == source.most == N_BLOCKS


def made_with(share, array=None, source=None, y=Y):
    """Return how often each block is made by a fit that may use a share of the memory, and the passes."""
    source = source or Source()
    with dask.config.set({"dask-newton.persist.share": share}):
        model = LogisticRegression().fit(source.array() if array is None else array, y)
    return source.made / N_BLOCKS, model.n_passes_ + 1


@pytest.fixture
def megabyte(monkeypatch):
    monkeypatch.setattr("dask_newton.containers.placement.available_memory", lambda: 1e6)


def test_auto_goes_by_the_size(megabyte, caplog):
    size = X.nbytes / 1e6
    made, _ = made_with(1.01 * size)
    assert made == 1
    with caplog.at_level("INFO", "dask_newton"):
        made, passes = made_with(0.99 * size)
    assert made == passes + (3 + MEASURED) / N_BLOCKS, "three blocks are looked at"
    assert "persist='auto': the data take about" in caplog.text and "read again in every pass" in caplog.text


def test_auto_looks_at_sparse_chunks(megabyte):
    # Dask takes them for dense. One column in five has entries.
    convert = Source(lambda part: sp.csr_array(part * [1, 0, 0, 0, 0]))
    made, _ = made_with(0.8 * X.nbytes / 1e6, source=convert)
    assert made == 1 + 3 / N_BLOCKS


def test_auto_looks_where_the_number_of_rows_is_unknown(megabyte):
    for share, streamed in ((1.5, False), (0.5, True)):
        source = Source()
        y = da.from_array(Y, chunks=25)
        made, passes = made_with(share * X.nbytes / 1e6, source.array()[y >= 0], source, y[y >= 0])
        assert made == (passes + MEASURED / N_BLOCKS if streamed else 1) + 3 / N_BLOCKS


def test_streaming_from_zarr_and_frames(tmp_path):
    path = save_dataset(tmp_path / "data.zarr", X, Y, chunk_rows=25)
    expected = LogisticRegression(persist=True).fit(path)
    np.testing.assert_array_equal(LogisticRegression(persist=False).fit(path).coef_, expected.coef_)
    frame = pd.DataFrame(X, columns=list("abcde")).assign(y=Y)
    frame.to_parquet(tmp_path / "data.parquet", row_group_size=100)
    lazy = dd.read_parquet(tmp_path / "data.parquet", split_row_groups=True)
    fits = [LogisticRegression(persist=persist).fit(lazy[list("abcde")], lazy["y"]) for persist in (True, False)]
    np.testing.assert_array_equal(fits[0].coef_, fits[1].coef_)
    np.testing.assert_allclose(fits[1].coef_, expected.coef_, rtol=0, atol=1e-12)
    # Dask would join partitions of few columns, and have fewer of y than of X.
    computed = fits[1].predict(lazy[list("abcde")]).compute()
    np.testing.assert_array_equal(computed, fits[1].predict(frame[list("abcde")]))


@pytest.mark.cluster
def test_on_a_cluster_the_bits_are_the_same_and_workers_keep_no_blocks(cluster_client, tmp_path):
    wide = np.random.default_rng(1).standard_normal((400, 50))
    path = save_dataset(tmp_path / "data.zarr", wide, Y, chunk_rows=50)

    def held(dask_scheduler):
        tasks = dask_scheduler.tasks.items()
        return sum(task.nbytes for key, task in tasks if "newton-hold-block-" in str(key) and task.who_has)

    class Look(logging.Handler):
        """Looks at what the workers hold after every iteration, once they have let go of what nobody wants."""

        def emit(self, record):
            deadline = time.monotonic() + (0 if persist else 60)
            while (size := cluster_client.run_on_scheduler(held)) > FEW and time.monotonic() < deadline:
                time.sleep(0.01)
            found.add(size)

    fits, sizes = {}, {}
    log = logging.getLogger("dask_newton.minimize")
    level, look = log.level, Look()
    log.addHandler(look)
    log.setLevel(logging.DEBUG)
    try:
        for persist in (True, False):
            found = set()
            fits[persist] = LogisticRegression(C=0.01, solver="giant", tol=1e-4, persist=persist).fit(path)
            sizes[persist] = found
    finally:
        log.removeHandler(look)
        log.setLevel(level)
    np.testing.assert_array_equal(fits[True].coef_, fits[False].coef_)
    assert fits[True].n_rounds_ == fits[False].n_rounds_
    assert min(sizes[True]) > wide.nbytes > FEW >= max(sizes[False])


@pytest.mark.cluster
def test_what_is_persisted_is_used_where_it_lies(cluster_client, caplog):
    lazy = da.from_array(X, chunks=(100, -1)).persist()
    with caplog.at_level("INFO", "dask_newton"):
        fitted = LogisticRegression(persist=False).fit(lazy, Y)
    assert "in the memory of workers already" in caplog.text
    np.testing.assert_array_equal(fitted.coef_, LogisticRegression().fit(da.from_array(X, chunks=(100, -1)), Y).coef_)


@pytest.mark.cluster
def test_the_memory_of_a_cluster_is_that_of_its_workers(start_cluster):
    from dask_newton.blocks.client import available_memory

    with start_cluster(processes=False, protocol="tcp://", memory_limit="1 GB") as client, client.as_current():
        assert available_memory() == 2e9


def test_blocks_say_whether_they_are_streamed():
    rows = [dask.delayed(part) for part in np.split(X, 4)]
    for persist in (True, False):
        blocks, column = place_delayed(rows, persist=persist)
        assert blocks.streamed is not persist
        assert blocks.select([0, 2], column)[0].streamed is not persist
