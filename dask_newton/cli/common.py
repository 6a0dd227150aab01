"""Shared parts of the commands: error messages, progress, printing of tables, clusters."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from distributed import Client
    from rich.progress import Progress
    from rich.table import Table

__all__ = [
    "Sentences",
    "as_options",
    "check_destination",
    "compute_on",
    "computing_options",
    "echo_warnings",
    "example",
    "megabytes",
    "print_table",
    "progress_bar",
    "row_progress",
    "written_whole",
]

F = TypeVar("F", bound=Callable[..., Any])

# Raised for wrong input, a full disk or a lost cluster. Anything else is a bug, and gets a traceback.
_EXPECTED = (ValueError, OSError, MemoryError)

CONNECT_SECONDS = 10


class Sentences(click.Group):
    """A group of commands that report an expected error in one sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.params.get("debug") or not (isinstance(error, _EXPECTED) or _workers_died(error)):
                raise
            raise click.ClickException(_sentence(error)) from error


def _workers_died(error: BaseException) -> bool:
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(error, distributed.KilledWorker)


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "Out of memory; use smaller chunks (--chunk-rows when converting) or more memory."
    if _workers_died(error):
        return (
            "Several workers died one after the other while they computed the same task, probably because memory ran "
            f"out; use smaller chunks or more memory per worker. {error}"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'}: {error.strerror}."
    return as_options(" ".join(str(error).split())) or type(error).__name__


# Messages of the library name its keywords; the command line has options instead.
_OPTIONS = {
    "overwrite=True": "--overwrite",
    'target="numbers"': "--target numbers",
    'target="classes"': "--target classes",
    "zero_based=True": "--zero-based",
    "rename_labels={OLD: NEW}": "--rename-label OLD=NEW",
    "fetch_named": "--fetch",
}


def as_options(sentence: str) -> str:
    """Replace the keywords in a message of the library by the options of the command line."""
    for keyword, option in _OPTIONS.items():
        sentence = sentence.replace(keyword, option)
    return re.sub(r"\b(drop|format|label)=\"?([\w,.-]*\w)?\"?", _as_option, sentence)


def _as_option(match: re.Match[str]) -> str:
    return f"--{match[1]} {match[2] or ''}".strip()


def example(*lines: str) -> str:
    """Return the examples at the end of the help of a command."""
    # click keeps the lines of a paragraph that begins with a backspace.
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def check_destination(
    path: str | None, overwrite: bool, *, zarr: bool = False, inputs: tuple[str | None, ...] = ()
) -> None:
    """Refuse a path that cannot be written, before the work begins; never replace an input."""
    if path is None:
        return
    full = os.path.abspath(path)
    folder = os.path.dirname(full)
    for given in inputs:
        if given is not None and f"{os.path.abspath(given)}{os.sep}".startswith(f"{full}{os.sep}"):
            raise FileExistsError(f"{path} holds the input {given}; choose another path to write to.")
    if zarr:
        from pathlib import Path

        from dask_newton.storage.atomic import check_target

        check_target(Path(full), overwrite)
    elif not os.path.isdir(folder):
        raise FileNotFoundError(f"The folder {folder} does not exist; create it first.")
    elif os.path.isdir(full):
        raise FileExistsError(f"{path} is a folder; give the name of a file.")
    elif os.path.exists(full) and not overwrite:
        raise FileExistsError(f"{path} exists already; remove it, choose another path or give --overwrite.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder {folder} may not be written to.")


@contextmanager
def written_whole(path: str) -> Iterator[str]:
    """Yield a temporary path to write to; the file is moved to ``path`` on success, and removed otherwise."""
    partial = f"{path}.partial-{os.getpid()}"
    try:
        yield partial
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


@contextmanager
def echo_warnings(seen: list[warnings.WarningMessage] | None = None) -> Iterator[None]:
    """Print warnings as sentences on standard error; collect them in ``seen``."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            yield
        finally:
            for warning in caught:
                if issubclass(warning.category, UserWarning):  # not deprecations, which are for developers
                    click.echo(f"Warning: {' '.join(str(warning.message).split())}", err=True)
            if seen is not None:
                seen += caught


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Progress]:
    """Show progress on standard error if it is a terminal, and remove it at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        yield progress


def row_progress(progress: Progress, description: str) -> Callable[[int, int | None], None]:
    """Return a callable for ``save_dataset(progress=...)``."""
    task = progress.add_task(description, total=None)

    def report(done: int, total: int | None) -> None:
        progress.update(task, completed=done, total=total)

    return report


def print_table(table: Table, *, shorten: bool = True) -> None:
    """Print to standard output; a file or a pipe gets plain text that is wide enough.

    In a narrow terminal cells are shortened, or lines are wrapped if ``shorten`` is false.
    """
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal or not shorten:
        console.width = max(console.width, 120)
    console.print(table)


def megabytes(n_bytes: float) -> str:
    """Return a number of bytes in MB, with three digits."""
    return f"{n_bytes / 1e6:.3g}" if n_bytes < 1e9 else f"{n_bytes / 1e6:.0f}"


def computing_options(command: F) -> F:
    """Add the options that say where to compute."""
    command = click.option(
        "--workers",
        type=click.IntRange(1),
        metavar="N",
        help="Compute in N processes on this machine; by default in threads of this process.",
    )(command)
    return click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Compute on the Dask cluster with this scheduler, such as tcp://10.0.0.1:8786.",
    )(command)


@contextmanager
def compute_on(scheduler: str | None, workers: int | None) -> Iterator[Client | None]:
    """Connect to a cluster, or start one, for the duration of the block."""
    if scheduler is not None and workers is not None:
        raise click.UsageError("Give either --scheduler or --workers, not both.")
    if scheduler is None and workers is None:
        yield None
        return
    import dask
    from distributed import Client, LocalCluster

    if scheduler is not None:
        try:
            # Not as default, since a client that cannot connect would remain the default client.
            client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise click.ClickException(
                f"No Dask scheduler answers at {scheduler!r} within {CONNECT_SECONDS} seconds; give the "
                "address that it printed when it started, such as tcp://10.0.0.1:8786."
            ) from error
        with client, dask.config.set(scheduler=client):
            yield client
        return
    threads = max(1, (os.cpu_count() or 1) // (workers or 1))
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            # Avoids a warning when the usual HTTP port is in use.
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        dask.config.set(scheduler=client),
    ):
        yield client
