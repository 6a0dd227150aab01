"""The command line: ``dask-newton``, and ``dask newton``.

One file per command. Dask imports this module for each of its own commands, so heavy imports are inside the commands.
"""

from __future__ import annotations

import click

from dask_newton.cli.common import Sentences, example
from dask_newton.cli.compare import compare
from dask_newton.cli.convert import convert
from dask_newton.cli.demo import demo
from dask_newton.cli.explain import explain
from dask_newton.cli.fit import fit
from dask_newton.cli.info import info
from dask_newton.cli.predict import predict

__all__ = ["main"]


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from dask_newton import __version__

        click.echo(f"dask_newton {__version__}")
        context.exit()


# Dask registers the group under its own name, as `dask newton`.
@click.group(
    "newton",
    cls=Sentences,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example(
        "dask-newton demo",
        "dask-newton convert npy --X X.npy --y y.npy data.zarr",
        "dask-newton fit data.zarr --solver newton-admm --out model.zarr",
        "dask-newton compare data.zarr --solvers giant,newton-admm --plot gaps.png",
        "dask-newton predict model.zarr data.zarr --out predictions.zarr",
    ),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Fit regularised linear models on chunked arrays with few rounds of communication.

    Exit status: 0 success; 1 wrong input, explained on standard error; 2 wrong command line; 3 a fit, or every
    solver of a comparison, did not converge.
    """


for command in (demo, convert, explain, fit, compare, predict, info):
    main.add_command(command)
