"""Every container: the coefficients of NumPy, predictions in the type and chunks of what was given."""

import itertools

import dask
import dask.array as da
import dask.dataframe as dd
import duck
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from pairwise import cases
from sklearn.model_selection import cross_val_score

from dask_newton import LogisticRegression, PoissonRegressor, Ridge
from dask_newton.containers.inputs import open_rows
from dask_newton.data import open_dataset, save_dataset

duck.register()

ROWS = (70, 50, 60)  # chunks, of 180 rows
NAMES = ["age", "height", "weight", "smokes", "visits"]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((180, 5)) * (RNG.random((180, 5)) < 0.6)
LABELS = np.array(["healthy", "ill", "unknown"])
Y = LABELS[np.argmax(X[:, :3] + RNG.gumbel(size=(180, 3)), axis=1)]
WEIGHT = RNG.uniform(0.5, 2, 180)
OFFSET = RNG.standard_normal(180)

FRAME = pd.DataFrame(X, columns=NAMES, index=pd.Index(np.arange(180) * 2, name="patient"))
ARRAY = xr.DataArray(
    X,
    dims=("sample", "feature"),
    coords={
        "sample": FRAME.index.to_numpy(),
        "feature": NAMES,
        "ward": ("sample", np.arange(180) % 7),
        "hospital": "A",
    },
)


def chunked(a, rows=ROWS):
    return da.from_array(a, chunks=(rows, *((-1,) * (a.ndim - 1))))


