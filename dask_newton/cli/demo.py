"""``dask-newton demo``: three solvers on real data and two worker processes, in less than a minute."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dask_newton.cli.common import compute_on, example, megabytes, print_table, progress_bar

if TYPE_CHECKING:
    import numpy as np

__all__ = ["demo"]

SOLVERS = ("newton-admm", "giant", "newton-cholesky")
N_TRAIN, CHUNK_ROWS, WORKERS = 1500, 375, 2
GAP = 1e-6


@click.command(
    epilog=example(
        "dask-newton demo",
        "dask-newton demo --keep digits-demo",
    )
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Keep the data and the plot in this folder; by default the data are temporary.",
)
@click.option("--no-plot", is_flag=True, help="Do not save a plot.")
def demo(keep: str | None, no_plot: bool) -> None:
    """Try three solvers on two processes.

    Writes the data to Zarr, starts a cluster of two processes on this machine, fits, compares with
    scikit-learn's optimum, and saves a plot of the convergence as convergence.png in this folder (needs
    matplotlib). Takes well under a minute.
    """
    import numpy as np
    from sklearn import linear_model
    from threadpoolctl import threadpool_limits

    from dask_newton.tables import new_table

    with _folder(keep) as folder, progress_bar() as progress:
        task = progress.add_task("Writing the digits to Zarr", total=len(SOLVERS) + 3)
        path, (X, y), (X_test, y_test) = _write_digits(folder)
        progress.update(task, advance=1, description="scikit-learn's optimum")
        began = time.perf_counter()
        with threadpool_limits(1):  # more threads are slower for such a small problem, much slower on a busy machine
            best = linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(X, y)
        optimum = _objective(best, X, y)
        seconds = time.perf_counter() - began
        rows: list[tuple[str, ...]] = [
            ("scikit-learn", f"{optimum:.8f}", "", f"{best.score(X_test, y_test):.4f}", "", "", "", f"{seconds:.2f}")
        ]
        models = {}
        progress.update(task, advance=1, description=f"Starting {WORKERS} worker processes")
        with compute_on(None, WORKERS) as client:
            assert client is not None
            client.run(_import_library)  # otherwise the first solver would be charged for the import
            progress.update(task, advance=1)
            for name in SOLVERS:
                progress.update(task, description=f"Fitting with {name}")
                models[name], seconds = _fit(name, path)
                rows.append(_row(name, models[name], _objective(models[name], X, y), optimum, path, seconds))
                progress.update(task, advance=1)
    gaps = {name: (_objective(model, X, y) - optimum) / optimum for name, model in models.items()}
    title = (
        f"Multinomial logistic regression, C=1, {len(X)} digits in {-(-len(X) // CHUNK_ROWS)} blocks, "
        f"{WORKERS} processes"
    )
    columns = ("solver", "objective", "gap", "accuracy", "passes", "rounds", "MB sent", "seconds")
    print_table(new_table(rows, columns, title=title))
    click.echo(
        f"gap: relative distance of the objective from scikit-learn's optimum; accuracy: on {len(X_test)} test digits."
    )
    if keep is not None:
        click.echo(f"Data: {path} (try: dask-newton info {path})")
    if not no_plot:
        _save_plot(models, optimum, Path(keep or "."))
    worst = max(gaps, key=lambda name: abs(gaps[name]))
    if not np.abs(gaps[worst]) < GAP:
        raise click.ClickException(f"{worst} is {gaps[worst]:.1e} from the optimum, more than {GAP:g}.")


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="dask-newton-demo-") as folder:
            yield Path(folder)
        return
    if (Path(keep) / "digits.zarr").exists():
        raise FileExistsError(f"{keep} already contains digits.zarr; choose another folder for --keep.")
    Path(keep).mkdir(parents=True, exist_ok=True)
    yield Path(keep)


def _write_digits(folder: Path) -> tuple[Path, tuple[Any, Any], tuple[Any, Any]]:
    import numpy as np
    from sklearn.datasets import load_digits

    from dask_newton.data import save_splits

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order] / 16, y[order]
    train, test = (X[:N_TRAIN], y[:N_TRAIN]), (X[N_TRAIN:], y[N_TRAIN:])
    attrs = {"name": "digits", "source": "scikit-learn, load_digits", "licence": "CC BY 4.0"}
    path = save_splits(
        folder / "digits.zarr",
        {"train": train, "test": test},
        classes="auto",
        chunk_rows=CHUNK_ROWS,
        attrs=attrs,
    )
    return path, train, test


def _import_library() -> None:
    import dask_newton  # noqa: F401


def _fit(name: str, path: Path) -> tuple[Any, float]:
    from dask_newton import LogisticRegression

    began = time.perf_counter()
    model = LogisticRegression(solver=name).fit(path / "train")
    return model, time.perf_counter() - began


def _objective(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Return the objective of LogisticRegression with C = 1, computed alike for all rows of the table."""
    import numpy as np
    from scipy.special import logsumexp

    margins = X @ model.coef_.T + model.intercept_
    loss = logsumexp(margins, axis=1) - margins[np.arange(len(y)), y]
    return float(loss.mean() + 0.5 * np.vdot(model.coef_, model.coef_) / len(y))


def _row(name: str, model: Any, value: float, optimum: float, path: Path, seconds: float) -> tuple[str, ...]:
    last = model.history_[-1]
    return (
        name,
        f"{value:.8f}",
        f"{(value - optimum) / optimum:.1e}",
        f"{model.score(path / 'test'):.4f}",
        str(model.n_passes_),
        str(model.n_rounds_),
        megabytes(last["bytes_up"] + last["bytes_down"]),
        f"{seconds:.2f}",
    )


def _save_plot(models: dict[str, Any], optimum: float, folder: Path) -> None:
    """Save the plot; a failure is reported and does not fail the demo."""
    from dask_newton.cli.plots import plot_gaps, require_matplotlib

    target = folder / "convergence.png"
    try:
        require_matplotlib()
        histories = {name: model.history_ for name, model in models.items()}
        plot_gaps(histories, optimum, "Digits: three solvers against communication rounds", str(target))
        click.echo(f"Plot: {os.path.abspath(target)}")
    except ValueError as error:
        click.echo(str(error))
    except OSError as error:
        click.echo(f"The plot was not saved: {target}: {error.strerror}.")
