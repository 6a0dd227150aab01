"""What fit takes besides rows: classes, starts, offsets, held-out rows, penalties of one's own; and who looks on."""

import dask.array as da
import numpy as np
import pytest
import sklearn.linear_model
from numpy.testing import assert_allclose
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import dask_newton.estimators
from dask_newton import LogisticRegression, Ridge
from dask_newton.penalties import L1, L2, GroupLasso

X, Y = load_iris(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(Y))
X, Y = (X[ORDER] - X.mean(axis=0)) / X.std(axis=0), Y[ORDER]
TWO = np.minimum(Y, 1)


def as_dask(*arrays):
    return [da.from_array(a, chunks=(40, *a.shape[1:])) for a in arrays]


@pytest.mark.parametrize("make", [lambda *a: a, as_dask])
def test_classes_that_are_given_are_not_searched(make):
    found = LogisticRegression(tol=1e-9).fit(*make(X, Y))
    given = LogisticRegression(tol=1e-9).fit(*make(X, Y), classes=[2, 0, 1])
    np.testing.assert_array_equal(given.classes_, [0, 1, 2])
    np.testing.assert_array_equal(given.coef_, found.coef_)


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0}])
def test_a_class_may_be_missing_from_the_rows(class_weight):
    """It gets small probabilities, by the penalty alone."""
    some = Y < 2
    fitted = LogisticRegression(tol=1e-9, class_weight=class_weight).fit(X[some], Y[some], classes=[0, 1, 2])
    probabilities = fitted.predict_proba(X[some])
    assert probabilities.shape == (some.sum(), 3)
    assert probabilities[:, 2].max() < 0.05
    assert set(fitted.predict(X[some])) == {0, 1}


@pytest.mark.parametrize("make", [lambda *a: a, as_dask])
def test_labels_that_are_not_among_the_classes_are_named(make):
    with pytest.raises(ValueError, match=r"labels that are not among the classes: \[2\]; classes are \[0, 1\]"):
        LogisticRegression().fit(*make(X, Y), classes=[0, 1])
    for wrong in ([0], [0, 0, 1], [[0, 1]]):
        with pytest.raises(ValueError, match="classes must be a list of at least two different labels"):
            LogisticRegression().fit(*make(X, Y), classes=wrong)


def test_a_given_start_saves_iterations():
    first = LogisticRegression(tol=1e-9).fit(X, Y)
    again = LogisticRegression(tol=1e-8).fit(X, Y, coef_init=first.coef_, intercept_init=first.intercept_)
    assert again.n_iter_[0] == 0 < first.n_iter_[0]
    assert_allclose(again.coef_, first.coef_, rtol=1e-13)
    with pytest.raises(ValueError, match="coef_init is for 1 outputs and 4 features; the data have 3 and 4"):
        LogisticRegression().fit(X, Y, coef_init=np.zeros((1, 4)))


@pytest.mark.parametrize(
    ("name", "limit", "n_iter"), [("max_rounds", 5, 2), ("max_bytes", 1.0, 0), ("max_seconds", 0, 0)]
)
def test_a_fit_ends_on_a_budget(name, limit, n_iter):
    with pytest.warns(ConvergenceWarning, match=rf"\({name}\).*raise {name}"):
        fitted = LogisticRegression(solver="lbfgs", **{name: limit}).fit(X, Y)
    assert fitted.result_.status == name and not fitted.converged_
    assert fitted.n_iter_ == n_iter


def test_every_estimator_takes_the_budgets():
    for name in dask_newton.estimators.__all__:
        budgets = {"max_rounds": 7, "max_bytes": 1e9, "max_seconds": 60.0}
        assert getattr(dask_newton, name)(**budgets).get_params().items() >= budgets.items()


@pytest.mark.parametrize("make", [lambda *a: a, as_dask])
@pytest.mark.parametrize("labels", [Y, TWO])
def test_an_offset_is_a_column_with_the_coefficient_one(make, labels):
    """Fitting with the margins of a model as offset, without a penalty, leaves nothing to be explained."""
    full = LogisticRegression(C=np.inf, tol=1e-11, max_iter=300).fit(*make(X[:, 1:], np.roll(labels, 1)))
    margins = full.decision_function(X[:, 1:])
    rest = LogisticRegression(C=np.inf, tol=1e-9).fit(
        *make(X[:, 1:], np.roll(labels, 1)), offset=make(margins)[0] if make is as_dask else margins
    )
    assert_allclose(rest.coef_, 0, atol=1e-6)
    assert_allclose(rest.predict_proba(X[:, 1:], offset=margins), full.predict_proba(X[:, 1:]), atol=1e-6)
    assert_allclose(np.asarray(rest.decision_function(*make(X[:, 1:]), offset=make(margins)[0])), margins, atol=1e-5)


