"""``dask-newton predict``: predict a data set with a model, in bounded memory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import click

from dask_newton.cli.common import (
    check_destination,
    compute_on,
    computing_options,
    echo_warnings,
    example,
    progress_bar,
    row_progress,
)

__all__ = ["predict"]


@click.command(
    epilog=example(
        "dask-newton predict model.zarr mnist.zarr/test --out predictions.zarr --proba",
    )
)
@click.argument("model_path", metavar="MODEL")
@click.argument("data")
@click.option("--out", required=True, metavar="PATH", help="Zarr group to write, such as predictions.zarr.")
@click.option("--proba", is_flag=True, help="Also write the probability of every class.")
@click.option("--overwrite", is_flag=True, help="Overwrite the Zarr group at --out.")
@computing_options
def predict(
    model_path: str,
    data: str,
    out: str,
    proba: bool,
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
) -> None:
    """Predict the classes or targets of a data set with a model.

    Writes the array "prediction", and with --proba also "probability". Prints the score if DATA has targets.
    """
    from dask_newton.data import open_dataset
    from dask_newton.models import load_model

    check_destination(out, overwrite, zarr=True, inputs=(model_path, data))
    model = load_model(model_path)
    classes = getattr(model, "classes_", None)
    if proba and classes is None:
        raise ValueError(f"--proba: {model_path} is a {type(model).__name__}, which has no classes.")
    with echo_warnings():
        dataset = open_dataset(data)
        if dataset.X.shape[1] != model.n_features_in_:
            raise ValueError(
                f"{data} has {dataset.X.shape[1]} features, but the model {model_path} was fitted with "
                f"{model.n_features_in_}; give data with these features."
            )
        with compute_on(scheduler, workers) as client, progress_bar() as progress:
            threads = sum(client.nthreads().values()) if client else os.cpu_count()
            batches = _batches(model, dataset, proba, max(1, threads or 1))
            attrs = {"model": model_path, "data": data}
            report = row_progress(progress, "Predicting")
            hits, weight = _write(batches, len(dataset.X), classes, out, overwrite, attrs, report)
            if dataset.y is not None and classes is None:
                progress.add_task("Scoring", total=None)
                score = model.score(dataset)
    click.echo(f"Wrote {len(dataset.X)} predictions to {out}.")
    if dataset.y is not None:
        name = model.score_name
        click.echo(f"{name[0].upper()}{name[1:]}: {score if classes is None else hits / weight:.4f}")


def _batches(model: Any, dataset: Any, proba: bool, at_once: int) -> Iterator[dict[str, Any]]:
    """Predict as many blocks at a time as there are threads."""
    import dask

    for first in range(0, dataset.X.numblocks[0], at_once):
        columns = {
            name: None if column is None else column.blocks[first : first + at_once]
            for name in ("X", "y", "sample_weight", "offset")
            for column in [getattr(dataset, name)]
        }
        part = dataclasses.replace(dataset, **columns)
        lazy = {"prediction": model.predict(part)} | ({"probability": model.predict_proba(part)} if proba else {})
        lazy |= {name: columns[name] for name in ("y", "sample_weight") if columns[name] is not None}
        (batch,) = dask.compute(lazy)
        yield batch


def _write(
    batches: Iterator[dict[str, Any]],
    n_rows: int,
    classes: Any,
    out: str,
    overwrite: bool,
    attrs: dict[str, str],
    report: Any,
) -> tuple[float, float]:
    """Write the batches; return the weight of the rows predicted correctly, and of all rows."""
    import numpy as np
    import zarr

    from dask_newton.storage.atomic import replacing
    from dask_newton.storage.column import Column
    from dask_newton.storage.groups import consolidate
    from dask_newton.storage.integrity import verify_group

    hits = weight = 0.0
    done, columns = 0, {}
    with replacing(out, overwrite=overwrite) as partial:
        group = zarr.open_group(partial, mode="w-", zarr_format=3, attributes=dict(attrs))
        if classes is not None:
            columns["class"] = Column.coordinate(group, "class", _plain(classes))
        for batch in batches:
            # All batches but the last have the same length, so each is a whole chunk.
            for name in ("prediction", "probability"):
                if name in batch:
                    values = _plain(batch[name])
                    dims = ("sample", "class" if name == "probability" else "target")[: values.ndim]
                    if name not in columns:
                        columns[name] = Column.create(group, name, values, len(values), dims)
                    columns[name].append(values)
            if "y" in batch and classes is not None:
                right = batch["prediction"] == batch["y"]
                weights = batch.get("sample_weight", np.ones(len(right)))
                hits, weight = hits + float(weights[right].sum()), weight + float(weights.sum())
            done += len(batch["prediction"])
            report(done, n_rows)
        for column in columns.values():
            column.finish()
        verify_group(group, out)
        consolidate(partial)
    return hits, weight


def _plain(values: Any) -> Any:
    return values.astype(str) if values.dtype.kind == "O" else values
