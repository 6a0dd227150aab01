r"""
Layers in parallel: what pdADMM can gain
========================================

Wang, Chai, Cheng and Zhao (ICDM 2020, arXiv:2009.02868) train networks with 11 to 19 hidden layers by pdADMM, with one
worker for each layer, and report speed-ups that grow with the number of layers, up to 8.9 - 12.3 for 19 layers on MNIST
(their table II). This example takes the graph of tasks that ``pdadmm-grid`` builds for such a network and simulates it
on 1 to 20 workers, with task times measured on this machine.

``python plot_paper_pdadmm_layers.py --full`` uses the paper's widths, 1500 to 2400, and takes some minutes.
"""

# %%
# Tasks are timed one after the other, in a network with three hidden layers; all inner layers cost the same. The time
# that a task spends on rows is proportional to their number, so a sample of rows is enough. The time for the weights of
# a layer is not proportional.

import argparse
import statistics
import time
from collections import defaultdict

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from dask_newton.blocks import SerialBlocks
from dask_newton.blocks.graphs.calls import Ref, run_here
from dask_newton.losses import Softmax
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import NoPenalty
from dask_newton.solvers import PDADMMGrid

parser = argparse.ArgumentParser()
parser.add_argument("--full", action="store_true", help="Use the widths of the paper.")
parser.add_argument("--rows", type=int, default=1000, help="Number of rows for timing tasks.")
parser.add_argument("--bandwidth", type=float, default=1.25, help="Between workers, in GB/s.")
parser.add_argument("--save", metavar="PNG", help="Where to save the figure.")
options = parser.parse_args()

FEATURES, CLASSES, N_ROWS = 196, 10, 55_000  # MNIST at 14 x 14 pixels
WIDTHS = (1500, 1800, 2100, 2400) if options.full else (100, 200)
# Serial over parallel seconds for 19 hidden layers on MNIST, from table II.
PAPER = {1500: 237.66 / 26.78, 1800: 475.60 / 41.37, 2100: 570 / 54.91, 2400: 766.82 / 62.5}


class Watched(SerialBlocks):
    """Blocks of this process that time the calls of a graph."""

    seen = []  # noqa: RUF012

    def run_graph(self, calls, wanted, keep, held, cost):
        """Run a graph and note the time of every call."""
        values = {}
        for call in calls:
            given = [values[arg.key] for arg in call.args if isinstance(arg, Ref)]
            began = time.perf_counter()
            values[call.key] = run_here(call, held, *given)
            self.seen.append((call, time.perf_counter() - began))
        return super().run_graph(calls, wanted, keep, held, cost)


