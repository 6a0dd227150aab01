"""How pdADMM scales with workers, by layers and by rows: ``python asv_bench/layer_scaling.py``.

The same iterations of ``pdadmm-grid`` on clusters of one process, and of as many as this machine has cores, each with
one thread. By layers, all rows are one block and every worker has neighbouring layers; by rows, every worker has a
block of rows and all layers. The simulation of ``examples/plot_paper_pdadmm_layers.py`` goes on from there.
"""

from __future__ import annotations

import argparse
import os
import statistics

import dask.array as da
import numpy as np
import pandas as pd
from benchmarks.clusters import local_cluster

from dask_newton import make_network, minimize
from dask_newton.losses import Softmax
from dask_newton.penalties import NoPenalty
from dask_newton.solvers import PDADMMGrid

FEATURES, CLASSES = 196, 10


def seconds_per_iteration(workers: int, groups: int, options: argparse.Namespace) -> float:
    """Return the median seconds of an iteration, each measured over a graph of several."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((options.rows, FEATURES), dtype=np.float32), rng.integers(0, CLASSES, options.rows)
    chunk = -(-options.rows * groups // workers)
    with local_cluster(workers):
        problem = make_network(
            da.from_array(X, chunks=(chunk, -1)), da.from_array(y, chunks=chunk), loss=Softmax(CLASSES),
            hidden_layer_sizes=[options.width] * options.hidden, penalty=NoPenalty(), initialisation="gauss",
        )  # fmt: skip
        solver = PDADMMGrid(layer_groups=groups, iterations=options.iterations)
        history = minimize(problem, solver, tol=0, max_iter=options.graphs + 1).history.to_pandas()
    return statistics.median(history["seconds"].diff().iloc[2:]) / options.iterations


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--hidden", type=int, default=9, help="Hidden layers.")
    parser.add_argument("--width", type=int, default=500, help="Units of a hidden layer.")
    parser.add_argument("--iterations", type=int, default=5, help="Of a graph.")
    parser.add_argument("--graphs", type=int, default=3)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    seconds = {
        "1 worker": seconds_per_iteration(1, 1, options),
        f"{cores} workers, by layers": seconds_per_iteration(cores, cores, options),
        f"{cores} workers, by rows": seconds_per_iteration(cores, 1, options),
    }
    table = pd.DataFrame({"seconds of an iteration": seconds})
    table["speed-up"] = seconds["1 worker"] / table["seconds of an iteration"]
    print(f"{options.rows} rows, {options.hidden} hidden layers of {options.width} units")
    print(table.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
