"""
Layers in parallel: what pdADMM gains from a worker for each layer
==================================================================

Wang, Chai, Cheng and Zhao (ICDM 2020, arXiv:2009.02868) give every layer of a network to a worker and report a
speed-up of 8.9 to 14.1 for 19 hidden layers, on as many workers. Here the graph of tasks of
:class:`~dask_newton.solvers.PDADMMGrid` is run once, one task after the other, each with its time taken; then its
schedule on 1 to 20 workers is simulated from these times and from the bytes that tasks of different workers send each
other.

``python plot_layer_parallel.py --hidden 19 --width 2400 --rows 55000`` has the paper's sizes.
"""

# %%
# A step of some iterations on random data in one block of rows, so that all parallelism is that of layers.

import argparse
import contextlib
import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from dask_newton.blocks import SerialBlocks
from dask_newton.blocks.graphs import Ref, run_here
from dask_newton.blocks.structure import nbytes
from dask_newton.losses import Softmax
from dask_newton.objectives.layers import Layers
from dask_newton.objectives.network import NetworkObjective
from dask_newton.objectives.rows import RowBlock
from dask_newton.penalties import NoPenalty
from dask_newton.solvers import PDADMMGrid

parser = argparse.ArgumentParser()
parser.add_argument("--hidden", type=int, default=9, help="Hidden layers.")
parser.add_argument("--width", type=int, default=200, help="Units of each.")
parser.add_argument("--rows", type=int, default=2000)
parser.add_argument("--features", type=int, default=196)
parser.add_argument("--bandwidth", type=float, default=1.2e9, help="Bytes per second between workers.")
options = parser.parse_args()
ITERATIONS = 5


@dataclass
class TimedBlocks(SerialBlocks):
    """Blocks that remember a graph, and the seconds and bytes of every call; or that do not even run it."""

    plan_only: bool = False
    seconds: dict = field(default_factory=dict)
    size: dict = field(default_factory=dict)

    def run_graph(self, calls, wanted, keep, held, cost):
        """Run a graph, and take the times."""
        self.calls, values = calls, {}
        if self.plan_only:
            raise InterruptedError
        for call in calls:
            given = [values[arg.key] for arg in call.args if isinstance(arg, Ref)]
            began = time.perf_counter()
            values[call.key] = run_here(call, held, *given)
            self.seconds[call.key] = time.perf_counter() - began
            self.size[call.key] = nbytes(values[call.key])
        return [values[key] for key in wanted], None


rng = np.random.default_rng(0)
X = rng.normal(size=(options.rows, options.features)).astype("float32")
rows = RowBlock(X, rng.integers(0, 10, options.rows).astype("float32"), None, None, Softmax(10))
layers = Layers((options.features, *[options.width] * options.hidden, 10))


def graph(groups, plan_only=True):
    """Return blocks with the graph of a step, with layers in so many groups."""
    blocks = TimedBlocks(1, plan_only=plan_only)
    problem = NetworkObjective.from_blocks(blocks, blocks.place([rows]), layers, NoPenalty(), initialisation="he")
    solver = PDADMMGrid(iterations=ITERATIONS, layer_groups=groups)
    with contextlib.suppress(InterruptedError):
        solver.step(problem, solver.init(problem, problem.null))
    return blocks


# %%
# The simulation: a worker does its tasks in the order in which they become ready; a result that another worker needs
# takes the time of its bytes. The period of an iteration is the time from the end of the first to the end of the last,
# so that the forward pass in the beginning does not count. All iterations get the median time of each task.


def period(calls, seconds, size, bandwidth):
    """Return the seconds of an iteration."""
    home = {call.key: call.home if call.home is not None else 0 for call in calls}
    needs = {call.key: [arg.key for arg in call.args if isinstance(arg, Ref)] for call in calls}
    free, done = dict.fromkeys(home.values(), 0.0), {}
    waiting = [call.key for call in calls]

    def ready(key):
        far = (done[other] + (home[other] != home[key]) * size[other] / bandwidth for other in needs[key])
        return max(far, default=0.0)

    while waiting:
        able = [key for key in waiting if all(other in done for other in needs[key])]
        key = min(able, key=lambda key: max(ready(key), free[home[key]]))
        free[home[key]] = done[key] = max(ready(key), free[home[key]]) + seconds[key]
        waiting.remove(key)
    ends = [max(done[key] for key in done if key.startswith(f"{k}/finish")) for k in (0, ITERATIONS - 1)]
    return (ends[1] - ends[0]) / (ITERATIONS - 1)


one = graph(1, plan_only=False)
repeated = [key.partition("/")[2] for key in one.seconds if key.startswith("1/")]
by_layer = np.zeros(layers.n_layers)
for what in repeated:
    median = np.median([one.seconds[f"{k}/{what}"] for k in range(ITERATIONS)])
    one.seconds |= {f"{k}/{what}": median for k in range(ITERATIONS)}
    by_layer[int(what.rpartition("/")[2])] += median
bound = by_layer.sum() / by_layer.max()

WORKERS = [n for n in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20) if n <= layers.n_layers]
table = []
for n in WORKERS:
    calls = graph(n).calls
    for name, bandwidth in (("free", np.inf), ("network", options.bandwidth)):
            table.append({"workers": n, "messages": name, "period": period(calls, one.seconds, one.size, bandwidth)})
table = pd.DataFrame(table).pivot(index="workers", columns="messages", values="period")
speed_up = table.loc[1, "free"] / table
print(f"{by_layer.sum():.3f} s of work per iteration, {by_layer.max():.3f} s in the layer with the most.")
print(speed_up.round(2).to_string())
print(f"bound: {bound:.2f}")

# %%
# The bound is the sum of the layers' times over the largest: the first layer has no inputs to move and the last is
# narrow, so that it is about the number of hidden layers less one. Groups of several layers are not all alike, and
# neighbours wait for each other and for the arrays between them. With all layers of a block of rows on one worker no
# array moves at all, and cutting rows instead of layers has no such bound: layers pay where there are more workers than
# blocks of a useful size.

ax = speed_up.plot(marker=".")
ax.axhline(bound, color="gray", ls=":")
ax.set(xlabel="workers, one block of rows", ylabel="speed-up")
plt.show()
