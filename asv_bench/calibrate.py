"""What ``solver="auto"`` expects of every solver, beside what it took: ``python asv_bench/calibrate.py``.

The problems are those of the benchmarks, small by default, or drawn in a shape that is given, such as
``--shape 100000x500x1`` (rows, features, classes; 1 is for two). ``--workers 2`` computes on a cluster of two processes
of this machine. For each problem the table of ``explain`` is printed, and then for every solver in it the measured
passes and seconds of a fit beside the estimates.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

import dask
import numpy as np
from benchmarks import common, problems
from benchmarks.clusters import local_cluster

from dask_newton.solvers import UnsupportedError

SHAPES = ("100000x20x1", "20000x300x1", "20000x50x5", "5000x400x10")


def drawn(shape: str) -> problems.Problem:
    """Draw a problem of a shape, with columns of falling size and labels from a softmax model."""
    n, p, k = (int(number) for number in shape.split("x"))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p)) * np.arange(1, p + 1) ** -0.5
    z = X @ rng.standard_normal((p, max(2, k)))
    return problems.Problem(shape, X, (1.5 * z / z.std() + rng.gumbel(size=z.shape)).argmax(axis=1))


@contextlib.contextmanager
def computing(workers: int) -> Iterator[None]:
    """Compute in this process, or on a cluster of so many."""
    if not workers:
        yield
        return
    with local_cluster(workers), dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 GB"}):
        yield


def calibrate(problem: problems.Problem, solvers: list[str], blocks: int) -> None:
    """Print the explanation, and estimates beside fits."""
    explanation = common.fit(problem, "auto", blocks=blocks, max_iter=0).explanation_
    print(f"\n{problem.name}: {problem.X.shape}, {problem.n_outputs} outputs\n\n{explanation}\n")
    head = ("iterations", "expected", "passes", "expected", "seconds", "expected")
    print("solver".ljust(16) + "".join(word.rjust(11) for word in head))
    for estimate in explanation.estimates:
        name, work = estimate.solver.name, estimate.work
        if work is None or (solvers and name not in solvers):
            continue
        try:
            clf = common.fit(problem, estimate.solver, blocks=blocks)
        except UnsupportedError:
            continue
        end = "" if clf.converged_ else f"  {clf.result_.status}"
        print(
            f"{name:<16}{clf.result_.n_iter:>11}{work.iterations:>11.0f}{clf.n_passes_:>11}{work.passes:>11.0f}"
            f"{clf.history_[-1]['seconds']:>11.2g}{estimate.seconds:>11.2g}{end}",
            flush=True,
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help=f"of {', '.join(problems.NAMES)}")
    parser.add_argument("--shape", action="append", default=[], help=f"by default {', '.join(SHAPES)}")
    parser.add_argument("--solver", action="append", default=[], help="fit these only; by default all")
    parser.add_argument("--blocks", type=int, default=common.N_BLOCKS)
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    shapes = given.shape or (() if given.problems else SHAPES)
    with computing(given.workers):
        for problem in (*map(problems.make, given.problems), *map(drawn, shapes)):
            calibrate(problem, given.solver, given.blocks)


if __name__ == "__main__":
    main()
