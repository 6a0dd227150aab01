r"""
A multi-layer perceptron compared with scikit-learn's: accuracy against seconds
===============================================================================

On one machine rounds cost almost nothing, and :class:`sklearn.neural_network.MLPClassifier` is hard to beat: its Adam
takes small steps on 200 rows at a time. How accurate is each on unseen rows after the same number of seconds?

``python plot_mlp_beside_sklearn.py --full mnist.zarr --hidden 400`` uses a data set with the splits ``train`` and
``test``.
"""

# %%
# Both minimise the same objective from random weights, in this process, on all its cores.

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from dask_newton import MLPClassifier
from dask_newton.data import open_dataset

parser = argparse.ArgumentParser()
parser.add_argument("--full", metavar="DATA", help="Path of a Zarr data set with the splits train and test.")
parser.add_argument("--hidden", default="40", help="Units of the hidden layers.")
parser.add_argument("--max-seconds", type=float, default=8.0, help="Time limit for each solver.")
parser.add_argument("--save", metavar="PNG", help="Where to save the figure.")
options = parser.parse_args()

if options.full:
    splits = [open_dataset(f"{options.full}/{name}") for name in ("train", "test")]
    (X, y), (X_test, y_test) = [(split.X.compute(), split.y.compute()) for split in splits]
else:
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order] / 16, y[order]
    X, X_test, y, y_test = X[:1400], X[1400:], y[:1400], y[1400:]

shared = {
    "hidden_layer_sizes": [int(n) for n in options.hidden.split(",")], "activation": "tanh", "alpha": 1e-4,
    "random_state": 0, "tol": 0.0,
}  # fmt: skip
warnings.simplefilter("ignore", ConvergenceWarning)  # every run ends when its time is up


def ours(solver):
    """Return seconds and accuracies after every iteration."""
    clf = MLPClassifier(solver=solver, max_iter=10_000, n_iter_no_change=10_000, **shared)
    clf.set_params(max_seconds=options.max_seconds).fit(X, y, X_val=X_test, y_val=y_test)
    return clf.history_.to_pandas()[["seconds", "validation_score"]].to_numpy()


def adam_of_sklearn():
    """Return seconds and accuracies after every epoch."""
    clf = neural_network.MLPClassifier(solver="adam", **shared)
    seconds, found = 0.0, []
    while seconds < options.max_seconds:
        began = time.perf_counter()
        clf.partial_fit(X, y, classes=np.unique(y))
        seconds += time.perf_counter() - began
        found.append((seconds, clf.score(X_test, y_test)))
    return np.array(found)


def lbfgs_of_sklearn():
    """Return seconds and accuracies of fits with increasing numbers of iterations, each from the start."""
    found, n = [(0.0, 0.0)], 5
    while found[-1][0] < options.max_seconds / 2:
        began = time.perf_counter()
        clf = neural_network.MLPClassifier(solver="lbfgs", max_iter=n, max_fun=10 * n, **shared).fit(X, y)
        found.append((time.perf_counter() - began, clf.score(X_test, y_test)))
        if clf.n_iter_ < n:  # it cannot continue
            break
        n *= 2
    return np.array(found[1:])


curves = {
    **{f"{solver}, dask_newton": ours(solver) for solver in ("gn-cg", "lbfgs", "adam")},
    "adam, scikit-learn": adam_of_sklearn(),
    "lbfgs, scikit-learn": lbfgs_of_sklearn(),
}


def best(curve, seconds):
    """Return the best accuracy within so many seconds."""
    within = curve[curve[:, 0] <= seconds, 1]
    return within.max() if len(within) else np.nan


# %%
# On MNIST with a 784-400-10 network, on one machine, scikit-learn's Adam is ahead at all times: small steps learn
# early, and its epochs take half as long as ours, which send a float64 vector of all parameters with every pass. The
# two L-BFGS curves are similar, with ours ahead, and gn-cg catches up with them late. The solvers here are made to save
# rounds: L-BFGS needs one pass for each evaluation on all rows, Adam one for every 200 rows.

times = options.max_seconds / 2.0 ** np.arange(5, -1, -1)
table = pd.DataFrame({f"{t:.3g} s": {name: best(curve, t) for name, curve in curves.items()} for t in times})
print(table.to_string(na_rep="-", float_format="{:.4f}".format))

fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, curve in curves.items():
    ax.plot(curve[:, 0], 1 - curve[:, 1], marker=".", label=name)
ax.set(xlabel="seconds", ylabel="error on unseen rows", xscale="log", yscale="log")
ax.grid(color="0.9")
ax.legend(frameon=False)
if options.save:
    fig.savefig(options.save, dpi=120)
plt.show()