def dask_frame(frame=FRAME):
    """Partitions of the rows of ROWS, with known divisions."""
    edges = np.cumsum([0, *ROWS])
    parts = [frame.iloc[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]
    index = frame.index
    divisions = [*(index[e] for e in edges[:-1]), index[-1]]
    return dd.from_delayed([dask.delayed(part) for part in parts], meta=frame.iloc[:0], divisions=divisions)


def per_chunk(*convert, meta=None):
    """Chunks converted each by a function of its own, in turn; what Dask knows of them is ``meta``, or wrong."""
    parts = [dask.delayed(convert[i % len(convert)])(part) for i, part in enumerate(np.split(X, np.cumsum(ROWS)[:-1]))]
    arrays = [
        da.from_delayed(part, (n, 5), dtype=float, meta=np.empty((0, 0)) if meta is None else meta)
        for part, n in zip(parts, ROWS, strict=True)
    ]
    return da.concatenate(arrays)


def unsorted_csr(x):
    """A CSR matrix with every entry stored as two halves, last column first."""
    x = sp.csr_array(x)
    data, indices = (
        np.concatenate([np.tile(a[i:j][::-1], 2) for i, j in zip(x.indptr, x.indptr[1:], strict=False)])
        for a in (x.data / 2, x.indices)
    )
    return sp.csr_array((data, indices, 2 * x.indptr), shape=x.shape)


# Containers with the bits of the NumPy fit; those whose products with X are summed in another order.
IN_MEMORY = {
    "list": (X.tolist(), list(Y)),
    "column by column": (np.asfortranarray(X), Y),
    "pandas": (FRAME, pd.Series(Y, name="state")),
    "pandas, nullable": (FRAME.astype("Float64"), pd.Series(Y, dtype="category")),
    "pandas, y in a frame": (FRAME, pd.DataFrame({"state": Y})),
    "pandas, y in Dask": (FRAME, chunked(Y)),
    "xarray": (ARRAY, ARRAY.isel(feature=0, drop=True).copy(data=Y)),
    "xarray, other order": (ARRAY.T, Y),
    "xarray Dataset": (xr.Dataset({"X": ARRAY, "y": ("sample", Y)}), None),
}
SPARSE = {
    "csr_array": (sp.csr_array(X), Y),
    "csr_matrix": (sp.csr_matrix(X), Y),
    "csc": (sp.csc_array(X), Y),
    "coo": (sp.coo_matrix(X), Y),
    "entries stored twice": (unsorted_csr(X), Y),
    "pandas, sparse": (FRAME.astype(pd.SparseDtype(float, 0.0)), Y),
}
# Containers with the bits of the fit on a Dask array with chunks of ROWS rows.
CHUNKED = {
    "columns chunked": (chunked(X).rechunk({1: 2}), chunked(Y)),
    "other chunks of y": (chunked(X), chunked(Y, (90, 90))),
    "y in memory": (chunked(X), list(Y)),
    "y in pandas": (chunked(X), pd.Series(Y)),
    "rows not known": (chunked(X)[chunked(X)[:, 0] > -np.inf], chunked(Y)[chunked(Y) != ""]),
    "rows not known, y in memory": (chunked(X)[chunked(X)[:, 0] > -np.inf], Y),
    "Dask frame": (dask_frame(), dask_frame(FRAME.assign(state=Y))["state"]),
    "Dask frame, y in an array": (dask_frame(), chunked(Y)),
    "Dask frame, y in a frame": (dask_frame(), dask_frame(FRAME.assign(state=Y))[["state"]]),
    "xarray": (ARRAY.copy(data=chunked(X)), Y),
    "xarray Dataset": (xr.Dataset({"X": ARRAY.copy(data=chunked(X)), "y": ("sample", chunked(Y))}), None),
    "empty chunks": (chunked(X, (0, 70, 0, 50, 60, 0)), Y),
}
MIXED = {
    "csr": (per_chunk(sp.csr_array, meta=sp.csr_array((0, 0))), chunked(Y)),
    "csr, called dense": (per_chunk(sp.csr_matrix), chunked(Y)),
    "coo": (per_chunk(sp.coo_array, meta=sp.coo_array((0, 0))), chunked(Y)),
    "csr in column chunks": (chunked(X).rechunk({1: 3}).map_blocks(sp.csr_array), chunked(Y)),
    "entries stored twice": (per_chunk(unsorted_csr), chunked(Y)),
    "on a device": (per_chunk(duck.asduck), chunked(Y)),
    "of all kinds": (per_chunk(np.asarray, sp.csr_array, duck.asduck), chunked(Y)),
    "Dask frame, sparse": (dask_frame(FRAME.astype(pd.SparseDtype(float, 0.0))), chunked(Y)),
}


def fit(*data, **options):
    model = LogisticRegression(solver="newton-cholesky", tol=1e-11, **options)
    return model.fit(*data)


@pytest.fixture(scope="module")
def expected():
    return fit(X, Y)


def named(x):
    return isinstance(x, pd.DataFrame | dd.DataFrame | xr.DataArray | xr.Dataset)


@pytest.mark.parametrize("container", IN_MEMORY)
def test_in_memory_the_bits_are_those_of_numpy(container, expected):
    given, y = IN_MEMORY[container]
    fitted = fit(given, y)
    assert_array_equal(fitted.coef_, expected.coef_)
    assert_array_equal(fitted.intercept_, expected.intercept_)
    assert_array_equal(fitted.classes_, LABELS)
    assert fitted.n_features_in_ == 5
    if named(given):
        assert fitted.feature_names_in_.tolist() == NAMES
    else:
        assert not hasattr(fitted, "feature_names_in_")
    assert fitted.score(given, y) == expected.score(X, Y)
    assert_array_equal(fitted.predict_proba(given), expected.predict_proba(X))


@pytest.mark.parametrize("container", CHUNKED)
def test_in_chunks_the_bits_are_those_of_a_dask_array(container):
    given, y = CHUNKED[container]
    fitted, expected = fit(given, y), fit(chunked(X), chunked(Y))
    assert_array_equal(fitted.coef_, expected.coef_)
    assert_array_equal(fitted.classes_, LABELS)
    if named(given):
        assert fitted.feature_names_in_.tolist() == NAMES
    assert fitted.score(given, y) == expected.score(X, Y)
    assert type(fitted.coef_) is type(fitted.intercept_) is np.ndarray


@pytest.mark.parametrize("container", [*SPARSE, *MIXED])
def test_sparse_and_device_arrays_agree_with_numpy(container, expected):
    given, y = (SPARSE | MIXED)[container]
    fitted = fit(given, y)
    assert_allclose(fitted.coef_, expected.coef_, rtol=0, atol=1e-10)
    assert_allclose(fitted.intercept_, expected.intercept_, rtol=0, atol=1e-10)
    assert type(fitted.coef_) is type(fitted.intercept_) is np.ndarray
    assert fitted.score(given, y) == expected.score(X, Y)


@pytest.mark.parametrize("sparse", [pytest.param(False, marks=pytest.mark.smoke), True])
def test_zarr_groups_by_path_and_opened(tmp_path, sparse):
    group = tmp_path / "data.zarr"
    save_dataset(
        group,
        sp.csr_array(X) if sparse else X,
        Y,
        sample_weight=WEIGHT,
        offset=OFFSET,
        feature_names=NAMES,
        chunk_rows=60,
    )
    expected = fit(X, Y, WEIGHT)
    given = open_rows(group)
    assert_array_equal(given.offset, OFFSET)
    for container in (group, str(group), open_dataset(group)):
        fitted = fit(container)
        assert fitted.feature_names_in_.tolist() == NAMES
        assert fitted.score(container) == pytest.approx(np.average(fitted.predict(container) == Y, weights=WEIGHT))
        # The same offset for all classes changes nothing.
        assert_allclose(fitted.coef_, expected.coef_, rtol=0, atol=1e-10)


@cases(
    "form, lazy",
    itertools.product(["list", "pandas", "Dask", "Dask frame", "xarray", "device"], [False, True]),
    together=1,
)
def test_weights_come_in_any_form(form, lazy):
    weight = {
        "list": WEIGHT.tolist(),
        "pandas": pd.Series(WEIGHT),
        "Dask": chunked(WEIGHT, (90, 90)),
        "Dask frame": dask_frame(FRAME.assign(w=WEIGHT))["w"],
        "xarray": xr.DataArray(WEIGHT, dims="sample"),
        "device": duck.asduck(WEIGHT),
    }[form]
    given = (chunked(X), chunked(Y)) if lazy else (X, Y)
    assert_array_equal(fit(*given, weight).coef_, fit(*given, WEIGHT).coef_)
    assert fit(*given).score(*given, weight) == fit(*given).score(*given, WEIGHT)


def test_numbers_and_booleans_of_a_frame_become_floats():
    frame = pd.DataFrame(
        {
            "a": np.arange(6, dtype=np.int8),
            "b": np.arange(6) % 2 == 0,
            "c": np.arange(6, dtype=np.float32),
            "d": pd.array([1, 2, 3, 4, 5, 6], dtype="Int8"),
            "e": pd.array([True, False] * 3, dtype="boolean"),
            "f": pd.array([1.5] * 6, dtype="Float32"),
            "g": pd.array([1] * 6, dtype="int16[pyarrow]"),
        }
    )
    values = np.column_stack([[float(v) for v in frame[name]] for name in frame])
    for given in (frame, dd.from_pandas(frame, npartitions=2)):
        rows = open_rows(given).X
        assert rows.dtype == np.float32, "float32 holds all of these exactly"
        assert_array_equal(rows, values)
        assert open_rows(given.astype({"a": np.int64})).X.dtype == np.float64


# Predictions.

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


@pytest.fixture(scope="module")
def named_model():
    return fit(FRAME, Y)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("given", ["list", "csr", "pandas"])
def test_predictions_of_what_is_in_memory_are_numpy(named_model, expected, method, given):
    model = named_model if given == "pandas" else expected
    result = getattr(model, method)({"list": X.tolist(), "csr": sp.csr_array(X), "pandas": FRAME}[given])
    assert type(result) is np.ndarray
    reference = getattr(expected, method)(X)
    assert result.dtype == reference.dtype
    (assert_array_equal if method == "predict" else assert_allclose)(result, reference)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("known", [True, False])
def test_predictions_of_dask_arrays_are_lazy_with_their_chunks(expected, method, known):
    given = per_chunk(np.asarray, sp.csr_array)
    given = given if known else given[np.arange(180) >= 0]
    result, reference = getattr(expected, method)(given), getattr(expected, method)(X)
    assert isinstance(result, da.Array)
    assert_array_equal(result.chunks[0], given.chunks[0])
    assert (result.dtype, result.ndim) == (reference.dtype, reference.ndim)
    (assert_array_equal if method == "predict" else assert_allclose)(result.compute(), reference)


@pytest.mark.parametrize("method", METHODS)
def test_predictions_of_dask_frames_have_their_index_and_divisions(named_model, expected, method):
    given = dask_frame()
    result, reference = getattr(named_model, method)(given), getattr(expected, method)(X)
    assert result.divisions == given.divisions
    computed = result.compute()
    pd.testing.assert_index_equal(computed.index, FRAME.index)
    if method == "predict":
        assert isinstance(result, dd.Series)
        assert computed.tolist() == reference.tolist()
    else:
        assert isinstance(result, dd.DataFrame)
        assert list(computed.columns) == LABELS.tolist()
        assert_allclose(computed.to_numpy(), reference)
    # Rows of a partition that is filtered are as many as there are, which Dask does not know.
    some = given[given["age"] > 0]
    assert_array_equal(getattr(named_model, method)(some).compute().index, FRAME.index[X[:, 0] > 0])


@cases("method, lazy, turned", itertools.product(METHODS, [False, True], [False, True]))
def test_predictions_of_xarray_have_its_coordinates(named_model, expected, method, lazy, turned):
    given = ARRAY.copy(data=chunked(X)) if lazy else ARRAY
    given = given.T if turned else given
    result = getattr(named_model, method)(given)
    assert isinstance(result, xr.DataArray)
    assert result.dims == (("sample",) if method == "predict" else ("sample", "class")) and result.name is None
    for name in ("sample", "ward", "hospital"):
        assert_array_equal(result.coords[name].values, ARRAY.coords[name].values)
    if method != "predict":
        assert result.coords["class"].values.tolist() == LABELS.tolist()
    assert (result.chunks is not None) == lazy
    if lazy:
        assert result.chunks[0] == ROWS
    reference = getattr(expected, method)(X)
    (assert_array_equal if method == "predict" else assert_allclose)(result.values, reference)


def test_predictions_of_a_dataset_of_xarray(named_model, expected):
    dataset = xr.Dataset({"X": ARRAY, "y": ("sample", Y)})
    xr.testing.assert_identical(named_model.predict(dataset), named_model.predict(ARRAY))
    assert named_model.score(dataset) == expected.score(X, Y)


def test_samples_of_several_dimensions(expected):
    stacked = xr.DataArray(X.reshape(60, 3, 5), dims=("patient", "visit", "feature")).stack(sample=["patient", "visit"])
    predicted = fit(stacked, Y).predict(stacked)
    assert_array_equal(predicted.unstack("sample").values, expected.predict(X).reshape(60, 3))


def test_two_classes_have_one_margin(named_model):
    model = LogisticRegression().fit(FRAME, Y == "ill")
    assert model.decision_function(dask_frame()).compute().shape == (180,)
    assert model.decision_function(ARRAY).dims == ("sample",)
    assert list(model.predict_proba(dask_frame()).columns) == [False, True]


def test_coefficients_with_names(named_model, expected):
    table = named_model.coef_xarray()
    assert table.dims == ("class", "feature") and table.name == "coef"
    assert table.coords["feature"].values.tolist() == NAMES
    assert table.coords["class"].values.tolist() == LABELS.tolist()
    assert_array_equal(table.values, named_model.coef_)
    binary = LogisticRegression().fit(ARRAY, np.where(Y == "ill", "ill", "well")).coef_xarray()
    assert binary.coords["class"].values.tolist() == ["well"]
    assert "feature" not in expected.coef_xarray().coords


@cases("given, scoring", itertools.product(["pandas", "CSR"], ["accuracy", "neg_log_loss", "roc_auc_ovr"]), together=1)
def test_scorers_of_scikit_learn_take_the_predictions(given, scoring):
    given = {"pandas": FRAME, "CSR": sp.csr_array(X)}[given]
    model = LogisticRegression(tol=1e-10)
    scores = cross_val_score(model, given, pd.Series(Y, FRAME.index), scoring=scoring, cv=3, error_score="raise")
    assert_allclose(scores, cross_val_score(model, X, Y, scoring=scoring, cv=3), atol=1e-9)


# Bad input.


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    "column",
    [
        ["a"] * 180,
        pd.Categorical(["a", "b"] * 90),
        pd.date_range("2020", periods=180),
        pd.array(["a"] * 180, "string"),
        np.array([1, "b"] * 90, object),
        np.ones(180, complex),
    ],
    ids=["object", "categorical", "datetime", "string", "mixed", "complex"],
)
def test_columns_that_are_no_numbers_are_named(column, lazy):
    frame = FRAME.assign(town=column)
    frame.columns = [*NAMES, "town"]
    with pytest.raises(TypeError, match=r"X has columns that do not hold real numbers: 'town' \(.*\)\. Encode"):
        fit(dask_frame(frame) if lazy else frame, Y)


@pytest.mark.parametrize("lazy", [False, True])
def test_missing_values_of_nullable_columns_are_named(lazy):
    frame = FRAME.assign(weight=pd.array([*range(100), None, *range(79)], dtype="Int64"))
    with pytest.raises(ValueError, match=r"X has missing values \(NA\) in the columns 'weight'\. Impute"):
        fit(dask_frame(frame) if lazy else frame, Y)
    state = pd.Series([*Y[:179], None], index=FRAME.index)
    with pytest.raises(ValueError, match="Input y contains NaN or NA, 1 times"):
        fit(dask_frame() if lazy else FRAME, dask_frame(state.to_frame("state"))["state"] if lazy else state)


@pytest.mark.parametrize("lazy", [False, True])
def test_columns_that_differ_from_those_of_fit_are_listed(named_model, lazy):
    def give(frame):
        return dask_frame(frame) if lazy else frame

    with pytest.raises(ValueError, match=r"(?s)unseen at fit time:\n- town\n.*yet now missing:\n- weight"):
        named_model.predict(give(FRAME.rename(columns={"weight": "town"})))
    with pytest.raises(ValueError, match="same order"):
        named_model.predict(give(FRAME[NAMES[::-1]]))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        named_model.predict(chunked(X) if lazy else X)


def test_labels_of_xarray_that_differ_from_those_of_fit_are_listed(named_model):
    other = ARRAY.assign_coords(feature=[*NAMES[:4], "town"])
    with pytest.raises(ValueError, match=r"(?s)unseen at fit time:\n- town\n.*yet now missing:\n- visits"):
        named_model.predict_proba(other)


@pytest.mark.parametrize(
    ("given", "y", "message"),
    [
        (ARRAY.rename(sample="patient"), Y, r"\('patient', 'feature'\); they must be 'sample' and 'feature'"),
        (ARRAY.expand_dims("time"), Y, r"dimensions \('time', 'sample', 'feature'\)"),
        (ARRAY, ARRAY.isel(feature=0, drop=True).copy(data=Y).rename(sample="row"), r"y has the dimensions \('row',\)"),
        (ARRAY, ARRAY.isel(feature=0, drop=True).copy(data=Y)[::-1], "sample labels of y are not those of X"),
        (xr.Dataset({"features": ARRAY}), Y, "no variable 'X', only 'features'"),
        (xr.Dataset({"X": ARRAY}), None, "requires y"),
        (dask_frame(), chunked(Y, (90, 90)), "3 row chunks and y has 2"),
        (dask_frame(), chunked(Y[:-1], (70, 50, 59)), "Block 2 .* different lengths"),
        (FRAME, Y[:-1], "inconsistent numbers of samples"),
        (sp.csr_array(X), Y[:-1], "inconsistent numbers of samples"),
        (duck.asduck(X), Y[:-1], "inconsistent numbers of samples"),
        (duck.asduck(X[:, 0]), Y, "two dimensions"),
    ],
)
def test_what_does_not_fit_together(given, y, message):
    with pytest.raises(ValueError, match=message):
        fit(given, y)


def test_nan_in_sparse_and_device_arrays():
    bad = X.copy()
    bad[100, 2] = np.nan
    for convert in (sp.csr_array, duck.asduck):
        with pytest.raises(ValueError, match="Block 0 .* NaN or infinity in X"):
            fit(convert(bad), Y)
    with pytest.raises(ValueError, match="Block 1 .* NaN or infinity in X"):
        fit(chunked(bad).map_blocks(sp.csr_array), Y)


def test_conversions_are_logged(caplog):
    with caplog.at_level("INFO", "dask_newton"):
        fit(sp.csc_array(X), Y)
        fit(chunked(X).rechunk({1: 2}), Y)
    assert "X is a csc_array; converting it to CSR" in caplog.text
    assert "rechunking to one chunk over all columns" in caplog.text


def test_what_is_given_is_left_as_it_is():
    unknown = chunked(X)[chunked(X)[:, 0] > -np.inf]
    assert open_rows(unknown, Y).X.shape == (180, 5)
    assert np.isnan(unknown.shape[0])
    doubled = unsorted_csr(X)
    fit(doubled, Y)
    assert doubled.nnz == 2 * np.count_nonzero(X)


@pytest.mark.parametrize("lazy", [False, True])
def test_several_targets_and_offsets_pass_through(lazy):
    targets, offsets = RNG.standard_normal((180, 3)), RNG.standard_normal((180, 2))

    def give(a):
        return chunked(a, (90, 90)) if lazy else a

    rows = open_rows(chunked(X) if lazy else X, give(targets), None, give(offsets), multi_output=True, y_numeric=True)
    assert rows.y.shape == (180, 3) and rows.offset.shape == (180, 2)
    assert_array_equal(rows.y, targets)
    assert_array_equal(rows.offset, offsets)
    if lazy:
        assert rows.y.chunks == (ROWS, (3,)) and rows.offset.chunks == (ROWS, (2,))
    with pytest.raises(ValueError, match="one dimension|1d array"):
        open_rows(chunked(X) if lazy else X, give(targets))


