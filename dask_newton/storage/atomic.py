"""A directory that appears only when it is complete."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_target", "recover", "replacing"]

_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, which is renamed to ``path`` when the block ends without an exception.

    After an exception the temporary directory is removed and ``path`` is unchanged. If the process is killed, ``path``
    is unchanged and the temporary directory remains; its name begins with a dot and contains ``.partial-``. Replacing
    takes two renames; if the process is killed between them, the former content is in a directory whose name contains
    ``.old-``.

    Parameters
    ----------
    path : path
        The directory to create.
    overwrite : bool, default False
        Replace ``path``, which must be a Zarr hierarchy or an empty directory.

    Yields
    ------
    pathlib.Path
        A path that does not exist yet, on the file system of ``path``.

    Raises
    ------
    FileExistsError
        If ``path`` exists and may not be replaced.
    FileNotFoundError
        If the parent directory does not exist.
    """
    target = Path(os.path.abspath(path))
    check_target(target, overwrite)
    partial = _home(target) / f".{target.name}.partial-{secrets.token_hex(4)}"
    try:
        yield partial
        _publish(partial, target, overwrite)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_target(target: Path, overwrite: bool) -> None:
    """Raise if the target cannot be written."""
    if not target.parent.is_dir():
        raise FileNotFoundError(f"The folder {target.parent} does not exist; create it first.")
    if not target.exists() and not target.is_symlink():
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists already; remove it, choose another path or give overwrite=True.")
    replaceable = target.is_dir() and not target.is_symlink()
    if replaceable and any(target.iterdir()):
        replaceable = any((target / name).exists() for name in _ZARR_FILES)
    if not replaceable:
        raise FileExistsError(f"{target} is not a Zarr group, so it is not overwritten; remove it yourself.")


def recover(target: Path) -> bool:
    """Restore the former content if a process was killed between the two renames of :func:`replacing`."""
    if target.exists():
        return False
    left = sorted(_home(target).glob(f".{target.name}.old-*"), key=lambda path: path.stat().st_mtime)
    if left:
        os.replace(left[-1], target)
    return bool(left)


def _home(target: Path) -> Path:
    # Inside a Zarr group a temporary directory would be listed as a member, so it is beside the outermost group.
    home = target.parent
    while any((home / name).exists() for name in _ZARR_FILES):
        home = home.parent
    return home


def _publish(partial: Path, target: Path, overwrite: bool) -> None:
    check_target(target, overwrite)  # it may have appeared since writing began
    old = partial.with_name(partial.name.replace(".partial-", ".old-"))
    moved = target.exists()
    if moved:
        os.replace(target, old)
    try:
        os.replace(partial, target)
    except OSError:
        if moved:
            os.replace(old, target)
        raise
    if moved:
        shutil.rmtree(old, ignore_errors=True)
