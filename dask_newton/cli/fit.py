"""``dask-newton fit``: fit a model to a data set."""

from __future__ import annotations

import csv
import time
import warnings
from typing import Any

import click

from dask_newton.cli.common import (
    check_destination,
    compute_on,
    computing_options,
    echo_warnings,
    example,
    megabytes,
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

__all__ = ["fit"]

NOT_CONVERGED = 3


@click.command(
    epilog=example(
        "dask-newton fit mnist.zarr/train --test mnist.zarr/test --C 0.1 --out model.zarr",
        "dask-newton fit data.zarr --solver newton-admm --option rho=0.5 --l1-ratio 1 --workers 4",
        "dask-newton fit bikes.zarr --model poisson --alpha 1e-4",
        "dask-newton fit mnist.zarr/train --model mlp --hidden 400,150 --activation tanh --solver gn-cg",
        "dask-newton fit /shared/data.zarr --scheduler tcp://10.0.0.1:8786 --out model.zarr",
        "dask-newton fit /shared/data.zarr --checkpoint fit.zarr --max-seconds 3000 --out model.zarr",
    )
)
@click.argument("data")
@model_options
@click.option(
    "--solver",
    default="auto",
    show_default=True,
    help="Such as newton-admm, giant, newton-cholesky; for networks gn-cg, lbfgs, adam.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=option_values,
    help="Hyper-parameter of the solver; may be repeated.",
)
@run_options
@computing_options
@click.option("--test", metavar="PATH", help="Data set for the test score.")
@click.option("--out", metavar="PATH", help="Path of the saved model, such as model.zarr.")
@click.option(
    "--checkpoint",
    metavar="PATH",
    help="Save the running fit there, such as fit.zarr; a fit saved there is continued.",
)
@click.option("--history", metavar="FILE", help="Save the record of every iteration as CSV.")
@click.option("--plot", metavar="FILE", help="Save a plot of the convergence (needs matplotlib).")
@click.option("--overwrite", is_flag=True, help="Overwrite --out, --history and --plot.")
@click.option("--verbose", is_flag=True, help="Log every iteration on standard error.")
@click.option("--quiet", is_flag=True, help="Print nothing but warnings and errors.")
@click.pass_context
def fit(
    context: click.Context,
    data: str,
    scheduler: str | None,
    workers: int | None,
    test: str | None,
    out: str | None,
    checkpoint: str | None,
    history: str | None,
    plot: str | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
    solver: str,
    options: dict[str, Any],
    seed: int | None,
    **settings: Any,
) -> None:
    """Fit a linear model or a network to a data set.

    DATA is a Zarr group such as mnist.zarr/train. The default model is a logistic regression, for labels of two
    classes or more; --model mlp is a multi-layer perceptron for labels, mlp-regressor one for numbers.

    A fit that does not converge prints a warning, saves its output all the same, and exits with status 3.
    """
    # Report a wrong name before a cluster is started.
    chosen = solver_options(solver, options, network=is_network(settings["name"]))
    model = make_model("fit", solver=solver, solver_options=chosen, random_state=seed, verbose=int(verbose), **settings)
    for destination in (history, plot):
        check_destination(destination, overwrite)
    check_destination(out, overwrite, zarr=True, inputs=(data, test, checkpoint))
    if plot is not None:
        from dask_newton.cli.plots import require_matplotlib

        require_matplotlib()
    caught: list[warnings.WarningMessage] = []
    with echo_warnings(caught):
        check_data(data, test)
        with progress_bar(quiet=quiet or verbose) as progress, compute_on(scheduler, workers):
            task = progress.add_task("Reading", total=None)

            def show(record: dict[str, Any]) -> None:
                progress.update(task, description=in_words(record))

            began = time.perf_counter()
            with listening(show) as listener:
                model.fit(data, checkpoint=checkpoint)
            seconds = time.perf_counter() - began
            if out is not None:
                from dask_newton.models import save_model

                save_model(model, out, overwrite=overwrite)
            if history is not None:
                _write_history(model.history_, history)
            if plot is not None:
                from dask_newton.cli.plots import plot_certificate

                plot_certificate(model.history_, model.tol, plot)
            if not quiet:
                progress.update(task, description="Scoring")
                scores = {"training": model.score(data)} | ({"test": model.score(test)} if test else {})
    if not quiet:
        _report(model, listener.reason, seconds, scores, [path for path in (out, history, plot) if path])
    if not model.converged_:
        context.exit(NOT_CONVERGED)


def _write_history(history: Any, path: str) -> None:
    names = list(dict.fromkeys(name for record in history for name in record))
    with written_whole(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(history)


def _report(model: Any, reason: str, seconds: float, scores: dict[str, float], saved: list[str]) -> None:
    from dask_newton.tables import new_table

    last, result = model.history_[-1], model.result_
    rows = {
        "solver": f"{model.solver_.name}{reason}",
        "status": f"{result.status.value} after {result.n_iter} iterations",
        "largest gradient entry": f"{result.gradient_norm:.3g} (tol {model.tol:g})",
        "objective": f"{result.value:.12g}",
        "passes over the data": f"{model.n_passes_}",
        "communication rounds": f"{model.n_rounds_}",
        "MB up, MB down": f"{megabytes(last['bytes_up'])}, {megabytes(last['bytes_down'])}",
        "seconds": f"{seconds:.2f} (solver {last['seconds']:.2f})",
        **{f"{model.score_name} ({name})": f"{score:.4f}" for name, score in scores.items()},
        "saved": ", ".join(saved),
    }
    print_table(new_table((name, value) for name, value in rows.items() if value))