def test_held_out_rows_end_the_fit_at_the_best_iteration():
    """Labels that are noise: whatever is learnt makes the loss on other rows larger."""
    rng = np.random.default_rng(3)
    rows, noise = rng.normal(size=(60, 40)), rng.integers(0, 2, 60)
    fit = LogisticRegression(C=1e4, solver="lbfgs", early_stopping=True, n_iter_no_change=2)
    fit.fit(rows[:30], noise[:30], X_val=rows[30:], y_val=noise[30:])
    losses = fit.history_.to_pandas()["validation_loss"].to_numpy()
    assert fit.n_iter_[0] == np.argmin(losses) + 2
    p = fit.predict_proba(rows[30:])[np.arange(30), noise[30:]]
    assert -np.mean(np.log(p)) == pytest.approx(losses.min(), rel=1e-12)
    with pytest.raises(ValueError, match="X_val and y_val go together"):
        fit.fit(rows, noise, X_val=rows)
    with pytest.raises(ValueError, match="not among the classes"):
        fit.fit(rows, noise, X_val=rows, y_val=noise + 1)
    with pytest.raises(ValueError, match="X has 39 features, but LogisticRegression is expecting 40"):
        fit.fit(rows, noise, X_val=rows[:, 1:], y_val=noise)


def test_penalties_of_ones_own():
    n = len(Y)
    same = LogisticRegression(regularizer=L2(1 / n), tol=1e-11).fit(X, Y)
    assert_allclose(same.coef_, LogisticRegression(tol=1e-11).fit(X, Y).coef_, atol=1e-8)
    weighted = LogisticRegression(regularizer=L1(np.array([0.0, 0.02, 10.0, 0.02])), tol=1e-10).fit(X, Y)
    assert np.all(weighted.coef_[:, 2] == 0) and np.all(weighted.coef_[:, 0] != 0)
    # A feature of strength w has the coefficient of that feature divided by w at strength 1, divided by w.
    units = np.array([1.0, 4.0, 0.5, 2.0])
    scaled = LogisticRegression(regularizer=L1(0.02), tol=1e-11).fit(X / units, Y)
    direct = LogisticRegression(regularizer=L1(0.02 * units), tol=1e-11).fit(X, Y)
    assert_allclose(direct.coef_, scaled.coef_ / units, atol=1e-7)
    groups = LogisticRegression(regularizer=GroupLasso([0, 0, 1, 1], 0.19), tol=1e-10).fit(X, Y)
    assert np.all(groups.coef_[:, :2] == 0) and np.all(groups.coef_[:, 2:] != 0)


def test_scoring_monitor_scores_every_iteration():
    monitor = ScoringMonitor(scoring="neg_log_loss")
    fit = LogisticRegression(solver="newton-cg", tol=1e-6).set_callbacks(monitor).fit(X, Y)
    log = monitor.get_logs().data
    by_iteration = [entry["neg_log_loss"] for entry in log if entry["task_name"] == "iteration"]
    values = fit.history_.to_pandas()
    assert len(by_iteration) == len(values) == fit.n_iter_[0] + 1
    assert by_iteration[0] == pytest.approx(-np.log(3))
    p = fit.predict_proba(X)[np.arange(len(Y)), Y]
    assert by_iteration[-1] == pytest.approx(np.mean(np.log(p)), rel=1e-12)


def test_a_callback_may_end_the_fit():
    class Enough:
        def __init__(self):
            self.events = []

        def setup(self, estimator, context):
            self.events.append("setup")

        def teardown(self, estimator, context):
            self.events.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            self.events.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context):
            self.events.append(f"end {context.task_name}")
            return context.task_name == "iteration" and context.task_id == 2

    enough = Enough()
    fit = Ridge(solver="lbfgs", tol=1e-12).set_callbacks(enough).fit(X, Y)
    assert fit.n_iter_ == 2 and fit.result_.status.value == "stopped"
    assert enough.events[:3] == ["setup", "begin fit", "begin iteration"]
    assert enough.events[-2:] == ["end fit", "teardown"]
    assert enough.events.count("begin iteration") == enough.events.count("end iteration")


def test_progress_bar_and_search(capsys):
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).set_callbacks(ProgressBar()).fit(X, Y)
    assert search.best_score_ > 0.9
    assert "LogisticRegression" in capsys.readouterr().out


@pytest.mark.parametrize("labels", [Y, TWO, np.array(["a", "b", "c"])[Y]])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_to_sklearn_and_back(labels, l1_ratio):
    mine = LogisticRegression(C=0.5, l1_ratio=l1_ratio, class_weight="balanced").fit(X, labels)
    theirs = mine.to_sklearn()
    assert type(theirs) is sklearn.linear_model.LogisticRegression
    assert_allclose(theirs.predict_proba(X), mine.predict_proba(X), rtol=1e-12)
    np.testing.assert_array_equal(theirs.predict(X), mine.predict(X))
    parameters = theirs.get_params()
    assert (parameters["C"], parameters["l1_ratio"], parameters["class_weight"]) == (0.5, l1_ratio, "balanced")
    back = LogisticRegression.from_sklearn(theirs)
    np.testing.assert_array_equal(back.predict_proba(X), mine.predict_proba(X))
    refitted = theirs.set_params(tol=1e-8, max_iter=10**5).fit(X, labels)
    assert_allclose(refitted.coef_, mine.coef_, atol=1e-4)
    with pytest.raises(TypeError, match="takes sklearn.linear_model.LogisticRegression, not Ridge"):
        LogisticRegression.from_sklearn(sklearn.linear_model.Ridge())
