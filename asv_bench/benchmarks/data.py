"""Saving, opening and reading Zarr data sets."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import dask
import numpy as np

from dask_newton.data import dataset_info, open_dataset, save_dataset, verify_dataset

from . import problems


class DataSet:
    """64 MB in eight chunks (full: 2 GB), with and without compression."""

    params = (True, False)
    param_names = ("compress",)
    timeout = 600

    def setup(self, compress: bool) -> None:
        n = 500_000 if problems.FULL else 16_000
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((n, 1000), dtype=np.float32)
        self.y = rng.integers(0, 10, n)
        self.options = {"compress": compress, "chunk_rows": n // 8, "classes": range(10)}
        self.folder = Path(tempfile.mkdtemp())
        self.saved = save_dataset(self.folder / "saved.zarr", self.X, self.y, **self.options)

    def teardown(self, compress: bool) -> None:
        shutil.rmtree(self.folder)

    def time_save(self, compress: bool) -> None:
        save_dataset(self.folder / "new.zarr", self.X, self.y, overwrite=True, **self.options)

    def time_save_without_reading_back(self, compress: bool) -> None:
        save_dataset(self.folder / "new.zarr", self.X, self.y, overwrite=True, verify=False, **self.options)

    def time_open(self, compress: bool) -> None:
        open_dataset(self.saved)

    def time_info(self, compress: bool) -> None:
        dataset_info(self.saved)

    def time_read(self, compress: bool) -> None:
        data = open_dataset(self.saved)
        dask.compute(data.X.map_blocks(_touch, chunks=(1, 1)), data.y)

    def time_verify(self, compress: bool) -> None:
        verify_dataset(self.saved)

    def track_megabytes_on_disk(self, compress: bool) -> float:
        return sum(file.stat().st_size for file in self.saved.rglob("*") if file.is_file()) / 1e6

    track_megabytes_on_disk.unit = "MB"


class SaveBatches:
    """1 GB in batches of 8 MB: the peak of memory tells whether they are held one at a time."""

    params = (True, False)
    param_names = ("compress",)
    timeout = 600

    def setup(self, compress: bool) -> None:
        self.folder = Path(tempfile.mkdtemp())

    def teardown(self, compress: bool) -> None:
        shutil.rmtree(self.folder)

    def peakmem_save(self, compress: bool) -> None:
        batches = ((np.zeros((2000, 1000), np.float32), np.zeros(2000, int)) for _ in range(128))
        save_dataset(self.folder / "new.zarr", batches, chunk_rows=2000, compress=compress)


def _touch(X: np.ndarray) -> np.ndarray:
    return X[:1, :1]
