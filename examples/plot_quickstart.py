r"""
Quickstart: solvers side by side
================================

One data set in eight blocks, five solvers, and the cost of each on the way to the optimum.

``python examples/plot_quickstart.py docs/_static/convergence.svg`` makes the figure in the README.
"""

# %%
# The data: 1,797 images of handwritten digits with 64 pixels, in ten classes. A chunk of rows is a *block*. Here all
# blocks are in the memory of this process; with a current ``dask.distributed`` client they would be on its workers.

import sys

import dask.array as da
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from dask_newton import LogisticRegression

X, y = load_digits(return_X_y=True)
X = da.from_array(X / 16, chunks=(225, -1))
y = da.from_array(y, chunks=225)
print(X)

# %%
# A fit ends with a certificate: the largest entry of the gradient of the mean objective. It is compared with ``tol``,
# and a fit that does not reach it warns.

clf = LogisticRegression(C=1.0, tol=1e-9).fit(X, y)
optimum = clf.result_.value
print(f"solver {clf.solver_.name}, status {clf.result_.status}, largest gradient entry {clf.result_.gradient_norm:.1e}")
print(f"objective {optimum:.12f} after {clf.n_iter_[0]} iterations, {clf.n_passes_} passes, {clf.n_rounds_} rounds")

# %%
# The history has a record of every iteration.

clf.history_.to_pandas()[["objective", "gradient_norm", "passes", "rounds", "bytes_up", "seconds"]]

# %%
# The same objective with five solvers. They reach the same optimum on different paths.

STYLES = {
    "giant": ("#0072b2", "o"),
    "newton-admm": ("#d55e00", "s"),
    "newton-cg": ("#009e73", "^"),
    "newton-cholesky": ("#222222", "D"),
    "sampled-newton": ("#cc79a7", "v"),
}

fits = {name: LogisticRegression(C=1.0, solver=name).fit(X, y) for name in STYLES}
for name, fit in fits.items():
    last = fit.history_[-1]
    print(
        f"{name:16} {fit.n_iter_[0]:4d} iterations {fit.n_passes_:4d} passes {fit.n_rounds_:4d} rounds "
        f"{(last['bytes_up'] + last['bytes_down']) / 1e6:6.2f} MB   relative gap {fit.result_.value / optimum - 1:.0e}"
    )

# %%
# Rounds determine the cost of a fit when messages are slow. The seconds are those of this machine, where messages are
# free. Newton-Cholesky needs the fewest rounds because each of them carries an entire Hessian: see the megabytes above.

plt.rcParams["svg.hashsalt"] = "dask_newton"  # so that the same figure gives the same file
figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.1), sharey=True, layout="constrained")
for ax, x in zip(axes, ("rounds", "seconds"), strict=True):
    for name, fit in fits.items():
        color, marker = STYLES[name]
        fit.history_.plot(x, optimum=optimum, ax=ax, color=color, marker=marker, markersize=4, linewidth=1.4)
    ax.set_xscale("log")
    ax.set_ylim(1e-10, 30)
    ax.grid(color="0.9")
    ax.spines[["top", "right"]].set_visible(False)
axes[1].set_ylabel("")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(fits), frameon=False)
figure.suptitle("Digits: 1,797 samples, 64 features, 10 classes, 8 blocks", fontsize=11)

if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], metadata={"Date": None} if sys.argv[1].endswith(".svg") else None, dpi=150)

plt.show()