def graph(n_hidden, width, n_rows, iterations):
    """Return the calls of a network's iterations, and their times."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, FEATURES), dtype=np.float32)
    y = np.arange(n_rows) % CLASSES
    blocks = Watched(1)
    rows = RowBlock(X, y.astype(np.float32), np.ones(n_rows, np.float32), None, Softmax(CLASSES))
    problem = NetworkObjective.from_blocks(
        blocks,
        blocks.place([rows]),
        Layers((FEATURES, *[width] * n_hidden, CLASSES)),
        NoPenalty(),
        initialisation="gauss",
    )
    solver = PDADMMGrid(layer_groups=n_hidden + 1, iterations=iterations)
    Watched.seen.clear()
    solver.step(problem, solver.init(problem, problem.null))
    return list(Watched.seen)


def place(key, n_hidden):
    """Return iteration, task, layer and kind of layer of a call; None for those before and after the iterations."""
    parts = key.split("/")
    if not parts[0].isdigit():
        return None
    layer = int(parts[-1])
    return int(parts[0]), parts[1], layer, "first" if layer == 0 else "last" if layer == n_hidden else "inner"


def measure(width):
    """Return the seconds of every task of every kind of layer, for all rows."""
    times = defaultdict(list)
    for call, seconds in graph(3, width, options.rows, 2):
        if where := place(call.key, 3):
            times[where[1], where[3]].append(seconds * (1 if where[1] == "learn" else N_ROWS / options.rows))
    return {key: statistics.median(values) for key, values in times.items()}


measured = {width: measure(width) for width in WIDTHS}

# %%
# The simulation: each worker has neighbouring layers, so that all have about the same work, and runs the first of its
# tasks that is ready. An input from another worker is delayed by its size over the bandwidth.


def groups(work, n):
    """Return a worker for each layer that minimises the largest sum of work."""
    low, high, best = max(work), sum(work), [0] * len(work)
    for _ in range(50):
        limit, found, load = (low + high) / 2, [0], work[0]
        for w in work[1:]:
            fits = load + w <= limit
            load = load + w if fits else w
            found.append(found[-1] if fits else found[-1] + 1)
        low, high = (low, limit) if found[-1] < n else (limit, high)
        if found[-1] < n:
            best = found
    return best


def simulate(calls, n_hidden, times, home, delay):
    """Return when the last call of each iteration ends."""
    tasks = {call.key: (where, call) for call, _ in calls if (where := place(call.key, n_hidden))}
    free, done, waiting, ends = defaultdict(float), {}, list(tasks), defaultdict(float)
    while waiting:
        starts = {}
        for key in waiting[: 8 * (n_hidden + 1)]:
            where, call = tasks[key]
            inputs = [arg.key for arg in call.args if isinstance(arg, Ref) and arg.key in tasks]
            if all(k in done for k in inputs):
                here = home[where[2]]
                arrived = [done[k] + (delay if home[tasks[k][0][2]] != here else 0.0) for k in inputs]
                starts[key] = max([free[here], *arrived])
        key = min(starts, key=starts.get)
        where, _ = tasks[key]
        done[key] = free[home[where[2]]] = starts[key] + times[where[1], where[3]]
        ends[where[0]] = max(ends[where[0]], done[key])
        waiting.remove(key)
    return [ends[k] for k in sorted(ends)]


def speed_up(calls, n_hidden, width, n_workers, bandwidth):
    """Return the asymptotic speed-up of an iteration over one worker, and its bound."""
    times = measured[width]
    kinds = ["first", *["inner"] * (n_hidden - 1), "last"]
    work = [sum(t for (_, kind), t in times.items() if kind == wanted) for wanted in kinds]
    ends = simulate(calls, n_hidden, times, groups(work, n_workers), N_ROWS * width * 4 / (bandwidth * 1e9))
    period = (ends[-1] - ends[2]) / (len(ends) - 3)
    return sum(work) / period, sum(work) / max(work)


# %%
# One worker for each layer, compared with the paper and with the bound, which is the total work over that of the
# busiest layer.

structure = {n: graph(n, 4, 20, 8) for n in (11, 15, 19)}
rows = {}
for width in WIDTHS:
    for n_hidden, calls in structure.items():
        fast, bound = speed_up(calls, n_hidden, width, n_hidden + 1, np.inf)
        rows[width, n_hidden] = {
            "no transfers": fast,
            f"{options.bandwidth:g} GB/s": speed_up(calls, n_hidden, width, n_hidden + 1, options.bandwidth)[0],
            "bound": bound, "paper": PAPER.get(width, np.nan) if n_hidden == 19 else np.nan,
        }  # fmt: skip
table = pd.DataFrame(rows).T
table.index.names = ["width", "hidden layers"]
print(table.to_string(na_rep="", float_format="{:.2f}".format))

# %%
# The first layer has no inputs to update and the last one is narrow, so the bound is about the number of inner layers.
# The tasks of our inner layers all take the same time, because nothing is searched for, and messages overlap with them.
# So the graph comes close to the bound. The paper reaches about two thirds of it: there three arrays cross each
# boundary, and the step sizes of the layers take different numbers of trials.
#
# With fewer workers than layers, some workers have two layers and the others wait for them, hence the stairs. Splitting
# the rows into blocks has no such bound, and with all layers of a block on one worker no array is sent at all.

fig, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
workers = range(1, 21)
for n_hidden, calls in structure.items():
    curve = [speed_up(calls, n_hidden, WIDTHS[-1], min(n, n_hidden + 1), options.bandwidth)[0] for n in workers]
    ax.plot(workers, curve, marker=".", label=f"{n_hidden} hidden layers")
ax.plot(workers, workers, color="0.8", zorder=0)
if options.full:
    ax.plot([20] * len(PAPER), PAPER.values(), "kx", label="paper, 19 hidden layers")
ax.set(xlabel="workers", ylabel="speed-up of an iteration", title=f"width {WIDTHS[-1]}")
ax.legend(frameon=False)
if options.save:
    fig.savefig(options.save, dpi=120)
plt.show()
