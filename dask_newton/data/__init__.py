"""Zarr data sets, converters of raw formats, and synthetic problems.

A data set is a Zarr group with ``X``, ``y`` and optional columns (see ``layout``). ``save_dataset`` and
``save_splits`` write data sets; ``open_dataset`` returns Dask arrays whose blocks are read where they are needed.
Each raw format is a file in ``formats``.
"""

from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.fetch import fetch_named
from dask_newton.data.formats.idx import convert_idx, idx_batches, iter_idx, read_idx_header
from dask_newton.data.formats.named import convert_named
from dask_newton.data.formats.pixel_rows import convert_pixel_rows, pixel_row_batches
from dask_newton.data.formats.registry import convert_files
from dask_newton.data.info import dataset_info
from dask_newton.data.reader import Dataset, open_dataset, verify_dataset
from dask_newton.data.synthetic import make_regression, make_softmax
from dask_newton.data.writer import save_dataset, save_splits
from dask_newton.storage.kinds import DatasetError

__all__ = [
    "Dataset",
    "DatasetError",
    "RowBatches",
    "convert_files",
    "convert_idx",
    "convert_named",
    "convert_pixel_rows",
    "dataset_info",
    "fetch_named",
    "idx_batches",
    "iter_idx",
    "make_regression",
    "make_softmax",
    "open_dataset",
    "pixel_row_batches",
    "read_idx_header",
    "save_dataset",
    "save_splits",
    "verify_dataset",
]
