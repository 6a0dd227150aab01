"""Checks for losses: derivatives against finite differences, and the shapes and properties that solvers rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import numpy as np

__all__ = ["check_loss"]

Array = np.ndarray[Any, Any]


def check_loss(loss: Any, y: Any, z: Any = None, *, rtol: float = 1e-4) -> None:
    """Check the derivatives of a loss by finite differences, and the other properties that solvers rely on.

    Parameters
    ----------
    loss : Loss
        Such as a subclass of :class:`dask_newton.losses.CustomLoss`.
    y : array-like of shape (n_rows,) or (n_rows, n_targets)
        Targets that are as varied as those of your data.
    z : array-like of shape (n_rows, n_outputs), optional
        Margins at which to check; by default normal draws with standard deviations 0.1, 1 and 10. Choose margins away
        from kinks of the loss.
    rtol : float
        Largest difference between a derivative and its finite difference, relative to the largest of these.

    Raises
    ------
    AssertionError
        With a list of all faults, and the row where each is worst.

    Examples
    --------
    >>> from dask_newton.losses import Poisson
    >>> from dask_newton.testing import check_loss
    >>> check_loss(Poisson(), y=[0.0, 1.0, 5.0])
    """
    y = np.asarray(y, dtype=np.float64)
    sizes = [z] if z is not None else [s * np.random.default_rng(0).normal(size=(len(y), loss.n_outputs))
                                       for s in (0.1, 1.0, 10.0)]  # fmt: skip
    found: list[str] = []
    for at in sizes:
        margins = np.asarray(at, dtype=np.float64)
        if margins.shape != (len(y), loss.n_outputs):
            raise ValueError(f"z has shape {margins.shape}; it must be {(len(y), loss.n_outputs)}, a row for each y.")
        wrong = list(_shapes(loss, y, margins)) or [
            *_derivatives(loss, y, margins, rtol),
            *_hessians(loss, y, margins),
            *_rows(loss, y, margins),
        ]
        found += [line for line in wrong if line not in found]
        if wrong:
            break  # the next size would show the same faults with other numbers
    found += list(_objects(loss, y))
    if found:
        raise AssertionError(f"{type(loss).__name__} has {len(found)} faults:\n" + "\n".join(f"* {f}" for f in found))


def _shapes(loss: Any, y: Array, z: Array) -> Iterator[str]:
    """Check shapes and dtypes for all rows and for none, in both precisions."""
    n, K = z.shape
    for dtype in (np.float64, np.float32):
        for rows in (n, 0):
            ys, zs = y[:rows].astype(dtype), z[:rows].astype(dtype)
            value, gradient, curvature = loss.linearize(ys, zs)
            arrays = {
                "value": (loss.value(ys, zs), (rows,)),
                "value of linearize": (value, (rows,)),
                "gradient": (gradient, (rows, K)),
                "Hessian product": (loss.hess_mul(curvature, zs), (rows, K)),
                "entry of the Hessian": (loss.hess_entry(curvature, 0, K - 1), (rows,)),
            }
            for name, (array, shape) in arrays.items():
                if np.shape(array) != shape:
                    yield f"The {name} of {rows} rows has shape {np.shape(array)}; it must be {shape}."
                    return
                if array.dtype != dtype:
                    yield f"The {name} of {np.dtype(dtype)} arrays is {array.dtype}; keep the dtype of z."
            response = np.shape(loss.inverse_link(zs))
            if response[:1] != (rows,):
                yield f"inverse_link of {rows} rows has shape {response}; its first length must be {rows}."


def _derivatives(loss: Any, y: Array, z: Array, rtol: float) -> Iterator[str]:
    """Compare the gradient with differences of the value, and the Hessian with those of the gradient."""
    value, gradient, curvature = loss.linearize(y, z)
    if not np.array_equal(value, loss.value(y, z)):
        yield "value and linearize give different values."
    step = 1e-5 * np.maximum(1.0, np.abs(z).max())  # errs by its square, and by rounding divided by it
    names = [f" in margin {k}" for k in range(loss.n_outputs)] if loss.n_outputs > 1 else [""]
    for k, where in enumerate(names):
        unit = np.zeros_like(z)
        unit[:, k] = 1.0

        def slope(f: Callable[[Array], Array], unit: Array = unit) -> Array:
            return (f(z + step * unit) - f(z - step * unit)) / (2 * step)

        yield from _compare(
            f"gradient{where}",
            gradient[:, k],
            "differences of the value",
            slope(lambda at: loss.value(y, at)),
            y,
            z,
            rtol,
        )
        product, change = loss.hess_mul(curvature, unit), slope(lambda at: loss.linearize(y, at)[1])
        yield from _compare(
            f"Hessian product{where and f' with unit vector {k}'}",
            product,
            "differences of the gradient",
            change,
            y,
            z,
            rtol,
        )


def _compare(what: str, mine: Array, other: str, expected: Array, y: Array, z: Array, rtol: float) -> Iterator[str]:
    """Report where two arrays differ most, if the difference is too large."""
    error = np.abs(mine - expected).reshape(len(z), -1).max(axis=1)
    error[~np.isfinite(error)] = np.inf
    worst = int(np.argmax(error))
    allowed = rtol * max(1.0, np.abs(expected).max())
    if error[worst] > allowed:
        here, there, target, margin = (np.array2string(a[worst], precision=6) for a in (mine, expected, y, z))
        yield (
            f"The {what} is {here} and {other} give {there}, in row {worst} with y = {target} and z = {margin}; "
            f"{int(np.sum(error > allowed))} of {len(z)} rows are wrong."
        )


def _hessians(loss: Any, y: Array, z: Array) -> Iterator[str]:
    """Check the Hessian of each row: its symmetry, its entries, and its declared properties."""
    n, K = z.shape
    curvature = loss.linearize(y, z)[2]
    H = np.stack([loss.hess_mul(curvature, np.broadcast_to(np.eye(K)[k], (n, K))) for k in range(K)], axis=2)
    if not np.all(np.isfinite(H)):
        return
    size = max(1.0, np.abs(H).max())
    if np.abs(H - H.transpose(0, 2, 1)).max() > 1e-10 * size:
        yield "The Hessian is not symmetric."
        return
    entries = np.array([[loss.hess_entry(curvature, k, j) for j in range(K)] for k in range(K)])
    if not np.allclose(entries, H.transpose(1, 2, 0), atol=1e-12 * size):
        yield "hess_entry does not return the entries of the Hessian in hess_mul."
    eigenvalues = np.linalg.eigvalsh(H)
    if loss.convex and eigenvalues.min() < -1e-10 * size:
        row = int(np.argmin(eigenvalues.min(axis=1)))
        yield (
            f"The class declares convex = True, but in row {row} with y = {y[row]} and z = {z[row]} the Hessian has "
            f"the eigenvalue {eigenvalues.min():.3g}."
        )
    if loss.curvature_bound is not None and eigenvalues.max() > loss.curvature_bound + 1e-10 * size:
        yield f"curvature_bound is {loss.curvature_bound}, but an eigenvalue of a Hessian is {eigenvalues.max():.3g}."


def _rows(loss: Any, y: Array, z: Array) -> Iterator[str]:
    """Check that rows are independent, and that arguments are not modified."""
    before = y.copy(), z.copy()
    whole, part = loss.linearize(y, z), loss.linearize(y[::2], z[::2])
    if any(not np.allclose(a[::2], b, rtol=1e-12, atol=1e-12) for a, b in zip(whole, part, strict=True)):
        yield "The loss of a row depends on other rows; rows must be independent."
    loss.hess_mul(whole[2], z)
    if not (np.array_equal(before[0], y) and np.array_equal(before[1], z)):
        yield "The arguments are modified; return new arrays."


def _objects(loss: Any, y: Array) -> Iterator[str]:
    """Check that the loss can be pickled, and its other methods."""
    if not np.all(loss.valid(y)):
        yield f"valid says that {int(np.sum(~loss.valid(y)))} of the given targets are not allowed."
    if np.shape(loss.null_margin(np.atleast_1d(y.mean(axis=0)))) != (loss.n_outputs,):
        yield f"null_margin must return {loss.n_outputs} numbers, one per margin."
    try:
        cloudpickle.loads(cloudpickle.dumps(loss))
    except Exception as error:  # whatever an object raises when it is pickled
        yield f"It cannot be sent to the workers of a cluster: {type(error).__name__}: {error}"
