r"""
pdADMM, figures 4 to 6: convergence, and accuracy compared with first-order methods
===================================================================================

Wang, Chai, Cheng and Zhao (ICDM 2020, arXiv:2009.02868) train a network with nine hidden layers of 500 units and relu.
Their figure 4 shows, for nu = rho = 0.1, an augmented Lagrangian that decreases monotonically and a residual that goes
to zero. Figures 5 and 6 show, for nu = rho = 1e-4, the accuracy over 100 epochs, compared with gradient descent,
Adadelta, Adagrad, Adam and dlADMM, each with all rows in every step. On MNIST pdADMM is second to Adam, and gradient
descent stays at 0.1.

``python plot_paper_pdadmm.py --full mnist.zarr`` uses the first 10,000 rows of a data set with the splits ``train`` and
``test``, with 14 x 14 pixels as in the paper; ``--rows 60000`` uses more rows, ``--pixels 28`` all pixels.
"""

# %%
# scikit-learn's digits and nine hidden layers of 50 units. Initial weights and biases are normal with standard
# deviation 0.1, as in the authors' code. The start of the paper's first-order methods is not known, so all methods also
# run from the weights of He et al. (2015). The learning rates are the paper's.

import argparse
import warnings

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from dask_newton import make_network, minimize
from dask_newton.data import open_dataset
from dask_newton.losses import Softmax
from dask_newton.penalties import NoPenalty
from dask_newton.solvers import DLADMM, GD, PDADMM, Adadelta, Adagrad, Adam

parser = argparse.ArgumentParser()
parser.add_argument("--full", metavar="DATA", help="Path of a Zarr data set of images of 28 x 28.")
parser.add_argument("--rows", type=int, default=10_000)
parser.add_argument("--pixels", type=int, choices=(14, 28), default=14, help="Across an image, with --full.")
parser.add_argument("--width", type=int, help="Units of a hidden layer; 50, or 500 with --full.")
parser.add_argument("--iterations", type=int, default=100)
parser.add_argument("--save", metavar="PNG", help="Where to save the figure.")
options = parser.parse_args()


def halved(images):
    """Return images of 14 x 14, means of four pixels."""
    return images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)


if options.full:
    splits = [open_dataset(f"{options.full}/{name}") for name in ("train", "test")]
    (X, y), (X_test, y_test) = [(s.X[: options.rows].compute(), s.y[: options.rows].compute()) for s in splits]
    if options.pixels == 14:
        X, X_test = halved(X), halved(X_test)
else:
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.2, random_state=0, stratify=y)
width = options.width or (500 if options.full else 50)


def problem_from(start):
    """Return the network with random weights of one kind."""
    return make_network(
        X, y, loss=Softmax(10), hidden_layer_sizes=[width] * 9, activation="relu", penalty=NoPenalty(),
        initialisation=start,
    )  # fmt: skip


def accuracy(layers, theta, A, labels):
    """Return the share of rows that a network classifies correctly."""
    *hidden, (W, b) = layers.of(theta.astype(X.dtype))
    for V, c in hidden:
        A = layers.activation.value(A @ V + c)
    return ((A @ W + b).argmax(axis=1) == labels).mean()


def run(solver, start):
    """Return the history, with accuracies."""
    problem = problem_from(start)

    def look(row, state):
        row["train"] = accuracy(problem.layers, state.W, X, y)
        row["test"] = accuracy(problem.layers, state.W, X_test, y_test)
        return row["iteration"] == options.iterations

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # first-order methods may end above their start
        found = minimize(problem, solver, tol=0, max_iter=options.iterations, callbacks=[look])
    return found.history.to_pandas()


# %%
# Figure 4: nu = rho = 0.1. The run continues after its own stopping rule is met.

figure_4 = run(PDADMM(nu=0.1, rho=0.1, absolute_tol=0.0, relative_tol=0.0), "gauss")[1:]
lagrangian, residual = figure_4["lagrangian"], figure_4["primal_residual"]
print(f"Increases of the augmented Lagrangian: {(lagrangian.diff() > 1e-9 * lagrangian.abs()).sum()}")
print(f"It falls from {lagrangian.iloc[0]:.4g} to {lagrangian.iloc[-1]:.4g}.")
print(f"The residual ends at {residual.iloc[-1] / residual.max():.1e} of its largest value.")

# %%
# Figures 5 and 6: nu = rho = 1e-4; dlADMM uses 1e-6, as in its own paper. Both ADMM methods minimise their sub-problems
# exactly; pdADMM also runs with gradient steps, as in the paper.

solvers = {
    "pdadmm": PDADMM(absolute_tol=0.0, relative_tol=0.0),
    "pdadmm, gradient steps": PDADMM(steps="gradient", absolute_tol=0.0, relative_tol=0.0),
    "dladmm": DLADMM(nu=1e-6, rho=1e-6),
    "gd": GD(0.01),
    "adagrad": Adagrad(0.1),
    "adadelta": Adadelta(1.0),
    "adam": Adam(1e-3),
}
found = {(start, name): run(solver, start) for start in ("gauss", "he") for name, solver in solvers.items()}
marks = [n for n in (10, 25, 50, 100) if n <= options.iterations]
table = pd.DataFrame(
    {
        key: {**{f"train, {n}": history["train"].get(n, np.nan) for n in marks}, "test": history["test"].iloc[-1]}
        for key, history in found.items()
    }
).T
table.index.names = ["start", "solver"]
print(table.to_string(na_rep="-", float_format="{:.3f}".format))

# %%
# From the authors' weights, pdADMM is ahead of all first-order methods, whose gradients hardly get through nine layers;
# only Adam makes progress. From better weights, Adam and Adadelta overtake both ADMM methods. dlADMM, with exact
# minimisers of its sub-problems, is ahead of pdADMM from either start. The paper does not see this, because it uses the
# authors' steps.
#
# On MNIST with the paper's layers (``--full mnist.zarr --rows 2000``) the Lagrangian also decreases monotonically, but
# the ranking differs: layers of 500 units lose less information, so Adam and Adadelta overtake both ADMM methods from
# either start, and gradient descent is close to them. There pdADMM ends ahead of dlADMM, and from the better weights it
# is third on unseen rows; Adam is first, as in the paper.

fig, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
lagrangian.plot(ax=axes[0, 0], logy=True, ylabel="augmented Lagrangian", title="nu = rho = 0.1")
residual.plot(ax=axes[0, 1], logy=True, ylabel="residual", title="nu = rho = 0.1")
for ax, start in zip(axes[1], ("gauss", "he"), strict=True):
    for name in solvers:
        found[start, name]["test"].plot(ax=ax, label=name)
    ax.set(ylabel="accuracy on unseen rows", title=f"nu = rho = 1e-4, start: {start}", ylim=(0, 1))
axes[1, 1].legend(fontsize="small", frameon=False)
if options.save:
    fig.savefig(options.save, dpi=120)
plt.show()
