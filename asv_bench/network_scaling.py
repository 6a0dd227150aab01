"""How the passes of a network's solvers scale with workers: ``python asv_bench/network_scaling.py``.

An iteration of a Hessian-free solver is a gradient, products with the curvature and a line search. Each is one pass:
the parameters, or a direction, go to every worker, which works through its blocks one after the other, adds up and
answers; the client adds the answers. So the critical path of a pass on N workers is

    t(N) = messages(N) + ceil(blocks / N) t(block),      messages(N) = a + b N

a and b are measured with passes that only send as many numbers there and back, on clusters of one process and of as
many as this machine has cores; t(block) is what a pass on one worker takes beyond that. Measured passes are put beside
the critical path, which says what to expect of more machines with the same network. Default is a small relative of the
network for speech of He, Mudigere, Smelyanskiy and Takac (2016, figure 2), which has 360 features, three layers of 512
units and 1,973 classes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from benchmarks.clusters import local_cluster
from benchmarks.passes import scaled

from dask_newton import make_network
from dask_newton.losses import Softmax
from dask_newton.penalties import L2

WORKERS = (1, 2, 4, 8, 16, 32)
LADDER = tuple(0.5**k for k in range(10))


def seconds(function: Callable[[], Any], repeat: int = 5) -> float:
    """Return the median time of a function, called once before."""
    function()
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def passes(sizes: list[int], n_rows: int, n_blocks: int) -> tuple[Any, dict[str, Callable[[], Any]]]:
    """Return a network on random rows, and its passes."""
    rng = np.random.default_rng(0)
    chunk = -(-n_rows // n_blocks)
    F = make_network(
        da.from_array(rng.standard_normal((n_rows, sizes[0]), dtype=np.float32), chunks=(chunk, -1)),
        da.from_array(rng.integers(0, sizes[-1], n_rows), chunks=chunk),
        loss=Softmax(sizes[-1]),
        hidden_layer_sizes=sizes[1:-1],
        activation="logistic",
        penalty=L2(1e-5),
    )
    point, v = F.at(F.null), 0.1 * rng.standard_normal(F.shape)
    return F, {
        "gradient": lambda: F.at(F.null),
        "product": lambda: F.gauss_newton_mul(point, v),
        "line search": lambda: F.along(point, v, LADDER, linearize=False),
    }


def on_cluster(workers: int, sizes: list[int], n_rows: int, n_blocks: int) -> dict[str, float]:
    """Return the times of passes on so many processes, and of one that only sends."""
    with local_cluster(workers):
        F, functions = passes(sizes, n_rows, n_blocks)
        numbers = F.blocks.place([1.0] * n_blocks)
        sent = seconds(lambda: F.blocks.map_reduce(scaled, numbers, v=F.null), 15)
        return {**{name: seconds(function) for name, function in functions.items()}, "messages": sent}


def main() -> None:
    """Measure, extrapolate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="360,256,256,256,500", help="Of all layers.")
    parser.add_argument("--rows", type=int, default=32_000)
    parser.add_argument("--blocks", type=int, default=32)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]

    cores = [n for n in WORKERS if n <= len(os.sched_getaffinity(0))]
    measured = {n: on_cluster(n, sizes, options.rows, options.blocks) for n in cores}
    sent = {n: measured[n]["messages"] for n in cores}
    b = max(0.0, (sent[cores[-1]] - sent[1]) / max(1, cores[-1] - 1))
    a = sent[1] - b
    block = {name: (value - sent[1]) / options.blocks for name, value in measured[1].items() if name != "messages"}
    print(f"{options.rows} rows in {options.blocks} blocks. Seconds of a block:")
    print(", ".join(f"{name} {value:.4f}" for name, value in block.items()))
    print(f"Messages: {a:.4f} s and {b:.4f} s for every worker.")
    table = {}
    for name, t in block.items():
        path = {n: a + b * n + -(-options.blocks // n) * t for n in WORKERS}
        table |= {
            (name, "measured"): {n: measured[n][name] for n in cores},
            (name, "critical path"): path,
            (name, "speed-up"): {n: path[1] / value for n, value in path.items()},
        }
    frame = pd.DataFrame(table)
    frame.index.name = "workers"
    print(frame.to_string(na_rep="", float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
