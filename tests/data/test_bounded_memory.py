"""Memory while saving grows with the chunk, not with the data."""

import tracemalloc
import weakref

import dask
import dask.array as da
import numpy as np
import pytest

from dask_newton.data import open_dataset, save_dataset, verify_dataset
from dask_newton.data.batches import rechunk_rows

N_ROWS, N_FEATURES = 40_000, 100  # 32 MB of float64
BATCH_ROWS, CHUNK_ROWS = 1_000, 2_300  # 0.8 MB and 1.84 MB, which do not align


def generated():
    for start in range(0, N_ROWS, BATCH_ROWS):
        yield np.full((BATCH_ROWS, N_FEATURES), float(start)), np.arange(start, start + BATCH_ROWS)


def lazy():
    X = da.ones((N_ROWS, N_FEATURES), chunks=(BATCH_ROWS, 40)) * 3
    return X, da.arange(N_ROWS, chunks=BATCH_ROWS)


@pytest.mark.parametrize("source", ["batches", "dask"])
def test_peak_memory_of_saving_and_verifying(tmp_path, source):
    data = (generated(),) if source == "batches" else lazy()
    warm = save_dataset(tmp_path / "warm.zarr", da.ones((2, 2)))  # imports and caches are not counted
    verify_dataset(warm)
    tracemalloc.start()
    try:
        with dask.config.set(scheduler="sync"):
            save_dataset(tmp_path / "d.zarr", *data, chunk_rows=CHUNK_ROWS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    chunk_bytes = CHUNK_ROWS * N_FEATURES * 8
    # A few copies of one chunk: parts, joined, encoded, read back. The data are 17 chunks.
    assert peak < 7 * chunk_bytes
    assert open_dataset(tmp_path / "d.zarr").X.shape == (N_ROWS, N_FEATURES)


def test_at_most_one_batch_and_one_chunk_are_alive():
    made = []
    most = 0

    class Rows(np.ndarray):
        pass

    def batches():
        nonlocal most
        for number in range(50):
            batch = np.full((10, 2), number).view(Rows)
            made.append(weakref.ref(batch))
            most = max(most, sum(reference() is not None for reference in made))
            yield {"X": batch}
            del batch

    rows = 0
    for chunk in rechunk_rows(batches(), 35):
        rows += len(chunk["X"])
        del chunk
    assert rows == 500
    assert most == 1
