"""
Step rules of pdADMM, at equal iterations and at equal work
===========================================================

pdADMM (Wang, Chai, Cheng, Zhao, ICDM 2020, arXiv:2009.02868) gives every layer of a network its own variables, so that
layers can be updated in parallel. The inputs and weights of a layer take gradient steps, whose lengths the authors'
code finds by halving, starting from one tenth. With the paper's nu = rho = 1e-4, the curvature of these sub-problems is
about a thousand times smaller than the value of ten that this start assumes, and halving never makes a step longer.

Because the sub-problems are quadratic, exact line searches have a closed form, one for each row and one for each unit.
Exact minimisers cost no more than that: one system of the size of a layer for all rows together.
"""

# %%
# Three hidden layers of 100 units on scikit-learn's digits, from the authors' initialisation.

import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dask_newton import make_network, minimize
from dask_newton.losses import Softmax
from dask_newton.objectives.network.layers import Layers
from dask_newton.penalties import NoPenalty
from dask_newton.solvers import DLADMM, PDADMM

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.2, random_state=0, stratify=y)
problem = make_network(
    X,
    y,
    loss=Softmax(10),
    hidden_layer_sizes=(100, 100, 100),
    activation="relu",
    penalty=NoPenalty(),
    initialisation="gauss",
)


def right(theta, A, labels, layers: Layers):
    """Return the share of rows that a network classifies correctly."""
    *hidden, (W, b) = layers.of(theta)
    for V, c in hidden:
        A = layers.activation.value(A @ V + c)
    return ((A @ W + b).argmax(axis=1) == labels).mean()


# %%
# A unit of work is the product of the inputs of a hidden layer with its weights. Our pdADMM needs 4.5 per iteration:
# one for the margins, two for the inputs, and one and a half for the moments, one of which is the product of a matrix
# with itself. The authors' code needs 14 if every search ends with its first trial. dlADMM goes through the layers
# twice.

ITERATIONS = 50
RULES = {
    "authors' steps": (PDADMM(steps="reference"), 14.0),
    "exact line searches": (PDADMM(steps="gradient"), 4.5),
    "minimisers, weights with a proximal term": (PDADMM(steps="fast"), 4.5),
    "dlADMM, minimisers": (DLADMM(steps="fast"), 8.5),
}
records = {}
for name, (solver, units) in RULES.items():
    rows = []

    def look(row, state, rows=rows, units=units):
        """Note the accuracy."""
        rows.append(
            {
                "iteration": row["iteration"],
                "units": units * row["iteration"],
                "train": right(state.W, X, y, problem.layers),
                "test": right(state.W, X_test, y_test, problem.layers),
                "residual": row.get("primal_residual", float("nan")),
            }
        )
        return row["iteration"] == ITERATIONS

    minimize(problem, solver, tol=0.0, max_iter=ITERATIONS, callbacks=[look])
    records[name] = pd.DataFrame(rows)

table = pd.DataFrame(
    {name: frame.set_index("iteration").loc[[1, 10, 25, 50], "train"] for name, frame in records.items()}
).T
for what in ("test", "residual"):
    table[what] = [frame[what].iloc[-1] for frame in records.values()]
print(table.round(3).to_string())

# %%
# At equal work: the accuracy of each after as many products as the authors' steps take in 15 iterations.

work = 15 * 14.0
print(pd.Series({name: frame[frame["units"] <= work]["train"].iloc[-1] for name, frame in records.items()}).round(3))

# %%
# The residual of the constraint, norm(P - Q), does not indicate progress: it is smallest for the authors' steps,
# because nothing moves.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True)
for name, frame in records.items():
    for ax, x in zip(axes, ("iteration", "units"), strict=True):
        ax.plot(frame[x], frame["train"], label=name)
axes[0].set(xlabel="iterations", ylabel="accuracy on the rows")
axes[1].set(xlabel="products per layer", xlim=(0, work * 2))
axes[0].legend()
plt.tight_layout()
plt.show()
