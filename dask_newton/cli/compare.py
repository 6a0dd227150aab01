"""``dask-newton compare``: compare solvers on a data set."""

from __future__ import annotations

from typing import Any

import click

from dask_newton.cli.common import (
    check_destination,
    compute_on,
    computing_options,
    echo_warnings,
    example,
    print_table,
    progress_bar,
    written_whole,
)
from dask_newton.cli.listening import in_words, listening
from dask_newton.cli.model_options import (
    check_data,
    is_network,
    make_model,
    model_options,
    option_values,
    run_options,
    solver_options,
)

__all__ = ["compare"]

NOTHING_CERTIFIED = 3


@click.command(
    epilog=example(
        "dask-newton compare mnist.zarr/train --test mnist.zarr/test --max-seconds 60 --plot mnist.png",
        "dask-newton compare data.zarr --solvers giant,newton-admm --m 16 --option newton-admm.rho=0.5",
        "dask-newton compare mnist.zarr/train --model mlp --hidden 40 --solvers gn-cg,lbfgs,adam --max-iter 20",
    )
)
@click.argument("data")
@click.option(
    "--solvers",
    default="all",
    show_default=True,
    metavar="NAME,...",
    help='Such as giant,newton-admm; "all" means those that can minimise the objective.',
)
@click.option(
    "--m",
    "n_blocks",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Number of blocks; the rows keep their order.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="SOLVER.KEY=VALUE",
    callback=option_values,
    help="Hyper-parameter of a solver; may be repeated.",
)
@model_options
@run_options
@computing_options
@click.option("--test", metavar="PATH", help="Data set for the score.")
@click.option("--plot", metavar="FILE", help="Save a plot of the gaps (needs matplotlib).")
@click.option("--csv", metavar="FILE", help="Save the table as CSV.")
@click.option("--history", metavar="FILE", help="Save every iteration of every solver as CSV.")
@click.option("--overwrite", is_flag=True, help="Overwrite the files --plot, --csv and --history.")
@click.option("--quiet", is_flag=True, help="Print nothing but warnings and errors.")
@click.pass_context
def compare(
    context: click.Context,
    data: str,
    solvers: str,
    n_blocks: int,
    options: dict[str, Any],
    scheduler: str | None,
    workers: int | None,
    test: str | None,
    plot: str | None,
    csv: str | None,
    history: str | None,
    overwrite: bool,
    quiet: bool,
    seed: int | None,
    **settings: Any,
) -> None:
    """Fit one model with several solvers and compare their results and costs.

    DATA is a Zarr group such as mnist.zarr/train. It is read once, and all solvers run on the same blocks.

    A solver that refuses the objective, fails or exhausts a budget is a row with the reason. The exit status is 3 if
    no solver reached the tolerance.
    """
    from dask_newton.comparison import compare as compare_solvers

    chosen = _solvers(solvers, options, is_network(settings["name"]), settings["batch_size"])
    model = make_model("compare", random_state=seed, **settings)
    for destination in (plot, csv, history):
        check_destination(destination, overwrite, inputs=(data, test))
    if plot is not None:
        from dask_newton.cli.plots import require_matplotlib

        require_matplotlib()
    with echo_warnings():
        check_data(data, test)
        with progress_bar(quiet=quiet) as progress, compute_on(scheduler, workers):
            task = progress.add_task("Reading", total=None)

            def show(record: dict[str, Any]) -> None:
                label, turn, all_of_them = listener.turn
                text = f"{label}: {in_words(record)}"
                progress.update(task, description=text, completed=turn - 1, total=all_of_them)

            with listening(show) as listener:
                found = compare_solvers(model, data, solvers=chosen, n_blocks=n_blocks, X_test=test)
    _save(found, plot, csv, history)
    if not quiet:
        from dask_newton.tables import new_table

        columns, *rows = found.cells()
        print_table(new_table(rows, columns, title=f"{found.title}, {n_blocks} blocks"), shorten=False)
        for remark in found.remarks():
            click.echo(remark)
    if not found.certified:
        context.exit(NOTHING_CERTIFIED)


def _solvers(names: str, options: dict[str, Any], network: bool, batch_size: int | None) -> Any:
    """Return the solvers to compare, by name."""
    from dask_newton.estimators.network import BATCH_SIZE
    from dask_newton.estimators.options import has_option, make_solver
    from dask_newton.solvers import SOLVERS
    from dask_newton.solvers.named import solver_classes, with_options

    listed = [name.strip() for name in names.split(",") if name.strip()]
    if not listed:
        raise click.UsageError("--solvers is empty; give names such as giant,newton-admm, or all.")
    everything = listed == ["all"]
    if everything:
        listed = list(solver_classes(network=True) if network else SOLVERS)
    each: dict[str, dict[str, Any]] = {name: {} for name in listed}
    for key, value in options.items():
        solver, dot, option = key.partition(".")
        if not dot or solver not in each:
            raise click.UsageError(
                f"--option {key}={value}: begin with the name of a compared solver, such as "
                f"{next(iter(each))}.KEY=VALUE."
            )
        each[solver][option] = value
    made: dict[str, Any] = {}
    for name, given in each.items():
        solver_options(name, given, network=network)
        made[name] = (make_solver(name, given, network=network) if given else None) or name
        if given and network and "batch_size" not in given and has_option(made[name], "batch_size"):
            made[name] = with_options(made[name], {"batch_size": batch_size or BATCH_SIZE})
    return "all" if everything and not options else made


def _save(found: Any, plot: str | None, csv: str | None, history: str | None) -> None:
    if plot is not None:
        from dask_newton.cli.plots import picture_format

        with written_whole(plot) as partial:
            found.plot(partial, form=picture_format(plot))
    if csv is not None:
        with written_whole(csv) as partial:
            found.save(partial)
    if history is not None:
        with written_whole(history) as partial:
            found.histories().to_csv(partial)
