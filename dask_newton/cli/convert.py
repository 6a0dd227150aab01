"""``dask-newton convert``: convert raw files to a Zarr data set, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dask_newton.cli.common import as_options, check_destination, echo_warnings, example, progress_bar, row_progress

__all__ = ["convert"]

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(exists=True, dir_okay=False)


class _Convert(click.Group):
    """Accepts commands, names of data sets, or files, for which it runs ``files``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from dask_newton.data.formats.named_sets import NAMED_SETS

        return [*super().list_commands(ctx), *NAMED_SETS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from dask_newton.data.formats.named_sets import NAMED_SETS

        if cmd_name in NAMED_SETS:
            return _named_command(cmd_name, NAMED_SETS[cmd_name])
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            return "files", convert_raw_files, args
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Convert,
    context_settings={"ignore_unknown_options": True},
    subcommand_metavar="[RAW... | NAME RAW | COMMAND] OUT",
    epilog=example(
        "dask-newton convert train.libsvm.gz --test test.libsvm.gz data.zarr",
        "dask-newton convert hour.csv --label cnt --drop dteday,casual,registered bikes.zarr",
        "dask-newton convert mnist raw-files mnist.zarr --fetch",
    ),
)
def convert() -> None:
    """Convert raw files to a Zarr data set.

    RAW are files of one format, which is detected and reported; "convert files --help" shows the options. NAME is a
    data set below, and RAW is then the folder with its files.

    The data are read, written and verified one chunk at a time. OUT is written completely or not at all.
    """


def _pairs(example: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, str]]:
    def parse(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        for value in values:
            if not value.partition("=")[0] or "=" not in value:
                raise click.BadParameter(f"{value!r} is not of the form {example}.")
        return {key: text for key, _, text in (value.partition("=") for value in values)}

    return parse


def _writing_options(command: F) -> F:
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace the data set at OUT."),
        click.option(
            "--attr",
            "attrs",
            multiple=True,
            metavar="KEY=VALUE",
            callback=_pairs("KEY=VALUE, such as licence=CC0"),
            help="Metadata such as name, source and licence; may be repeated.",
        ),
        click.option(
            "--chunk-rows",
            type=click.IntRange(1),
            metavar="ROWS",
            help="Rows per chunk, which is a block in a fit; by default 32 MiB of rows.",
        ),
    ):
        command = option(command)
    return command


def _value_options(command: F) -> F:
    for option in (
        click.option("--dtype", type=click.Choice(["float32", "float64"]), help="Type of X."),
        click.option(
            "--scale",
            type=click.FloatRange(0, min_open=True),
            metavar="FACTOR",
            help="Multiply X by this, such as 0.00392156862745098 for 1/255; integers become float32.",
        ),
    ):
        command = option(command)
    return command


@convert.command(
    "files",
    epilog=example(
        "dask-newton convert files a9a.txt --test a9a.t --rename-label -1=0 a9a.zarr",
        "dask-newton convert files hour.csv --label cnt --drop dteday,casual,registered bikes.zarr",
        "dask-newton convert files counts.h5 --labels clusters.csv cells.zarr",
    ),
)
@click.argument("raw", nargs=-1, required=True, type=FILE)
@click.argument("out")
@click.option("--test", multiple=True, type=FILE, help="File of the test split; then OUT has train/ and test/.")
@click.option("--format", metavar="NAME", help="idx, npy, hdf5, matlab, cifar, libsvm, documents or table.")
@click.option("--label", metavar="NAME|NUMBER", help="Tables: column of the label, from 0, -1 the last, or none.")
@click.option("--drop", metavar="NAME,...", default="", help="Tables: columns to leave out, by name or number.")
@click.option("--header/--no-header", default=None, help="Tables: whether the first line names the columns.")
@click.option("--zero-based/--one-based", default=None, help="LIBSVM: first index; by default 0 if a 0 occurs, else 1.")
@click.option("--n-features", type=click.IntRange(1), metavar="N", help="LIBSVM: number of features.")
@click.option("--labels", type=FILE, help="10x Genomics: table of barcode and label, with a header.")
@click.option(
    "--target",
    type=click.Choice(["auto", "classes", "numbers"]),
    default="auto",
    show_default=True,
    help="Kind of target; by default strings and a few distinct integers are classes.",
)
@click.option(
    "--rename-label",
    "rename_labels",
    multiple=True,
    metavar="OLD=NEW",
    callback=_pairs("OLD=NEW, such as -1=0"),
    help="Replace a label; may be repeated.",
)
@_value_options
@_writing_options
def convert_raw_files(raw: tuple[str, ...], out: str, drop: str, **options: Any) -> None:
    """Convert files of one format; the word "files" may be omitted.

    \b
    idx        images and labels of MNIST and its relatives
    npy        .npy and .npz of NumPy, X and y; save_npz of SciPy
    hdf5       10x Genomics, AnnData, or data sets X and y (needs h5py)
    matlab     .mat with X and y
    cifar      the binary version of CIFAR-10 and CIFAR-100
    libsvm     label index:value index:value ...
    documents  label TAB words; X counts the words of the training split
    table      CSV, TSV, or columns separated by spaces

    Text and IDX files may be compressed with gzip, bzip2 or xz. Several text files are concatenated.
    """  # noqa: D301
    from dask_newton.data import convert_files

    check_destination(out, options["overwrite"], zarr=True, inputs=(*raw, *options["test"]))
    columns = tuple(name for name in drop.split(",") if name)
    with echo_warnings(), progress_bar() as progress:
        report = row_progress(progress, "Converting")
        convert_files(raw, out, drop=columns, progress=report, tell=_say, **options)
    _tell(out)


def _named_command(name: str, known: Any) -> click.Command:
    """Make the command that converts a named data set."""

    @click.command(name, help=f"{known.title}.\n\nRAW is a folder with {known.expected}; see {known.source}.")
    @click.argument("raw", metavar="RAW")
    @click.argument("out")
    @click.option("--fetch", is_flag=True, help="Download missing files into RAW.")
    @click.option("--address", metavar="URL", help="With --fetch: address of the files, such as a mirror.")
    @_value_options
    @_writing_options
    def command(raw: str, out: str, fetch: bool, address: str | None, **options: Any) -> None:
        from dask_newton.data import convert_named, fetch_named

        check_destination(out, options["overwrite"], zarr=True, inputs=(raw,))
        with echo_warnings(), progress_bar() as progress:
            if fetch:
                heard = row_progress(progress, "Fetching")
                fetch_named(name, raw, address=address, progress=heard, tell=_say)
            report = row_progress(progress, "Converting")
            convert_named(name, raw, out, progress=report, tell=_say, **options)
        _tell(out)

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
@click.option("--images", type=FILE, required=True, help="Images of the training split, or of the only one.")
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
def convert_npy_files(out: str, x_file: str, y_file: str | None, weight_file: str | None, **options: Any) -> None:
    """Convert NumPy's .npy files, which may be larger than memory.

    Integer and string labels are treated as classes.
    """
    from dask_newton.data import save_dataset
    from dask_newton.data.formats.npy import open_npy

    X, y, weight = (None if file is None else open_npy(file) for file in (x_file, y_file, weight_file))
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


def _say(sentence: str) -> None:
    click.echo(as_options(sentence))


def _tell(out: str) -> None:
    from dask_newton.data import dataset_info

    info = dataset_info(out)
    splits = info.get("splits", {"": info})
    sizes = [f"{name} {split['n_samples']} x {split['n_features']}".strip() for name, split in splits.items()]
    click.echo(f"Wrote {out}: {', '.join(sizes)}.")
