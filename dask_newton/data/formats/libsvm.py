"""The text format of LIBSVM and SVMlight: ``label index:value index:value ... # comment``, one row per line.

Indices increase within a line and start at 1, in some files at 0. ``qid:`` groups of ranking data are ignored.
Lines are parsed by scikit-learn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn.datasets import load_svmlight_file

from dask_newton.data.aliases import Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.files import LineBlock, first_lines, line_blocks
from dask_newton.data.formats.raw import RawData, RawFormat, ReadOptions, Splits
from dask_newton.storage.kinds import DatasetError

__all__ = ["FORMAT"]

_ROW = re.compile(r"\s*[-+.\w]+(\s+qid:\d+)?(\s+\d+:[-+.\w]+)*\s*(#.*)?")


def _recognise(path: Path, head: bytes) -> bool:
    lines = [line for line in first_lines(head) if not line.lstrip().startswith("#")]
    # More than half of the lines, so that a malformed line is found later and reported as such.
    return 2 * sum(bool(_ROW.fullmatch(line)) for line in lines) > len(lines) and any(":" in line for line in lines)


def _read(splits: Splits, options: ReadOptions, progress: Progress | None) -> RawData:
    found = {name: _scan(paths, progress) for name, paths in splits.items()}
    smallest = min(scan.smallest for scan in found.values())
    largest = max(scan.largest for scan in found.values())
    zero_based = smallest == 0 if options.zero_based is None else options.zero_based
    if not zero_based and smallest == 0:
        raise DatasetError(
            f"{_names(splits)} hold the index 0, so the indices do not start at 1; give zero_based=True."
        )
    base = 0 if zero_based else 1
    needed = max(1, largest + 1 - base)
    n_features = needed if options.n_features is None else options.n_features
    if n_features < needed:
        raise DatasetError(f"{_names(splits)} hold {needed} features, more than the {n_features} that were given.")
    how = "as given" if options.zero_based is not None else f"the smallest is {smallest}"
    notes = [f"Indices start at {base} ({how}); {n_features} features."]
    batches = {name: RowBatches(found[name].n_rows, _rows(paths, base, n_features)) for name, paths in splits.items()}
    return RawData(dict(batches), notes=notes)


def _names(splits: Splits) -> str:
    return ", ".join(str(path) for paths in splits.values() for path in paths)


class _Scan:
    """The result of a first pass, in which malformed files are refused before anything is written."""

    def __init__(self) -> None:
        self.n_rows, self.smallest, self.largest = 0, np.iinfo(np.int64).max, -1


def _scan(paths: Sequence[Path], progress: Progress | None) -> _Scan:
    scan = _Scan()
    for block in line_blocks(paths, progress):
        X, _ = _parse(block)
        scan.n_rows += X.shape[0]
        if X.nnz:
            scan.smallest = min(scan.smallest, int(X.indices.min()))
            scan.largest = max(scan.largest, int(X.indices.max()))
    return scan


def _rows(paths: Sequence[Path], base: int, n_features: int) -> Iterator[tuple[scipy.sparse.csr_array, np.ndarray]]:
    for block in line_blocks(paths):
        X, y = _parse(block)
        parts = X.data, X.indices - X.indices.dtype.type(base), X.indptr
        yield scipy.sparse.csr_array(parts, shape=(X.shape[0], n_features)), y


def _parse(block: LineBlock) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    try:
        return _load(block.text)
    except (ValueError, OverflowError):
        for number, line in block.lines():
            try:
                _load(line)
            except (ValueError, OverflowError) as error:
                raise block.malformed(
                    number, f"it is not 'label index:value index:value ...' with increasing indices ({error})"
                ) from error
        raise


def _load(text: bytes) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    return load_svmlight_file(io.BytesIO(text), zero_based=True)


FORMAT = RawFormat("libsvm", "LIBSVM text", _recognise, _read, frozenset({"zero_based", "n_features"}))
