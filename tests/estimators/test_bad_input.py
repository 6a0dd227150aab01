"""What bad input gets: a sentence that says what, where and what to do, before any work."""

import dask
import dask.array as da
import numpy as np
import pytest

from dask_newton import LogisticRegression
from dask_newton.solvers import GIANT, NewtonCholesky, UnsupportedError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
Y = (X[:, 0] + 0.5 * RNG.standard_normal(60) > 0).astype(int)


def broken(value, row, column=1):
    Z = X.copy()
    Z[row, column] = value
    return Z


def blocks(a, size=20):
    return da.from_array(a, chunks=(size, -1) if a.ndim == 2 else (size,))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_names_the_block(value):
    with pytest.raises(ValueError, match=r"Block 2 .* NaN or infinity in X"):
        LogisticRegression().fit(blocks(broken(value, 45)), blocks(Y))
    with pytest.raises(ValueError, match="NaN or infinity in X"):
        LogisticRegression().fit(broken(value, 45), Y)


def test_huge_numbers_are_not_infinite():
    # Squares of these overflow, the numbers do not.
    LogisticRegression(solver="giant", max_iter=0, tol=1e300).fit(blocks(broken(1e200, 3)), blocks(Y))


def test_nan_weight_names_the_block():
    weight = np.ones(60)
    weight[25] = np.nan
    with pytest.raises(ValueError, match=r"Block 1 .* NaN or infinity in weight"):
        LogisticRegression().fit(blocks(X), blocks(Y), blocks(weight))


@pytest.mark.parametrize("given", ["memory", "blocks"])
def test_negative_weights(given):
    weight = np.ones(60)
    weight[25] = -1
    arguments = (X, Y, weight) if given == "memory" else (blocks(X), blocks(Y), blocks(weight))
    with pytest.raises(ValueError, match="[Nn]egative"):
        LogisticRegression().fit(*arguments)


@pytest.mark.parametrize("given", ["memory", "blocks"])
def test_all_zero_weights(given):
    arguments = (X, Y) if given == "memory" else (blocks(X), blocks(Y))
    with pytest.raises(ValueError, match="sample weights are zero|at least one non-zero"):
        LogisticRegression().fit(*arguments, np.zeros(60))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (X, np.ones(60, int), "only one class"),
        (blocks(X), blocks(np.ones(60, int)), "only one class"),
        (X, Y[:50], "inconsistent numbers of samples"),
        (blocks(X), blocks(Y[:50]), r"X has 60, y has 50"),
        (blocks(X), Y[:50], r"X has 60, y has 50"),
        (blocks(X)[blocks(X)[:, 0] > -9], blocks(Y, 10)[blocks(Y, 10) >= 0], "3 row chunks and y has 6"),
        (X[:, 0], Y, "1D array"),
        (blocks(X)[:, 0], blocks(Y), "two dimensions"),
        (blocks(X), blocks(X), "one dimension"),
        (blocks(X), None, "requires y"),
        (blocks(X[:, :0]), blocks(Y), "0 features"),
        (blocks(X), blocks(X[:, 0]), "[Uu]nknown label type"),
    ],
)
def test_wrong_shapes_and_labels(a, b, message):
    with pytest.raises(ValueError, match=message):
        LogisticRegression().fit(a, b)


def test_unknown_chunks_of_different_sizes_name_the_block():
    known = blocks(X)
    mask = np.ones(60, bool)
    mask[30] = False
    with pytest.raises(ValueError, match=r"Block 1 .* different lengths"):
        LogisticRegression().fit(known[blocks(mask)], blocks(Y)[blocks(Y) >= 0])


def test_strings_in_x():
    with pytest.raises(TypeError, match="real numbers"):
        LogisticRegression().fit(da.from_array(X.astype(str), chunks=(20, -1)), blocks(Y))


def test_other_dask_collections_are_not_pulled_into_memory():
    with pytest.raises(TypeError, match=r"Delayed\w*; give a Dask array, such as X\.to_dask_array"):
        LogisticRegression().fit(dask.delayed(X), Y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"C": 0}, "'C' parameter"),
        ({"C": -1.0}, "'C' parameter"),
        ({"l1_ratio": 2}, "'l1_ratio' parameter"),
        ({"max_iter": -1}, "'max_iter' parameter"),
        ({"max_rounds": 1.5}, "'max_rounds' parameter"),
        ({"max_bytes": -1}, "'max_bytes' parameter"),
        ({"max_seconds": -1}, "'max_seconds' parameter"),
        ({"tol": -1}, "'tol' parameter"),
        ({"solver": "newton-cholsky"}, "did you mean 'newton-cholesky'"),
        ({"solver": "lbgfs"}, "Known are auto"),
        ({"solver": "gn_cg"}, "did you mean 'gn-cg'. Known are auto, ((?!gn-cg).)*$"),  # of networks: not listed
        ({"solver": "giant", "solver_options": {"cg_maxiter": 3}}, "did you mean 'cg_max_iter'"),
        ({"solver_options": {"rho": 1}}, "named solver"),
        ({"class_weight": {"cat": 2}}, "not in y"),
    ],
)
def test_wrong_parameters_cost_no_look_at_the_data(parameters, message):
    looked = []

    def look(block):
        looked.append(1)
        return block

    lazy = blocks(X).map_blocks(look, meta=np.empty((0, 0)))
    with pytest.raises(ValueError, match=message), dask.config.set(scheduler="sync"):
        LogisticRegression(**parameters).fit(lazy, Y)
    assert not looked


@pytest.mark.parametrize("solver", ["newton-cg", "lbfgs", "sampled-newton"])
def test_a_penalty_the_solver_cannot_do_names_one_that_can(solver):
    with pytest.raises(UnsupportedError, match=f"solver '{solver}' .* use solver='newton-admm'"):
        LogisticRegression(solver=solver, l1_ratio=0.5).fit(X, Y)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (GIANT(npc="stop"), "choose one of"),
        (NewtonCholesky(max_dim=2), "Hessian of 4 rows, more than max_dim=2"),
    ],
)
def test_options_out_of_range(solver, message):
    with pytest.raises(UnsupportedError, match=message):
        LogisticRegression(solver=solver).fit(X, Y)


def test_prediction_checks_the_number_of_features():
    model = LogisticRegression().fit(X, Y)
    for Z in (X[:, :2], blocks(X[:, :2])):
        with pytest.raises(ValueError, match="2 features.* expecting 3"):
            model.predict(Z)


def test_zarr_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.zarr"):
        LogisticRegression().fit(tmp_path / "nothing.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="folder"):
        LogisticRegression().fit(str(tmp_path / "folder"))
