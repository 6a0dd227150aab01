"""Labelled documents: ``label TAB words``, one document per line, the words separated by spaces.

Entry (i, j) of X is how often word j occurs in document i. The words are those of the first split, sorted;
words that occur only in test documents are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from dask_newton.data.aliases import Progress
from dask_newton.data.batches import RowBatches
from dask_newton.data.formats.files import LineBlock, first_lines, line_blocks
from dask_newton.data.formats.raw import RawData, RawFormat, ReadOptions, Splits
from dask_newton.storage.kinds import DatasetError

__all__ = ["FORMAT"]


def _recognise(path: Path, head: bytes) -> bool:
    lines = [line.split("\t") for line in first_lines(head)]
    texts = [fields for fields in lines if len(fields) == 2 and any(word.isalpha() for word in fields[1].split())]
    # More than half of the lines: the header of a table has words too, and malformed lines are reported later.
    return 2 * len(texts) > len(lines)


def _read(splits: Splits, options: ReadOptions, progress: Progress | None) -> RawData:
    words: set[str] = set()
    n_rows = {}
    for number, (name, paths) in enumerate(splits.items()):
        n_rows[name] = 0
        for block in line_blocks(paths, progress):
            for _, text in _documents(block):
                n_rows[name] += 1
                if number == 0:
                    words.update(text.split())
    if not words:
        raise DatasetError(f"{', '.join(map(str, next(iter(splits.values()))))} contain no words.")
    vocabulary = sorted(words)
    counter = CountVectorizer(analyzer=str.split, vocabulary=vocabulary, dtype=np.float64)
    batches = {name: RowBatches(n_rows[name], _rows(paths, counter)) for name, paths in splits.items()}
    where = f" of {next(iter(splits))}" if len(splits) > 1 else ""
    return RawData(dict(batches), vocabulary, [f"X counts the {len(vocabulary)} words{where}."])


def _rows(paths: Sequence[Path], counter: CountVectorizer) -> Iterator[tuple[Any, np.ndarray]]:
    for block in line_blocks(paths):
        documents = list(_documents(block))
        if documents:
            labels, texts = zip(*documents, strict=True)
            yield counter.transform(texts), np.array(labels)


def _documents(block: LineBlock) -> Iterator[tuple[str, str]]:
    for number, line in block.lines():
        if not line:
            continue
        label, tab, words = line.partition(b"\t")
        if not label or not tab or b"\t" in words:
            raise block.malformed(number, "it is not 'label TAB words'")
        try:
            yield label.decode(), words.decode()
        except UnicodeDecodeError as error:
            raise block.malformed(number, f"it is not UTF-8 ({error.reason})") from error


FORMAT = RawFormat("documents", "labelled documents", _recognise, _read)
