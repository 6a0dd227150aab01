r"""
A multi-layer perceptron: solvers compared by rounds
====================================================

:class:`~dask_newton.MLPClassifier` has scikit-learn's parameters and objective. On distributed data the communication
round is what costs, so this example compares solvers by the number of rounds they need.
"""

# %%
# Digits in eight blocks of rows, and a network with two hidden layers.

import dask.array as da
import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from dask_newton import MLPClassifier, compare

X, y = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(y))
X, y = X[order] / 16, y[order]
X_train, y_train = da.from_array(X[:1400], chunks=(175, -1)), da.from_array(y[:1400], chunks=175)
X_test, y_test = X[1400:], y[1400:]

network = MLPClassifier((40, 15), activation="tanh", random_state=0)
network.fit(X_train, y_train)
print(
    f"{network.solver_.name}: accuracy {network.score(X_test, y_test):.3f} after {network.n_iter_} iterations and "
    f"{network.n_rounds_} rounds; {network.result_.status}"
)

# %%
# All solvers start from the same weights. Adam uses mini-batches of 200 rows, each of which costs one round down and
# one round up. The others evaluate the objective on all rows. Each solver may use 500 rounds.

found = compare(
    network,
    X_train,
    y_train,
    X_test=X_test,
    y_test=y_test,
    n_blocks=None,
    max_rounds=500,
    max_iter=1000,
    solvers=["lbfgs", "newton-cg", "gn-cg", "adam"],
)
print(found)
print(found.reaching(objective=0.1))

# %%
# The objective against rounds. The legend has the accuracy on unseen rows.

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for run in found.runs:
    run.history.plot("rounds", ax=ax, label=f"{run.label}, {run.score:.3f}", markersize=4)
ax.set_xscale("log")
ax.set_yscale("log")
ax.grid(color="0.9")
ax.legend(title="solver, test accuracy", frameon=False)
plt.show()
