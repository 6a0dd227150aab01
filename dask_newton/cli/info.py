"""``dask-newton info``: show the contents of a data set, a model or a checkpoint."""

from __future__ import annotations

import json
import math
from typing import Any

import click

from dask_newton.cli.common import echo_warnings, example, print_table

__all__ = ["info"]


@click.command(
    epilog=example(
        "dask-newton info mnist.zarr",
        "dask-newton info mnist.zarr --verify",
        "dask-newton info model.zarr --json",
        "dask-newton info fit.zarr",
    )
)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--verify", is_flag=True, help="Read the whole data set and verify its checksums.")
def info(path: str, as_json: bool, verify: bool) -> None:
    """Show the contents of a data set, a model or a checkpoint."""
    from dask_newton.checkpoint import is_checkpoint
    from dask_newton.data import dataset_info, verify_dataset
    from dask_newton.models import is_model

    kinds = ((is_model, _model_info), (is_checkpoint, _checkpoint_info))
    with echo_warnings():
        described = next((describe for holds, describe in kinds if holds(path)), None)
        found = dataset_info(path) if described is None else described(path)
        if verify and described is None:
            found["verified_chunks"] = verify_dataset(path)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif described is not None:
        _print_pairs(path, found)
    else:
        _print_dataset(path, found)


def _model_info(path: str) -> dict[str, Any]:
    import numpy as np

    from dask_newton.models import load_model

    model = load_model(path)
    defaults = type(model)().get_params()
    changed = {name: value for name, value in model.get_params().items() if value != defaults[name]}
    classes = [str(label) for label in getattr(model, "classes_", [])]
    weights = np.concatenate([np.ravel(a) for a in getattr(model, "coefs_", None) or [model.coef_]])
    layers = {"layers": " x ".join(map(str, model._fitted_layers().sizes))} if hasattr(model, "coefs_") else {}
    return {
        "estimator": type(model).__name__,
        "parameters": ", ".join(f"{name}={value!r}" for name, value in changed.items()) or "defaults",
        "solver": model.solver_.name,
        "features": model.n_features_in_,
        "classes": classes,
        **layers,
        "non-zero coefficients": f"{np.count_nonzero(weights)} of {weights.size}",
        "status": model.result_.status.value,
        "largest gradient entry": model.result_.gradient_norm,
        "objective": model.result_.value,
        "iterations": int(np.max(model.n_iter_)),
        "passes": model.n_passes_,
        "rounds": model.n_rounds_,
    }


def _checkpoint_info(path: str) -> dict[str, Any]:
    from dask_newton.checkpoint import open_checkpoint

    saved = open_checkpoint(path).saved
    assert saved is not None
    last, problem = saved.history[-1], saved.attributes["problem"]
    return {
        "checkpoint of": saved.attributes["solver"]["name"],
        **{name: problem[name] for name in ("objective", "loss", "penalty")},
        "blocks": len(problem["weights"]),
        "shape of W": problem["shape"],
        "iterations": last["iteration"],
        "value": last["objective"],
        "largest gradient entry": next(
            (r["gradient_norm"] for r in reversed(saved.history.records) if math.isfinite(r["gradient_norm"])), None
        ),
        "passes": last["passes"],
        "seconds": last["seconds"],
    }


def _print_pairs(title: str, pairs: dict[str, Any]) -> None:
    from dask_newton.tables import new_table

    print_table(new_table(((name, _as_text(value)) for name, value in pairs.items()), title=title))


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        value = _shorten(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _print_dataset(path: str, found: dict[str, Any]) -> None:
    from dask_newton.tables import new_table

    splits, rows = found.get("splits", {"": found}), []
    for split, content in splits.items():
        for name, array in content["arrays"].items():
            sizes = ["" if array[k] is None else f"{array[k] / 1e6:.4g}" for k in ("bytes", "stored_bytes")]
            shape, chunks = (" x ".join(map(str, array[key])) for key in ("shape", "chunks"))
            label = f"{split}/{name}" if split else name
            rows.append((label, shape, array["dtype"], chunks, str(array["n_chunks"]), *sizes))
    print_table(new_table(rows, ("array", "shape", "dtype", "chunks", "n chunks", "MB", "MB on disk"), title=path))
    notes = {key: value for key, value in found["attrs"].items() if isinstance(value, str | int | float)}
    for split, content in splits.items():
        if content["class_counts"]:
            counts = [f"{label} ({count})" for label, count in content["class_counts"].items()]
            notes[f"classes {split}".strip()] = _shorten(counts)
    if "verified_chunks" in found:
        notes["verified"] = f"{found['verified_chunks']} chunks match their checksums"
    if notes:
        _print_pairs("", notes)


def _shorten(entries: list[str], most: int = 12) -> str:
    shown = entries if len(entries) <= most else [*entries[: most - 2], "...", entries[-1]]
    return f"{', '.join(shown)}" + (f" ({len(entries)} in total)" if len(entries) > most else "")
