"""``dask-newton convert``: raw files -> a Zarr data set, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dask_newton.cli.common import echo_warnings, example, progress_bar, row_progress

__all__ = ["convert"]

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(exists=True, dir_okay=False)


@click.group(
    epilog=example(
        "dask-newton convert npy --X X.npy --y y.npy data.zarr",
        "dask-newton convert idx --images train-images.gz --labels train-labels.gz mnist.zarr",
    )
)
def convert() -> None:
    """Convert raw files to a Zarr data set.

    The data are read, written and verified a chunk at a time, and appear at OUT as a whole or not at all.
    """


def _attribute(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if not value.partition("=")[0] or "=" not in value:
            raise click.BadParameter(f"{value!r} is not of the form KEY=VALUE, such as licence=CC0.")
    return {key: text for key, _, text in (value.partition("=") for value in values)}


def _writing_options(command: F) -> F:
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace the data set at OUT."),
        click.option(
            "--attr",
            "attrs",
            multiple=True,
            metavar="KEY=VALUE",
            callback=_attribute,
            help="Note name, source, licence and the like; may be given several times.",
        ),
        click.option(
            "--chunk-rows",
            type=click.IntRange(1),
            metavar="ROWS",
            help="Rows of a chunk, a block when fitting; by default as many as take 32 MiB.",
        ),
    ):
        command = option(command)
    return command


@convert.command(
    "idx",
    epilog=example(
        "dask-newton convert idx --scale 0.00392156862745098 \\",
        "  --images train-images-idx3-ubyte.gz --labels train-labels-idx1-ubyte.gz \\",
        "  --test-images t10k-images-idx3-ubyte.gz --test-labels t10k-labels-idx1-ubyte.gz mnist.zarr",
    ),
)
@click.argument("out")
@click.option("--images", type=FILE, required=True, help="Images of the only, or the training, split.")
@click.option("--labels", type=FILE, required=True, help="Their labels.")
@click.option("--test-images", type=FILE, help="Images of the test split; then OUT has train/ and test/.")
@click.option("--test-labels", type=FILE, help="Their labels.")
@click.option(
    "--scale",
    type=click.FloatRange(0, min_open=True),
    metavar="FACTOR",
    help="Multiply pixels by this, such as 0.00392156862745098 for 1/255; makes float32.",
)
@_writing_options
def convert_idx_files(
    out: str,
    images: str,
    labels: str,
    test_images: str | None,
    test_labels: str | None,
    scale: float | None,
    **options: Any,
) -> None:
    """Convert IDX files, the format of MNIST, plain or gzip'd."""
    from dask_newton.data import convert_idx

    if (test_images is None) != (test_labels is None):
        raise click.UsageError("--test-images and --test-labels go together; give both or none.")
    sources: tuple[Any, Any] = (images, labels)
    if test_images is not None:
        sources = {"train": images, "test": test_images}, {"train": labels, "test": test_labels}
    with echo_warnings(), progress_bar() as progress:
        convert_idx(*sources, out, scale=scale, progress=row_progress(progress, "Converting"), **options)
    _tell(out)


@convert.command(
    "npy",
    epilog=example(
        "dask-newton convert npy --X X.npy --y y.npy --attr source=https://example.org data.zarr",
    ),
)
@click.argument("out")
@click.option("--X", "x_file", type=FILE, required=True, help="A .npy file of shape (samples, features).")
@click.option("--y", "y_file", type=FILE, help="A .npy file of one label per sample.")
@click.option("--sample-weight", "weight_file", type=FILE, help="A .npy file of one weight per sample.")
@_writing_options
def convert_npy_files(
    out: str, x_file: str, y_file: str | None, weight_file: str | None, **options: Any
) -> None:
    """Convert NumPy's .npy files, which may be larger than memory.

    Labels that are integers or strings are taken for classes.
    """
    from dask_newton.data import save_dataset

    X, y, weight = (_open_npy(file) for file in (x_file, y_file, weight_file))
    classes = "auto" if y is not None and y.ndim == 1 and y.dtype.kind in "biuU" else None
    with echo_warnings(), progress_bar() as progress:
        save_dataset(
            out,
            X,
            y,
            sample_weight=weight,
            classes=classes,
            progress=row_progress(progress, "Converting"),
            **options,
        )
    _tell(out)


def _open_npy(path: str | None) -> Any:
    if path is None:
        return None
    import numpy as np

    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(f"{path} is not a .npy file of NumPy; write one with numpy.save.")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}. Save it again as numbers or strings.") from error


def _tell(out: str) -> None:
    from dask_newton.data import dataset_info

    info = dataset_info(out)
    splits = info.get("splits", {"": info})
    sizes = [f"{name} {split['n_samples']} x {split['n_features']}".strip() for name, split in splits.items()]
    click.echo(f"Wrote {out}: {', '.join(sizes)}.")
