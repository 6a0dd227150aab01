"""Raw files, plain or compressed (detected by their first bytes), and text files as blocks of whole lines."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dask_newton.data.aliases import PathLike, Progress
from dask_newton.storage.kinds import DatasetError

__all__ = ["LineBlock", "first_lines", "line_blocks", "opened", "peek"]

_OPENERS: dict[bytes, tuple[str, Callable[[Any], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda raw: gzip.GzipFile(fileobj=raw)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ": ("xz", lzma.LZMAFile),
}
_BLOCK_BYTES = 4 * 2**20
_PEEKED_BYTES = 2**16
_SHOWN_CHARACTERS = 60
_UTF8_MARK = b"\xef\xbb\xbf"  # the byte order mark that Windows programs write


@contextmanager
def opened(path: PathLike) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file, plain or compressed with gzip, bzip2 or xz.

    Yields
    ------
    content, raw : binary files
        The decompressed content, and the file itself, whose position is the progress of reading. They are the same
        object if the file is not compressed.

    Raises
    ------
    DatasetError
        From the body of the block too, if the compressed data are damaged or end early.
    """
    with open(path, "rb") as raw:
        magic = raw.read(6)
        raw.seek(0)
        kind, opener = next((_OPENERS[start] for start in _OPENERS if magic.startswith(start)), ("", None))
        if opener is None:
            yield raw, raw
            return
        try:
            with opener(raw) as content:
                yield content, raw
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            # Damaged gzip and bzip2 files raise OSError without errno; errors of the disk have one.
            if getattr(error, "errno", None) is not None:
                raise
            raise DatasetError(f"{path} is a damaged or truncated {kind} file ({error}); download it again.") from error


def peek(path: PathLike) -> bytes:
    """Read the first 64 KiB of the decompressed content of a file."""
    with opened(path) as (content, _):
        return content.read(_PEEKED_BYTES)


def first_lines(head: bytes, most: int = 20) -> list[str]:
    """Return the first complete lines that are not blank, of what :func:`peek` read."""
    text = head.removeprefix(_UTF8_MARK).decode(errors="replace")
    lines = text.split("\n")
    whole = lines[:-1] if len(lines) > 1 and len(head) == _PEEKED_BYTES else lines
    return [line.rstrip("\r") for line in whole if line.strip()][:most]


@dataclass(frozen=True)
class LineBlock:
    """Some MiB of whole lines of a text file.

    Attributes
    ----------
    path : path
        The file.
    first : int
        Number of the first line, counted from 1.
    text : bytes
        Lines that end with a newline only.
    """

    path: PathLike
    first: int
    text: bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over the lines and their numbers."""
        return enumerate(self.text.split(b"\n")[:-1], start=self.first)

    def without_first_line(self) -> LineBlock:
        """Return the block after its first line."""
        return LineBlock(self.path, self.first + 1, self.text.partition(b"\n")[2])

    def malformed(self, number: int, reason: str) -> DatasetError:
        """Return an error about a line."""
        line = dict(self.lines())[number].decode(errors="replace")
        shown = line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}..."
        return DatasetError(f"{self.path}, line {number}: {reason}. The line is {shown!r}.")


def line_blocks(paths: Iterable[PathLike], progress: Progress | None = None) -> Iterator[LineBlock]:
    """Read text files in blocks of whole lines; CRLF line endings become LF.

    Parameters
    ----------
    paths : iterable of path
        Plain or compressed files.
    progress : callable, optional
        ``progress(bytes_read, bytes_of_all_files)`` after each block.

    Raises
    ------
    DatasetError
        If a file holds no text or cannot be decompressed.
    """
    paths = list(paths)
    sizes = [Path(path).stat().st_size for path in paths]
    for path, before in zip(paths, (sum(sizes[:i]) for i in range(len(sizes))), strict=True):
        with opened(path) as (content, raw):
            first, rest = 1, b""
            while read := content.read(_BLOCK_BYTES):
                text, newline, rest = (rest + read).rpartition(b"\n")
                if newline:
                    block = _block(path, first, text + newline)
                    first += block.text.count(b"\n")
                    yield block
                    del block, text  # or they stay in memory while the next block is read
                if progress is not None:
                    progress(before + raw.tell(), sum(sizes))
            if rest:
                yield _block(path, first, rest + b"\n")


def _block(path: PathLike, first: int, text: bytes) -> LineBlock:
    if first == 1:
        text = text.removeprefix(_UTF8_MARK)
    block = LineBlock(path, first, text.replace(b"\r\n", b"\n"))
    if b"\0" in text:
        number = first + text[: text.index(b"\0")].count(b"\n")
        raise block.malformed(number, "it holds a NUL byte, so this is not a text file")
    return block
