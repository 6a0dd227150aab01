"""Checks of arrays on disk: missing chunks, truncated files, wrong values.

Zarr reads a missing chunk as the fill value without any error, so a model could be trained on zeros after an
incomplete copy. The writer therefore stores every chunk, even one of zeros only, and its checksum.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from dask_newton.storage.checksums import checksum
from dask_newton.storage.kinds import DATASET, DatasetError

__all__ = [
    "check_chunks_present",
    "check_codecs",
    "local_path",
    "members_of",
    "read_chunk",
    "stored_bytes",
    "verify_group",
    "written_here",
]

_METADATA_FILES = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup"})


def local_path(node: zarr.Group | zarr.Array) -> Path | None:
    """Return the directory of a group or array; None if its store is not a local directory."""
    if isinstance(node.store, LocalStore):
        return Path(os.path.abspath(node.store.root)) / node.path
    return None


def stored_bytes(array: zarr.Array) -> int | None:
    """Return the bytes of the chunk files of an array; None if they are not files."""
    folder = local_path(array)
    if folder is None:
        return None
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(file.stat().st_size for file in files if file.name not in _METADATA_FILES)


def written_here(group: zarr.Group) -> bool:
    """Whether this library wrote the group, a data set."""
    return DATASET.key in group.attrs


def members_of(group: zarr.Group, where: str) -> dict[str, zarr.Array | zarr.Group]:
    """Return the arrays and groups of a group by name, sorted; hidden ones are left out."""
    try:
        members = sorted(group.members())
    except Exception as error:  # zarr raises many types of errors for invalid metadata
        raise DatasetError(f"The metadata inside {where} cannot be read: {error}") from error
    return {name: member for name, member in members if not name.startswith(".")}


def check_codecs(array: zarr.Array, where: str) -> None:
    """Refuse an array whose decoding could execute code."""
    # Zarr itself refuses pickle for most layouts; this check covers all.
    own_words = ("attributes", "dimension_names")
    encoding = {key: entry for key, entry in array.metadata.to_dict().items() if key not in own_words}
    if "pickle" in json.dumps(encoding, default=str).lower():
        raise DatasetError(
            f"The array {array.basename!r} of {where} is stored with pickle, which can run any code when it is read, "
            "so it is not read. Write it again as numbers or strings."
        )


def check_chunks_present(group: zarr.Group, array: zarr.Array, where: str) -> None:
    """Refuse an array with missing or truncated chunk files.

    Other writers leave out chunks that hold the fill value only, so in their groups missing chunks are a warning,
    unless all are missing.
    """
    present, expected = array.nchunks_initialized, array.nchunks
    if present < expected:
        finding = f"{expected - present} of the {expected} chunks of {array.basename!r} in {where} are missing"
        if written_here(group) or present == 0:
            raise DatasetError(f"{finding}: the copy or the writing was not completed. Copy or write it again.")
        warnings.warn(
            f"{finding} and are read as {array.fill_value!r}. That is right if its writer leaves out empty chunks; "
            "otherwise it is half-written: write it again.",
            UserWarning,
            stacklevel=4,
        )
    noted, found = array.attrs.get("stored_bytes"), stored_bytes(array)
    if written_here(group) and noted is not None and found is not None and noted != found:
        raise DatasetError(
            f"The chunks of {array.basename!r} in {where} take {found} bytes, but {noted} were written: a file is "
            "truncated or was changed. Copy or write it again."
        )


def read_chunk(array: zarr.Array, start: int, stop: int, where: str) -> np.ndarray:
    """Read rows; any error of Zarr becomes a DatasetError."""
    try:
        return np.asarray(array[start:stop])
    except Exception as error:  # codecs may raise errors of any type
        raise DatasetError(
            f"Rows {start} to {stop - 1} of {array.basename!r} in {where} cannot be read, the file is damaged: {error}"
        ) from error


def verify_group(group: zarr.Group, where: str) -> int:
    """Read every chunk of every array and compare it with its checksum.

    Parameters
    ----------
    group : zarr.Group
        A group with checksums.
    where : str
        Its name in messages.

    Returns
    -------
    int
        Number of chunks that were compared.
    """
    n_chunks = 0
    for name, array in members_of(group, where).items():
        if isinstance(array, zarr.Group):
            n_chunks += verify_group(array, f"{where}/{name}") if "encoding-type" in array.attrs else 0
            continue
        if "checksums" not in array.attrs:
            raise DatasetError(
                f"The array {name!r} of {where} has no checksums, because another program wrote it, so it cannot be "
                "verified. Save it again with this library."
            )
        check_codecs(array, where)
        check_chunks_present(group, array, where)
        attributes: dict[str, Any] = array.attrs.asdict()
        rows, noted = attributes["checksum_rows"], attributes["checksums"]
        if len(noted) != -(-array.shape[0] // rows):
            raise DatasetError(f"{name!r} of {where} has {array.shape[0]} rows, but checksums of {len(noted)} chunks.")
        for chunk, expected in enumerate(noted):
            start, stop = chunk * rows, min((chunk + 1) * rows, array.shape[0])
            if checksum(read_chunk(array, start, stop, where)) != expected:
                raise DatasetError(
                    f"Chunk {chunk} of {name!r} in {where} (rows {start} to {stop - 1}) differs from what was written. "
                    "Copy or write it again."
                )
            n_chunks += 1
    return n_chunks
