"""Download the published files of a data set and check their checksums."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from dask_newton.data.aliases import Progress
from dask_newton.data.formats.named import missing_files
from dask_newton.data.formats.named_sets import NAMED_SETS, NamedSet
from dask_newton.storage.kinds import DatasetError

__all__ = ["fetch_named"]


def fetch_named(
    name: str | NamedSet,
    folder: str | os.PathLike[str],
    *,
    address: str | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], object] | None = None,
) -> list[Path]:
    """Download the files of a named data set that a folder does not have yet.

    A file appears in the folder only after its checksum was verified.

    Parameters
    ----------
    name : str or NamedSet
        A key of ``NAMED_SETS``.
    folder : path
        Where to put the files; created if it does not exist.
    address : str, optional
        URL of the files, for example of a mirror; by default the published one.
    progress : callable, optional
        ``progress(bytes_done, bytes_of_this_file)`` while downloading.
    tell : callable, optional
        ``tell(sentence)`` is called for each file that is fetched.

    Returns
    -------
    list of pathlib.Path
        The files that were fetched.

    Raises
    ------
    DatasetError
        If the set cannot be fetched, pooch is not installed, a checksum is wrong, or a download fails.
    """
    known = NAMED_SETS[name] if isinstance(name, str) else name
    if not known.downloads:
        raise DatasetError(
            f"{known.title} cannot be fetched, as no public address with a checksum is known; get it from "
            f"{known.source}."
        )
    missing = missing_files(known, Path(folder))
    wanted = [d for d in known.downloads if missing and (known.archive is not None or d.name in missing)]
    if not wanted:
        return []
    try:
        import pooch
    except ImportError as error:
        raise DatasetError("Fetching needs pooch: pip install 'dask-newton[fetch]'.") from error
    pooch.get_logger().setLevel(logging.WARNING)
    Path(folder).mkdir(parents=True, exist_ok=True)
    fetched = []
    for download in wanted:
        url = (address or known.address or "").rstrip("/") + "/" + download.name
        if tell is not None:
            tell(f"Fetching {url}.")
        downloader = pooch.HTTPDownloader(progressbar=_Bar(progress) if progress else False)
        try:
            path = pooch.retrieve(url, download.checksum, download.name, folder, downloader=downloader)
            fetched.append(Path(path))
        except ValueError as error:
            raise DatasetError(f"{url} is not the file that was published: its checksum differs. {error}") from error
        except OSError as error:
            raise DatasetError(f"{url} cannot be fetched: {error}.") from error
    return fetched


class _Bar:
    """The interface that pooch expects of a progress bar."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.total, self.done = progress, 0, 0

    def update(self, n_bytes: int) -> None:
        self.done = min(self.done + n_bytes, self.total)
        self.progress(self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass
