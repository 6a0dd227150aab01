"""The checks for Dask: all our estimators keep the conventions, and whoever breaks one is caught by its check."""

import re
import sys

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from distributed import Client
from plain_estimators import Plain, PlainClassifier, PlainScaler

import dask_newton
from dask_newton.testing import (
    check_dask_estimator,
    dask_estimator_checks_generator,
    execution_checks,
    fit_checks,
    input_checks,
    parametrize_with_dask_checks,
    predict_checks,
)

# Networks end where their training does, which depends on rounding, unless it comes to a minimum.
SMALL = {"hidden_layer_sizes": (1,), "activation": "tanh", "alpha": 10.0, "solver": "lbfgs", "tol": 1e-7}
OURS = [getattr(dask_newton, name)(**(SMALL if "MLP" in name else {})) for name in dask_newton.estimators.__all__]
# One of each family, which together get all checks.
FAMILIES = ("LogisticRegression", "MLPClassifier", "PoissonRegressor", "Ridge")
PLAIN = [Plain(), PlainClassifier(), PlainScaler()]


@parametrize_with_dask_checks([e for e in OURS if type(e).__name__ in FAMILIES], max_reads=1)
@pytest.mark.cluster
def test_our_estimators_keep_the_conventions(cluster_client, estimator, check):
    check(estimator)


@parametrize_with_dask_checks([e for e in OURS if type(e).__name__ not in FAMILIES], max_reads=1)
@pytest.mark.cluster
@pytest.mark.slow
def test_so_do_the_others_of_each_family(cluster_client, estimator, check):
    check(estimator)


@parametrize_with_dask_checks(PLAIN, rtol=1e-9, max_reads=1)
@pytest.mark.cluster
def test_so_do_the_smallest_estimators_that_can(cluster_client, estimator, check):
    check(estimator)


# One estimator for each way to break a convention. Each is a sound one but for what it overrides.


class ComputesToPredict(Plain):
    def predict(self, X):
        predicted = super().predict(X)
        return da.from_array(predicted.compute()) if isinstance(X, da.Array) else predicted


class PredictsInMemory(Plain):
    def predict(self, X):
        return np.asarray(super().predict(X))


class PredictsInOtherChunks(Plain):
    def predict(self, X):
        predicted = super().predict(X)
        return predicted.rechunk({0: 20}) if isinstance(X, da.Array) and not np.isnan(X.shape[0]) else predicted


class MisstatesTheDtype(Plain):
    def predict(self, X):
        predicted = super().predict(X)
        return predicted.map_blocks(np.float32, meta=np.empty(0)) if isinstance(X, da.Array) else predicted


class MisstatesTheChunks(PlainClassifier):
    def decision_function(self, X):
        if isinstance(X, np.ndarray):
            return super().decision_function(X)
        return X.rechunk({1: -1}).map_blocks(self._margins, dtype=X.dtype, meta=np.empty((0, 0)))


class SumsChunksWrong(Plain):
    """The mean of the solutions of the chunks, which is not the solution."""

    def _sum(self, fn, *columns):
        n = columns[0].numblocks[0]
        return super()._sum(fn, *(None if a is None else a.blocks[: max(1, n - 1)] for a in columns))


class NeedsRowsInEveryChunk(Plain):
    def _sum(self, fn, *columns):
        if 0 in columns[0].chunks[0]:
            raise IndexError("index 0 is out of bounds")
        return super()._sum(fn, *columns)


class NeedsKnownChunks(Plain):
    def _sum(self, fn, *columns):
        return super()._sum(fn, *(None if a is None else a.rechunk({0: len(columns[0])}) for a in columns))


class KeepsDaskAttributes(Plain):
    def _solve(self, gram, dtype):
        super()._solve(gram, dtype)
        self.coef_ = da.from_array(self.coef_)


class KeepsTheGraph(Plain):
    def fit(self, X, y, sample_weight=None):
        self._fitted_on = {"X": X}
        return super().fit(X, y, sample_weight)


class CannotBePickled(Plain):
    def fit(self, X, y, sample_weight=None):
        self._link = lambda z: z
        return super().fit(X, y, sample_weight)


class KeepsTheData(Plain):
    def fit(self, X, y, sample_weight=None):
        self._chunks = dask.compute(*X.to_delayed().ravel()) if isinstance(X, da.Array) else None
        return super().fit(X, y, sample_weight)


class AddsUpAllFits(Plain):
    def _solve(self, gram, dtype):
        before = getattr(self, "_gram", None)
        self._gram = gram if before is None or len(before.xx) != len(gram.xx) else before + gram
        super()._solve(self._gram, dtype)


class ChangesItsParameters(Plain):
    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        self.alpha = self.alpha * len(self.coef_)
        return self


class ReturnsAttributes(Plain):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, sample_weight).coef_


class CentresInPlace(PlainScaler):
    def transform(self, X):
        def centre(chunk):
            chunk[:1] *= 1 - 1e-9
            return chunk - self.mean_

        return self._map(centre, X, len(self.mean_))


class ComputesTheChunksOfTheUser(Plain):
    def fit(self, X, y, sample_weight=None):
        if isinstance(X, da.Array) and np.isnan(X.shape[0]):
            X.compute_chunk_sizes()
            y.compute_chunk_sizes()
        return super().fit(X, y, sample_weight)


class IgnoresLazyWeights(Plain):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, None if isinstance(sample_weight, da.Array) else sample_weight)


class IgnoresWeights(Plain):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y)


class KnowsTheClassesOfOneChunk(PlainClassifier):
    def _classes(self, y):
        return super()._classes(y.blocks[:2])


class PredictsAnotherClass(PlainClassifier):
    def _classes(self, y):
        classes = super()._classes(y)
        return classes if len(classes) > 1 else np.array([classes[0] - 1, classes[0] - 2])


class RefusesWithoutReason(PlainClassifier):
    def _classes(self, y):
        classes = super()._classes(y)
        if len(classes) < 2:
            raise ValueError("bad input")
        return classes


class WantsDaskTargets(Plain):
    def fit(self, X, y, sample_weight=None):
        if isinstance(X, da.Array) and isinstance(y, np.ndarray):
            raise TypeError("y must be a Dask array")
        return super().fit(X, y, sample_weight)


class FitsOneTarget(Plain):
    def fit(self, X, y, sample_weight=None):
        if isinstance(y, da.Array) and y.ndim == 2:
            y = y[:, :1]
        return super().fit(X, y, sample_weight)


class ScoresLazily(Plain):
    def score(self, X, y, sample_weight=None):
        score = super().score(X, y, sample_weight)
        return da.from_array(score) if isinstance(X, da.Array) else score


class ScoresTheFirstChunk(Plain):
    def score(self, X, y, sample_weight=None):
        if isinstance(X, da.Array):
            X, y = X.blocks[:2], y.blocks[:2]
            sample_weight = None if sample_weight is None else sample_weight.blocks[:2]
        return super().score(X, y, sample_weight)


class ScoresWithoutWeights(Plain):
    def score(self, X, y, sample_weight=None):
        return super().score(X, y, None if isinstance(X, da.Array) else sample_weight)


class WidensFloat32(Plain):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X.astype(float) if isinstance(X, da.Array) else X, y, sample_weight)


class ForgetsNames(Plain):
    def _columns(self, X, y=None, weight=None, *, reset):
        return super()._columns(self._array(X), y, weight, reset=reset)


class TakesAnyColumns(Plain):
    def predict(self, X):
        if hasattr(X, "columns"):
            X = X.rename(columns=dict(zip(X.columns, self.feature_names_in_, strict=True)))
        return super().predict(X)


class SaysItTakesSparse(Plain):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _array(self, a):
        return np.asarray(a.toarray()) if scipy.sparse.issparse(a) else super()._array(a)


class FillsNaN(Plain):
    def _sum(self, fn, X, y, weight):
        return super()._sum(fn, da.nan_to_num(X), y, weight)


class FillsTargets(Plain):
    def _sum(self, fn, X, y, weight):
        return super()._sum(fn, X, da.nan_to_num(y), weight)


class Truncates(Plain):
    def _columns(self, X, y=None, weight=None, *, reset):
        X, y, weight = (self._array(a) for a in (X, y, weight))
        if y is not None and not np.isnan(X.shape[0] + y.shape[0]):
            n = min(len(X), len(y))
            X, y, weight = X[:n], y[:n], None if weight is None else weight[:n]
        return super()._columns(X, y, weight, reset=reset)


class TruncatesWeights(Plain):
    def fit(self, X, y, sample_weight=None):
        if isinstance(sample_weight, da.Array) and len(sample_weight) < len(X):
            X, y = X[: len(sample_weight)], y[: len(sample_weight)]
        return super().fit(X, y, sample_weight)


class TakesOtherFeatures(Plain):
    def predict(self, X):
        missing = self.n_features_in_ - X.shape[1]
        return super().predict(da.concatenate([X, X[:, :missing]], axis=1) if missing else X)


class RefusesFeaturesLate(Plain):
    def predict(self, X):
        if X.shape[1] == self.n_features_in_:
            return super().predict(X)
        return X.map_blocks(self._margins, dtype=X.dtype, drop_axis=1, meta=np.empty(0))


class FailsUnfitted(Plain):
    def predict(self, X):
        self.coef_.ndim  # noqa: B018
        return super().predict(X)


class StartsAClient(Plain):
    started = []

    def __init__(self, alpha=0.1):
        self.started.append(
            Client(
                processes=False,
                n_workers=1,
                threads_per_worker=1,
                dashboard_address=None,
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            )
        )
        super().__init__(alpha)


class JoinsTheChunks(Plain):
    def fit(self, X, y, sample_weight=None):
        return super().fit(*(a if a is None else np.asarray(a) for a in (X, y, sample_weight)))


class ReadsTwice(Plain):
    def fit(self, X, y, sample_weight=None):
        if isinstance(X, da.Array):
            X.sum().compute()
        return super().fit(X, y, sample_weight)


class OnlyOneThread(Plain):
    def _sum(self, fn, *columns):
        gram = super()._sum(fn, *columns)
        if dask.config.get("scheduler") == "threads":
            gram.xx[0] *= 2
        return gram


class KeepsFutures(Plain):
    def fit(self, X, y, sample_weight=None):
        if isinstance(X, da.Array):
            self._data = X.persist()
        return super().fit(X, y, sample_weight)


class LeavesResultsBehind(Plain):
    left = []

    def fit(self, X, y, sample_weight=None):
        if isinstance(X, da.Array):
            # Under a key of its own: the client may still be about to let go of X of another test.
            self.left.append((X + np.random.default_rng().random()).persist())
        return super().fit(X, y, sample_weight)


# Who breaks what, and a part of what is said of it.
BROKEN = [
    (ComputesToPredict, predict_checks.check_dask_method, "computes 3 chunks of X before values are requested"),
    (PredictsInMemory, predict_checks.check_dask_method, "predict computes"),
    (PredictsInOtherChunks, predict_checks.check_dask_method, "predict returns the row chunks"),
    (MisstatesTheDtype, predict_checks.check_dask_method, "says it has dtype float64, the values have float32"),
    (MisstatesTheChunks, predict_checks.check_dask_method, r"a chunk of shape \(.* 4.*\), and its shape is \(.*, 3\)"),
    (SumsChunksWrong, fit_checks.check_dask_fit_equals_numpy, "coef_ differs from NumPy arrays"),
    (NeedsRowsInEveryChunk, fit_checks.check_dask_fit_equals_numpy, "IndexError.*\n.*empty chunks"),
    (NeedsKnownChunks, fit_checks.check_dask_fit_equals_numpy, "unknown chunk sizes"),
    (KeepsDaskAttributes, fit_checks.check_dask_fit_is_concrete, "attribute coef_ holds dask.array.core.Array"),
    (KeepsTheGraph, fit_checks.check_dask_fit_is_concrete, "attribute _fitted_on holds dask.array.core.Array"),
    (CannotBePickled, fit_checks.check_dask_fit_is_concrete, "attribute _link: it cannot be pickled"),
    (KeepsTheData, fit_checks.check_dask_fit_forgets_data, "the pickle has .* bytes"),
    (AddsUpAllFits, fit_checks.check_dask_fit_twice, "coef_ differs"),
    (ChangesItsParameters, fit_checks.check_dask_parameters_are_untouched, r"changes the parameters \['alpha'\]"),
    (ReturnsAttributes, fit_checks.check_dask_parameters_are_untouched, "does not return the estimator"),
    (CentresInPlace, fit_checks.check_dask_inputs_are_untouched, "entries of X are written to"),
    (ComputesTheChunksOfTheUser, fit_checks.check_dask_inputs_are_untouched, "the array X itself is changed"),
    (IgnoresLazyWeights, fit_checks.check_dask_sample_weight, "coef_ differs"),
    (IgnoresWeights, fit_checks.check_dask_sample_weight_is_repetition, "coef_ differs"),
    (KnowsTheClassesOfOneChunk, fit_checks.check_dask_labels_by_chunk, "classes_ has shape"),
    (PredictsAnotherClass, fit_checks.check_dask_one_class, "predicts labels other than the only one"),
    (RefusesWithoutReason, fit_checks.check_dask_one_class, "only one class: bad input"),
    (WantsDaskTargets, fit_checks.check_dask_fit_on_mixed_arrays, "TypeError: y must be a Dask array"),
    (FitsOneTarget, fit_checks.check_dask_several_targets, "coef_ has shape"),
    (ScoresLazily, predict_checks.check_dask_score, "score returns a Array, not a number"),
    (ScoresTheFirstChunk, predict_checks.check_dask_score, "score differs"),
    (ScoresWithoutWeights, predict_checks.check_dask_score_sample_weight, "score differs"),
    (WidensFloat32, input_checks.check_dask_float32, "coef_ has dtype float64"),
    (ForgetsNames, input_checks.check_dask_dataframe, "feature_names_in_ is None"),
    (TakesAnyColumns, input_checks.check_dask_dataframe_columns, "an unknown column raises no ValueError"),
    (SaysItTakesSparse, input_checks.check_dask_sparse, r"Found: \w+Error"),
    (FillsNaN, input_checks.check_dask_fit_refuses_nan, "nan in the last chunk of X raises no ValueError"),
    (FillsTargets, input_checks.check_dask_fit_refuses_nan_targets, "nan in the last chunk of y raises no"),
    (Truncates, input_checks.check_dask_fit_refuses_lengths, "a target too few raises no"),
    (TruncatesWeights, input_checks.check_dask_fit_refuses_lengths, "a weight too few raises no"),
    (TakesOtherFeatures, predict_checks.check_dask_method_refuses_other_features, "with 3 features raises no"),
    (RefusesFeaturesLate, predict_checks.check_dask_method_refuses_other_features, "with 3 features raises no"),
    (FailsUnfitted, predict_checks.check_dask_method_refuses_unfitted, "AttributeError"),
    (StartsAClient, execution_checks.check_dask_no_client, "the constructor starts a client"),
    (JoinsTheChunks, execution_checks.check_dask_fit_keeps_chunks_apart, "return an array with all rows of X"),
    (ReadsTwice, execution_checks.check_dask_fit_reads, "computed 2 times; at most 1 are allowed"),
    (OnlyOneThread, execution_checks.check_dask_threads, "coef_ differs"),
    (KeepsFutures, execution_checks.check_dask_distributed, "attribute _data holds .*dask.array.core.Array"),
    (LeavesResultsBehind, execution_checks.check_dask_distributed, r"the cluster keeps \d results"),
]


@pytest.fixture
def nothing_is_left():
    yield
    LeavesResultsBehind.left.clear()
    while StartsAClient.started:
        StartsAClient.started.pop().close()


def failures(estimator, check):
    """Return what all cases of one check say of an estimator."""
    said = []
    for _, case in dask_estimator_checks_generator(estimator, rtol=1e-9, max_reads=1):
        if getattr(case, "func", case) is check:
            try:
                case(estimator)
            except AssertionError as error:
                said.append(str(error))
    return said


@pytest.mark.cluster
@pytest.mark.parametrize(("broken", "check", "message"), BROKEN, ids=[case[0].__name__ for case in BROKEN])
def test_who_breaks_a_convention_is_caught_by_its_check(request, nothing_is_left, monkeypatch, broken, check, message):
    monkeypatch.setattr(execution_checks, "_SECONDS_TO_FORGET", 0.5)
    if check is execution_checks.check_dask_distributed:
        request.getfixturevalue("cluster_client")
    estimator = broken()
    said = failures(estimator, check)
    rule = check.__doc__.partition("\n")[0]
    assert any(re.search(message, text) for text in said), said
    for text in said:
        assert text.startswith(f"{broken.__name__} breaks a convention of estimators on Dask.")
        assert f"Convention: {rule}" in text and f"Check: {check.__name__}" in text


def test_every_check_is_seen_to_fail():
    there = {
        getattr(module, name)
        for module in (execution_checks, fit_checks, input_checks, predict_checks)
        for name in module.__all__
    }
    assert {check for _, check, _ in BROKEN} == there


def test_every_check_runs_on_some_estimator_of_ours():
    ours = [e for e in OURS if type(e).__name__ in FAMILIES]
    ran = {getattr(c, "func", c) for e in ours for _, c in dask_estimator_checks_generator(e, max_reads=1)}
    assert ran == {check for _, check, _ in BROKEN}


@pytest.mark.cluster
@pytest.mark.slow
def test_without_a_client_two_processes_are_started():
    assert not failures(PlainScaler(), execution_checks.check_dask_distributed)
    with pytest.raises(ValueError):
        Client.current()


def test_the_first_failure_is_raised():
    with pytest.raises(AssertionError, match="(?s)NeedsKnownChunks breaks.*unknown chunk sizes"):
        check_dask_estimator(NeedsKnownChunks())


@pytest.mark.cluster
def test_all_failures_are_told(cluster_client):
    results = check_dask_estimator(
        NeedsKnownChunks(), on_fail=None, expected_failed_checks={"check_dask_sample_weight": "weights need sizes"}
    )
    names = {status: {r["check_name"] for r in results if r["status"] == status} for status in ("failed", "xfail")}
    assert names["xfail"] == {"check_dask_sample_weight"}
    assert "check_dask_fit_equals_numpy" in names["failed"]
    for result in results:
        assert (result["exception"] is None) == (result["status"] == "passed")
        expected = result["check_name"] == "check_dask_sample_weight"
        assert result["expected_to_fail"] == expected
        assert result["expected_to_fail_reason"] == ("weights need sizes" if expected else None)


def test_what_is_expected_to_fail_is_marked_for_pytest():
    def reasons(estimator):
        return {"check_dask_threads": type(estimator).__name__}

    mark = parametrize_with_dask_checks([Plain(), PlainScaler()], expected_failed_checks=reasons)
    marked = [(case.id, case.marks[0].kwargs["reason"]) for case in mark.args[1] if case.marks]
    assert marked == [("Plain-check_dask_threads", "Plain"), ("PlainScaler-check_dask_threads", "PlainScaler")]
    ids = [case.id for case in mark.args[1]]
    assert len(ids) == len(set(ids))
    assert "Plain-check_dask_method(predict, empty chunks)" in ids


@pytest.mark.cluster
def test_frames_are_left_out_where_they_cannot_be_made(cluster_client, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.dataframe", None)
    results = check_dask_estimator(PlainScaler(), on_fail=None)
    skipped = {r["check_name"] for r in results if r["status"] == "skipped"}
    assert skipped == {"check_dask_dataframe", "check_dask_dataframe_columns"}


def checks_of(estimator):
    return {getattr(c, "func", c).__name__ for _, c in dask_estimator_checks_generator(estimator)}


def test_tags_choose_the_checks():
    regressor, classifier, scaler = (checks_of(estimator) for estimator in PLAIN)
    assert classifier - regressor == {"check_dask_labels_by_chunk", "check_dask_one_class"}
    assert regressor - classifier == {"check_dask_several_targets", "check_dask_fit_refuses_nan_targets"}
    assert {name for name in scaler if "weight" in name or "lengths" in name or "targets" in name} == set()
    assert checks_of(SaysItTakesSparse()) - regressor == {"check_dask_sparse"}
    assert "check_dask_fit_reads" not in regressor  # only if it is said how often


class ScoresOnlyRows(Plain):
    def score(self, X, y):
        return super().score(X, y)


def test_weights_are_for_scores_that_take_them():
    assert checks_of(PLAIN[0]) - checks_of(ScoresOnlyRows()) == {"check_dask_score_sample_weight"}


class TakesPairs(Plain):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = True
        return tags


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(TypeError, match=r"Pass an estimator, Plain\(\), not the class"):
        check_dask_estimator(Plain)
    with pytest.raises(ValueError, match="according to its tags, TakesPairs takes other input"):
        check_dask_estimator(TakesPairs())
