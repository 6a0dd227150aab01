"""Tables in text: CSV, TSV, or columns separated by spaces; one row per line, one column of labels.

Numbers are parsed by NumPy to the nearest float64. Names of columns are those of the header, or "0", "1", ....
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from dask_newton.data.aliases import Progress
from dask_newton.data.formats.files import LineBlock, first_lines, line_blocks, peek
from dask_newton.data.formats.raw import RawData, RawFormat, ReadOptions, Splits
from dask_newton.storage.kinds import DatasetError

__all__ = ["FORMAT"]

_DELIMITERS = (",", "\t", ";", "|")
_LABEL_NAMES = {"label", "class", "target", "y"}


@dataclass(frozen=True)
class _Layout:
    """The layout of a table, from its first lines."""

    delimiter: str | None
    header: bool
    names: list[str]
    label: int | None
    features: list[int]
    text_label: bool

    @property
    def numeric(self) -> list[int]:
        """The columns to parse as numbers: the label first, if it is one."""
        return self.features if self.label is None or self.text_label else [self.label, *self.features]


def _recognise(path: Path, head: bytes) -> bool:
    lines = first_lines(head, 2)
    if not lines:
        return False
    delimiter = _delimiter(lines[-1])
    fields = _split(lines[-1], delimiter)
    return len(fields) > 1 and any(map(_is_number, fields))


def _read(splits: Splits, options: ReadOptions, progress: Progress | None) -> RawData:
    files = [path for paths in splits.values() for path in paths]
    layout, notes = _layout(files[0], options)
    for path in files[1:]:
        other, _ = _layout(path, options)
        if other.names != layout.names:
            raise DatasetError(
                f"{path} has the columns {_listed(other.names)}, but {files[0]} has {_listed(layout.names)}."
            )
    sizes = {name: sum(path.stat().st_size for path in paths) for name, paths in splits.items()}
    read = dict.fromkeys(splits, 0)
    batches: dict[str, Any] = {}
    for name, paths in splits.items():

        def report(done: int, total: int | None, name: str = name) -> None:
            read[name] = done

        batches[name] = _rows(paths, layout, report)
    names = [layout.names[column] for column in layout.features]
    return RawData(batches, names if layout.header else None, notes, lambda: (sum(read.values()), sum(sizes.values())))


def _layout(path: Path, options: ReadOptions) -> tuple[_Layout, list[str]]:
    lines = first_lines(peek(path), 2)
    if not lines:
        raise DatasetError(f"{path} holds no rows.")
    delimiter = _delimiter(lines[-1])
    top, row = (_split(line, delimiter) for line in (lines[0].removeprefix("#").strip(), lines[-1]))
    header = options.header
    if header is None:
        named = [not _is_number(name) for name in top]
        header = (
            len(lines) > 1
            and len(top) == len(row)
            and (
                lines[0].startswith("#")
                or all(named)
                or any(name and _is_number(value) for name, value in zip(named, row, strict=True))
            )
        )
    if header and len(lines) == 1:
        raise DatasetError(f"{path} holds no rows below its header.")
    if not header:
        row = top
    names = top if header else [str(number) for number in range(len(row))]
    drop = [_column(name, names, path, "drop") for name in options.drop]
    text = [c for c in range(len(row)) if c not in drop and not _is_number(row[c])]
    label, how = _label(options.label, names, drop, text, path)
    wrong = [column for column in text if column != label]
    if wrong:
        listed = ", ".join(f"{names[column]!r} ({row[column]!r})" for column in wrong)
        some = ",".join(names[column] for column in wrong)
        raise DatasetError(
            f"{path} has columns without numbers: {listed}. Encode them as numbers, or leave them out with "
            f'drop="{some}".'
        )
    features = [column for column in range(len(row)) if column not in drop and column != label]
    if not features:
        raise DatasetError(f"{path} has no columns of features.")
    layout = _Layout(delimiter, header, names, label, features, label in text)
    separated = {None: "spaces", "\t": "tabs"}.get(delimiter, f"{delimiter!r}")
    notes = [f"Columns are separated by {separated}; " + ("the first line names them." if header else "no header.")]
    notes.append(f"The label is column {names[label]!r}, {how}." if label is not None else "There is no label.")
    return layout, notes


def _label(
    wanted: str | None, names: list[str], drop: list[int], text: list[int], path: Path
) -> tuple[int | None, str]:
    if wanted == "none":
        return None, ""
    if wanted is not None:
        return _column(wanted, names, path, "label"), "as given"
    left = [column for column in range(len(names)) if column not in drop]
    for column in left:
        if names[column].lower() in _LABEL_NAMES:
            return column, "by its name (change it with label=)"
    if len(text) == 1 and text[0] in (0, len(names) - 1):
        return text[0], "the only one without numbers (change it with label=)"
    return (left[0] if left else None), "the first (change it with label=)"


def _column(wanted: str, names: list[str], path: Path, option: str) -> int:
    if wanted in names:
        return names.index(wanted)
    try:
        return range(len(names))[int(wanted)]
    except (ValueError, IndexError):
        raise DatasetError(f"{path} has no column {wanted!r}, which {option} names; it has {_listed(names)}.") from None


def _listed(names: list[str]) -> str:
    shown = names if len(names) <= 20 else [*names[:18], "...", names[-1]]
    return f"{', '.join(shown)} ({len(names)} in all)"


def _delimiter(line: str) -> str | None:
    counts = {delimiter: len(_split(line, delimiter)) for delimiter in _DELIMITERS}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return best if counts[best] > 1 else None


def _split(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    return [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _rows(paths: Sequence[Path], layout: _Layout, progress: Progress) -> Iterator[Any]:
    for block in line_blocks(paths, progress):
        if layout.header and block.first == 1:
            block = _without_header(block)
        if block.text.strip():
            yield _parse(block, layout)


def _without_header(block: LineBlock) -> LineBlock:
    number = next(number for number, line in block.lines() if line.strip())
    for _ in range(number):
        block = block.without_first_line()
    return block


def _parse(block: LineBlock, layout: _Layout) -> Any:
    try:
        text = block.text.decode()
        if not _all_have(len(layout.names), block.text, layout.delimiter):
            raise ValueError
        values = np.loadtxt(
            io.StringIO(text), delimiter=layout.delimiter, usecols=layout.numeric, comments=None, quotechar='"',
            ndmin=2,
        )  # fmt: skip
    except ValueError as error:
        _raise_for_a_line(block, layout, error)
    if layout.label is None:
        return values
    if layout.text_label:
        lines = [line for line in text.split("\n") if line.strip()]
        return values, np.array([_split(line, layout.delimiter)[layout.label] for line in lines])
    return np.ascontiguousarray(values[:, 1:]), values[:, 0].copy()


def _all_have(n_columns: int, text: bytes, delimiter: str | None) -> bool:
    """Whether every line has the given number of columns; NumPy ignores columns that it does not parse."""
    if delimiter is not None and b'"' in text:
        lines = [line for line in text.decode().split("\n") if line]
        return all(len(_split(line, delimiter)) == n_columns for line in lines)
    values = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(values == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    if delimiter is None:
        blank = (values == ord(" ")) | (values == ord("\t")) | (values == ord("\n"))
        before = np.concatenate([[True], blank[:-1]])
        counts = np.add.reduceat((~blank & before).astype(np.int32), starts)
        return bool(np.all((counts == n_columns) | (counts == 0)))
    counts = np.add.reduceat((values == ord(delimiter)).astype(np.int32), starts) + 1
    return bool(np.all((counts == n_columns) | (ends == starts)))


def _raise_for_a_line(block: LineBlock, layout: _Layout, cause: ValueError) -> NoReturn:
    for number, line in block.lines():
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise block.malformed(number, f"it is not UTF-8 ({error.reason})") from error
        if not text.strip():
            continue
        fields = _split(text, layout.delimiter)
        if len(fields) != len(layout.names):
            raise block.malformed(number, f"it has {len(fields)} columns, not {len(layout.names)}") from cause
        for column in layout.numeric:
            if not _is_number(fields[column]):
                what = f"holds {fields[column]!r}, which is not a number" if fields[column] else "is empty"
                raise block.malformed(number, f"column {layout.names[column]!r} {what}") from cause
    raise DatasetError(f"{block.path} cannot be read from line {block.first}: {cause}") from cause


FORMAT = RawFormat(
    "table", "a table in text (CSV, TSV, spaces)", _recognise, _read, frozenset({"label", "drop", "header"})
)
