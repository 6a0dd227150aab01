"""Sampled Newton: L-BFGS whose initial inverse Hessian is that of a row sample.

    g = grad F(W)
    P = -B g,     B = the L-BFGS inverse from the last m pairs (s, y), built on M^{-1} instead of a multiple of I
    W <- W + a P  (a = 1 nearly always; its pass brings the next F and g, so that an iteration is one pass)

M, the Hessian of a sample of the rows, is refined only when that pays off:

    1. many rows for the number of coefficients (n >= 1000 q K): the Hessian of 10 % of the rows, at the optimum of
       these rows, found by Newton's method on 1 % and 10 %; full passes start where the sample knows no better
    2. else the Gram matrix [X 1]' diag(d) [X 1] of 4 q rows at the start, one for all outputs
    3. when the iterations still needed, at the rate observed, cost more passes than a better M: a sampled Hessian for
       each output, its rows drawn by their weight in it, with the exact diagonal where the sample knows too little

With more than ``max_features`` coefficients of an output, or where factors would cost more than all the passes, no
matrix is factored: M is the Hessian of a sample that comes to the driver, solved with by conjugate gradients. By the
same rule it is replaced by that of twice as many rows at the present W, solved with more exactly. It is best taken at
the start as long as that serves, where the curvature of a loss for classes is largest: then full steps descend.

The gradient is always that of all rows, and so is the optimum. Sources: sub-sampled Newton methods (Roosta and Mahoney
2019), L-BFGS (Nocedal and Wright, Alg. 7.4); the choice of M by rent or buy is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.inner import preconditioners
from dask_newton.inner.preconditioners import Factor
from dask_newton.objectives.linear.objective import LinearObjective, Point
from dask_newton.solvers.base import Info, PointState, Solver, Status, UnsupportedError, require_linear, require_smooth
from dask_newton.solvers.general.lbfgs import Pair, curved, two_loops
from dask_newton.solvers.linear.newton_cholesky import NewtonCholesky
from dask_newton.solvers.linear.sampled_products import SampledProducts
from dask_newton.solvers.work import Work, gram_flops
from dask_newton.storage.registry import stored

__all__ = ["SampledNewton", "SampledNewtonState"]

_DRIVER_ENTRIES = 2**25  # of X, in the sample that comes to the driver


@stored("solver-state/sampled-newton")
@dataclass(frozen=True, eq=False)
class SampledNewtonState(PointState):
    """W, the metric M and the memory of L-BFGS.

    Attributes
    ----------
    kind : str
        What M is: 'joint', 'shared', 'outputs' or 'products'.
    factors : tuple of Factor or SampledProducts
    pairs : tuple of (s, y)
        Changes of W and of the gradient, oldest first.
    decrements : tuple of float
        ``<g, B g> / 2`` of the iterations with this M: about the gap to the optimum.
    builds : int
        How often M was refined.
    """

    kind: str
    factors: tuple[Factor, ...] | tuple[SampledProducts]
    pairs: tuple[Pair, ...] = ()
    decrements: tuple[float, ...] = ()
    builds: int = 0


@stored("solver/sampled-newton")
@dataclass(frozen=True)
class SampledNewton(Solver[SampledNewtonState]):
    """L-BFGS on a sampled Hessian.

    Parameters
    ----------
    memory : int
        Number of pairs stored.
    gram_rows : float
        Rows of the first Gram matrix, as a multiple of q.
    hessian_rows : float
        Rows of each output's sampled Hessian, as a multiple of q.
    max_features : int
        Largest number of rows of W, and so of a factor.
    hessian_sample : float
        Fraction of the rows that come to the driver where nothing is factored, at most 2^25 entries.
    target : float
        Relative gap up to which the iterations still needed are counted when a better M is weighed.
    seed : int
        Seed of the samples.
    """

    memory: int = 10
    gram_rows: float = 4.0
    hessian_rows: float = 6.0
    max_features: int = 8192
    hessian_sample: float = 0.2
    target: float = 1e-8
    seed: int = 0
    name = "sampled-newton"
    summary = "L-BFGS built on the Hessian of a sample of the rows; about one pass per iteration"
    suited_to = "up to some thousand features, or sparse data with any number of them"
    patience = 40  # M is made better in between

    def check(self, problem: LinearObjective) -> None:
        """Refuse penalties that are not smooth, and options out of range."""
        require_linear(problem, self.name)
        require_smooth(problem, self.name)
        if not 0 < self.hessian_sample <= 1:
            raise UnsupportedError(f"hessian_sample={self.hessian_sample} is no fraction; give a number in (0, 1].")

    def work(self, problem: LinearObjective) -> Work | None:
        """Assume about the iterations that each kind of M was seen to need; M is not made better."""
        if not problem.loss.convex:
            return None
        q, K = problem.shape
        if not self._factors_pay(problem):
            share = min(self.hessian_sample, _DRIVER_ENTRIES / max(1, problem.n_stored))
            # Where X is dense, a sample with fewer rows than half the features knows too little.
            sparse = problem.n_stored <= 0.1 * problem.n_rows * q
            iterations = 12.0 if sparse else min(120.0, 12.0 * max(1.0, q / (2 * share * problem.n_rows)))
            sampled = 1.5 * share * problem.n_stored / problem.blocks.n_blocks
            # Products with the sample are done by the driver alone; they count as if the blocks shared them.
            products, sent = 1 + iterations * (1 + 20 * share), iterations * problem.size
            return Work(iterations, 2 + iterations, products, sent + sampled, sent)
        if problem.n_rows >= 1000 * problem.size:
            iterations, steps, pairs = 6.0, 8, K * (K + 1) / 2
            passes = 3 + steps + iterations
            return Work(
                iterations,
                passes,
                2 + iterations,
                passes * problem.size + steps * pairs * q * q / 2,
                passes * problem.size,
                grams=0.3 * pairs * gram_flops(problem),
                driver=steps * problem.size**3 / 3,
                sampled=steps,
            )
        iterations, rows = 15.0, max(self.gram_rows * q, 4000)
        return Work(
            iterations,
            2 + iterations,
            1 + iterations,
            iterations * problem.size + q * q,
            iterations * problem.size,
            grams=min(1.0, rows / problem.n_rows) * gram_flops(problem),
            # Triangular solves with a matrix that is larger than the cache run some ten times slower than factors.
            driver=q**3 / 3 + iterations * 10 * 2 * q * q * K,
        )

    def init(self, problem: LinearObjective, start: np.ndarray) -> SampledNewtonState:
        """Find a first metric, and with many rows a better start, from samples."""
        W = problem.centre(start)  # of all W with the same loss the one with the smallest penalty
        if not self._factors_pay(problem):
            products = SampledProducts.at(self._sample_here(problem, 0), W)
            return SampledNewtonState.at(problem, problem.at(W), kind="products", factors=(products,))
        if problem.n_rows >= 1000 * problem.size:
            W, factor = self._from_growing_samples(problem, W)
            return SampledNewtonState.at(problem, problem.at(W), kind="joint", factors=(factor,))
        gram = problem.sampled_gram(W, self._fraction(problem, max(self.gram_rows * problem.shape[0], 4000)), self.seed)
        # The mean curvature of a row, for the diagonal of columns that the sample knows too little of.
        weight = float(np.trace(gram)) / max(float(problem.column_squares.sum()), 1e-300)
        factor = Factor.of(gram, problem.ridge().mean(axis=1), weight * problem.column_squares)
        return SampledNewtonState.at(problem, problem.at(W), kind="shared", factors=(factor,))

    def step(self, problem: LinearObjective, state: SampledNewtonState) -> tuple[SampledNewtonState, Info]:
        """Do one L-BFGS iteration."""
        note = ""
        if self._worth_a_better_metric(problem, state):
            state, note = self._better_metric(problem, state), "sampled Hessian renewed"
        point, pairs = state.point, state.pairs
        g = problem.centre(point.gradient)
        P, decrement = self._direction(problem, state, pairs, g)
        new, size = self._search(problem, point, P, -2 * decrement)
        if new is None and pairs:
            pairs = ()
            P, decrement = self._direction(problem, state, pairs, g)
            new, size = self._search(problem, point, P, -2 * decrement)
        carried: dict[str, Any] = {
            "kind": state.kind,
            "factors": state.factors,
            "builds": state.builds,
            "pairs": pairs,
            "decrements": (*state.decrements, decrement),
        }
        if new is None:
            return SampledNewtonState.at(problem, point, Status.LINE_SEARCH_FAILED, **carried), Info(0.0, note=note)
        s, y = new.W - point.W, problem.centre(new.gradient) - g
        if curved(s, y):
            carried["pairs"] = (*pairs, (s, y))[-self.memory :]
        return SampledNewtonState.at(problem, new, **carried), Info(size, note=note)

    def _sample_here(self, problem: LinearObjective, builds: int) -> LinearObjective:
        most = min(1.0, _DRIVER_ENTRIES / max(1, problem.n_stored))
        return problem.sample_here(min(self.hessian_sample * 2**builds, most), self.seed + builds)

    def _factors_pay(self, problem: LinearObjective) -> bool:
        """Whether a factor is possible, and costs less than some tens of passes."""
        q, K = problem.shape
        # q^3 / 3 flops of a factor run about 30 times as fast as the 4 n_stored K of a pass over sparse data.
        return q <= self.max_features and q**3 <= 3000 * problem.n_stored * K

    def _from_growing_samples(self, problem: LinearObjective, W: np.ndarray) -> tuple[np.ndarray, Factor]:
        newton = NewtonCholesky(max_dim=problem.size)
        for fraction in (0.01, 0.1):
            if fraction * problem.n_rows < 20 * problem.size:
                continue
            sample = problem.sample(fraction, self.seed)
            # The optimum of a sample is about d / (2 n) away from that of all rows; a twentieth of that is enough.
            enough = 0.05 * problem.size / (2 * fraction * problem.n_rows)
            state = newton.init(sample, W)
            for _ in range(20):
                assert state.point.hessian is not None
                # An undecided row has at most the curvature bound; half of that is a guess for columns rarely seen.
                bound = 0.5 * (problem.loss.curvature_bound or 0.0) * problem.column_squares[:, None] + problem.ridge()
                hessian, g = problem.fill_null_space(state.point.hessian), state.point.gradient
                factor = Factor.of(hessian, 0.0, bound.ravel())
                decrement = 0.5 * float(np.vdot(g, preconditioners.joint(factor)(g)))
                if decrement <= enough or state.status is not Status.RUNNING:
                    break
                state, _ = newton.step(sample, state)
            W = state.W
        return W, factor

    def _worth_a_better_metric(self, problem: LinearObjective, state: SampledNewtonState) -> bool:
        """Weigh the iterations still needed at the rate of the last few against the cost of a better metric."""
        window = 5 if state.builds == 0 else 4 * 2**state.builds
        if len(state.decrements) <= window or state.kind == "joint":
            return False
        then, now = state.decrements[-1 - window], state.decrements[-1]
        gap = self.target * abs(state.value)
        if not (now > gap and then > 0):
            return False
        rate = (now / then) ** (1 / window)
        left = math.log(gap / now) / math.log(rate) if rate < 0.999 else math.inf
        q, n = problem.shape[0], problem.n_rows
        # In passes of 4 n q K flops: K sampled Hessians of hessian_rows q^3 flops and their factors, which run about
        # three times as fast as a pass with its thin products, then the diagonal, and iterations to learn the rate.
        cost = 0.0 if state.kind == "products" else (self.hessian_rows + 1 / 3) * q * q / (12 * n) + 2
        return left > cost + 10

    def _better_metric(self, problem: LinearObjective, state: SampledNewtonState) -> SampledNewtonState:
        # Where an output is almost surely decided its curvature is nearly zero now, but need not stay so.
        floor = 1e-3 * (problem.loss.curvature_bound or 0.0) / 2 * problem.column_squares[:, None]
        if isinstance(state.factors[0], SampledProducts):
            builds = state.builds + 1
            diagonal = np.maximum(problem.hess_diag(state.point) - problem.ridge(), floor)
            products = SampledProducts.at(self._sample_here(problem, builds), state.W, diagonal, better=4**builds)
            return SampledNewtonState.at(problem, state.point, kind="products", factors=(products,), builds=builds)
        fraction = self._fraction(problem, self.hessian_rows * problem.shape[0])
        hessians, diagonal = problem.sampled_output_hessians(state.point, fraction, self.seed + 1 + state.builds)
        diagonal = np.maximum(diagonal, floor)
        ridge = problem.ridge()
        factors = tuple(Factor.of(h, ridge[:, k], diagonal[:, k]) for k, h in enumerate(hessians))
        return SampledNewtonState.at(problem, state.point, kind="outputs", factors=factors, builds=state.builds + 1)

    def _direction(
        self, problem: LinearObjective, state: SampledNewtonState, pairs: tuple[Pair, ...], g: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return -B g by the two-loop recursion, and ``<g, B g> / 2``."""
        # Along equal coefficients for all outputs g is only rounding, and M may be singular.
        z = two_loops(pairs, g, lambda q: problem.centre(self._apply(state, problem.centre(q))))
        decrement = 0.5 * float(np.vdot(g, z))
        if pairs and not decrement > 0:
            return self._direction(problem, state, (), g)
        return -z, decrement

    @staticmethod
    def _apply(state: SampledNewtonState, r: np.ndarray) -> np.ndarray:
        if isinstance(state.factors[0], SampledProducts):
            return state.factors[0].solve(r)
        if state.kind == "outputs":
            return preconditioners.outputs(state.factors)(r)
        return (preconditioners.joint if state.kind == "joint" else preconditioners.shared)(state.factors[0])(r)

    @staticmethod
    def _search(problem: LinearObjective, point: Point, P: np.ndarray, slope: float) -> tuple[Point | None, float]:
        """Backtrack by the minimiser of a parabola; one pass per trial."""
        noise, size = 4 * problem.precision * abs(point.value), 1.0
        if not slope < 0:
            return None, 0.0
        for _ in range(10):
            new = problem.at(point.W + size * P)
            if new.value <= point.value + 1e-4 * size * slope + noise:
                return new, size
            excess = new.value - point.value - slope * size
            size *= min(0.5, max(0.1, -slope * size / (2 * excess))) if math.isfinite(excess) else 0.1
        return None, 0.0

    @staticmethod
    def _fraction(problem: LinearObjective, n_rows: float) -> float:
        return min(1.0, n_rows / problem.n_rows)
