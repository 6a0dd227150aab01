"""``dask-newton explain``: explain the choice of solver for a data set."""

from __future__ import annotations

from typing import Any

import click

from dask_newton.cli.common import compute_on, computing_options, echo_warnings, example, print_table
from dask_newton.cli.model_options import check_data, is_network, make_model, model_options

__all__ = ["explain"]


@click.command(
    epilog=example(
        "dask-newton explain mnist.zarr/train --C 0.1",
        "dask-newton explain data.zarr --l1-ratio 1 --scheduler tcp://10.0.0.1:8786",
    )
)
@click.argument("data")
@model_options
@computing_options
def explain(data: str, scheduler: str | None, workers: int | None, **settings: Any) -> None:
    """Explain which solver is chosen for a data set on this machine.

    DATA is a Zarr group such as mnist.zarr/train. It is read once, and a few short passes measure latency and
    arithmetic. The table shows the expected cost of every solver; nothing is fitted.
    """
    from dask_newton.auto.explanation import COLUMNS
    from dask_newton.tables import new_table

    if is_network(settings["name"]):
        raise ValueError("explain is for linear models; for networks, dask-newton fit reports the choice.")
    model = make_model("explain", **settings)
    with echo_warnings():
        check_data(data)
        with compute_on(scheduler, workers):
            explanation = model.explain(data)
    print_table(new_table(explanation.facts().items()))
    click.echo()
    print_table(new_table(explanation.rows(), COLUMNS, words=(0, len(COLUMNS) - 1)))
    click.echo(f"\n{explanation.conclusion()}")