# Regression.

TARGETS = RNG.standard_normal((180, 2)) + X[:, :2]
COUNTS = RNG.poisson(np.exp(0.3 * X[:, 0] + 0.2 * OFFSET)).astype(float)


@pytest.mark.smoke
@pytest.mark.parametrize("form", ["NumPy", "pandas", "Dask", "Dask frame", "xarray", "CSR", "device"])
def test_several_targets(form):
    both = FRAME.assign(left=TARGETS[:, 0], right=TARGETS[:, 1])
    given, y = {
        "NumPy": (X, TARGETS.tolist()),
        "pandas": (FRAME, both[["left", "right"]]),
        "Dask": (chunked(X), chunked(TARGETS, (90, 90))),
        "Dask frame": (dask_frame(), dask_frame(both)[["left", "right"]]),
        "xarray": (ARRAY, xr.DataArray(TARGETS.T, dims=("target", "sample"))),
        "CSR": (sp.csc_array(X), TARGETS),
        "device": (duck.asduck(X), duck.asduck(TARGETS)),
    }[form]
    expected = Ridge(tol=1e-12).fit(X, TARGETS)
    fitted = Ridge(tol=1e-12).fit(given, y)
    assert_allclose(fitted.coef_, expected.coef_, rtol=0, atol=1e-10)
    assert fitted.score(given, y) == pytest.approx(expected.score(X, TARGETS), abs=1e-12)
    predicted = fitted.predict(given)
    if form == "xarray":
        assert predicted.dims == ("sample", "target")
    if form == "Dask frame":
        assert predicted.divisions == given.divisions
        predicted = predicted.compute()
        pd.testing.assert_index_equal(predicted.index, FRAME.index)
        predicted = predicted.to_numpy()
    assert_allclose(predicted.get() if form == "device" else np.asarray(predicted), expected.predict(X), atol=1e-10)


@cases(
    "form, name",
    itertools.product(["NumPy", "pandas", "Dask", "Dask frame", "xarray", "CSR", "device"], ["offset", "exposure"]),
    together=1,
)
def test_offsets_and_exposures_in_fit_and_predict(form, name):
    values = 0.2 * OFFSET if name == "offset" else np.exp(0.2 * OFFSET)
    frame = FRAME.assign(values=values, y=COUNTS)
    given, y, more = {
        "NumPy": (X, COUNTS, values.tolist()),
        "pandas": (FRAME, frame["y"], frame["values"]),
        "Dask": (chunked(X), COUNTS, chunked(values, (90, 90))),
        "Dask frame": (dask_frame(), dask_frame(frame)["y"], dask_frame(frame)["values"]),
        "xarray": (ARRAY, COUNTS, xr.DataArray(values, dims="sample")),
        "CSR": (sp.csr_array(X), COUNTS, values),
        "device": (duck.asduck(X), COUNTS, duck.asduck(values)),
    }[form]
    expected = PoissonRegressor(alpha=0.1, tol=1e-11).fit(X, COUNTS, offset=0.2 * OFFSET)
    fitted = PoissonRegressor(alpha=0.1, tol=1e-11).fit(given, y, **{name: more})
    assert_allclose(fitted.coef_, expected.coef_, rtol=0, atol=1e-9)
    predicted = fitted.predict(given, **{name: more})
    predicted = predicted.get() if form == "device" else np.asarray(predicted)
    assert_allclose(predicted, expected.predict(X, offset=0.2 * OFFSET), rtol=1e-8)
    assert fitted.coef_xarray().dims == ("feature",)


def test_offsets_of_the_wrong_width():
    with pytest.raises(ValueError, match="offset has 3 columns and the model has 1 outputs"):
        PoissonRegressor().fit(X, COUNTS, offset=np.ones((180, 3)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        PoissonRegressor().fit(X, COUNTS, offset=OFFSET[:90])
    with pytest.raises(ValueError, match="X has 180, offset has 90"):
        PoissonRegressor().fit(chunked(X), COUNTS, offset=OFFSET[:90])
