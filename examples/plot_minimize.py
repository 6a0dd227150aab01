"""
The functional interface: objectives, solvers, callbacks
========================================================

Estimators are a thin layer over three things: an objective over blocks, a solver (a frozen set of hyper-parameters),
and one loop, :func:`dask_newton.minimize`.
"""

# %%
# An objective is a loss over blocks of rows plus a penalty on the coefficients. ``make_problem`` accepts the same input
# as estimators: arrays in memory, which it splits into ``n_blocks``, Dask arrays, data frames, paths of Zarr groups.

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer

from dask_newton import make_problem, minimize
from dask_newton.losses import Logistic
from dask_newton.penalties import L2
from dask_newton.solvers import GIANT, NewtonADMM, NewtonCG

X, y = load_breast_cancer(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
order = np.random.default_rng(0).permutation(len(y))  # GIANT works best if blocks resemble each other
problem = make_problem(X[order], y[order], loss=Logistic(), penalty=L2(1 / len(y)), n_blocks=4)
print("coefficients", problem.shape, "rows", problem.n_rows, "blocks", problem.blocks.n_blocks)

# %%
# Every public method of an objective is exactly one pass: one broadcast, work on every block, one sum. The meter counts
# them.

before = problem.blocks.meter.snapshot()
point = problem.at(np.zeros(problem.shape))
print("value at zero", round(point.value, 6), "which is log 2")
print({name: count - before[name] for name, count in problem.blocks.meter.snapshot().items()})

# %%
# Give a solver by name, or as an object with options: a frozen dataclass, which can be printed, compared, and modified
# with ``dataclasses.replace``. A callback receives the record of every iteration and the state.


def show(record, state):
    """Print a line."""
    print(f"{record['iteration']:3d}  F {record['objective']:.12f}  gradient {record['gradient_norm']:.1e}")


result = minimize(problem, NewtonCG(preconditioner="jacobi"), tol=1e-10, callbacks=[show])
print(result.status, "after", result.history[-1]["passes"], "passes")

# %%
# A run that was stopped continues from its state with the same steps that it would have taken anyway.

solver = GIANT(cg_max_iter=20)
whole = minimize(problem, solver, tol=1e-8)
state = solver.init(problem, np.zeros(problem.shape))
for _ in range(3):
    state, info = solver.step(problem, state)
rest = minimize(problem, solver, state=state, tol=1e-8)
print(f"{whole.n_iter} iterations at once, 3 + {rest.n_iter} in two runs, same W: {np.array_equal(whole.W, rest.W)}")

# %%
# Hyper-parameters change the path, not the optimum. ADMM alone is slow beyond a few digits, so by default Newton-CG
# finishes the fit.

runs = {
    "ADMM, then Newton-CG": NewtonADMM(eps_rel=1e-2),
    "ADMM, then Newton-CG, later": NewtonADMM(eps_rel=1e-3),
    "GIANT": solver,
    "Newton-CG": NewtonCG(),
}
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for label, method in runs.items():
    minimize(problem, method, tol=1e-7, max_iter=300).history.plot("passes", optimum=result.value, ax=ax, label=label)
ax.set_ylim(1e-11, 10)
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()
