"""pdADMM on a grid of cells, one for each block of rows and each layer, without a barrier between layers.

The iteration is that of :mod:`~dask_newton.solvers.layerwise.pdadmm`, and so are its iterates. Cell (i, l) has
block i, layer l:

    P of (i, l)   after  Q - U/rho of (i, l - 1)                        sent up a layer
    W_l, b_l      after  the moments of (i, l) for all blocks i
    Z, Q, U       after  W_l, b_l, and P of (i, l + 1)                  sent down a layer

With times t of the steps of a layer, T for all of them and c to send an array, an iteration of all layers takes
max(max_l T_l, t_p + t_zqu + 2 c), where there is a worker for each layer. With ``layer_groups=1`` all layers of a block
are on one worker, and no array is sent.

A step is one graph of tasks for some iterations, of which the driver sees the last. Where a worker is lost, so are the
variables of its cells; the step then begins with a forward pass through the weights that the driver has, and U = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from dask_newton.blocks import Meter, named
from dask_newton.blocks.graphs.calls import Call, Held, Kept, Part, Ref
from dask_newton.objectives.base import Objective
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.solvers.base import Info, State, Status, require_option
from dask_newton.solvers.grid import cells as grid
from dask_newton.solvers.grid.cells import Weights
from dask_newton.solvers.layerwise.base import Layerwise, flat, layer_penalties, stacked
from dask_newton.solvers.layerwise.pdadmm import summary
from dask_newton.solvers.layerwise.pdadmm_layer import Steps
from dask_newton.solvers.layerwise.weights import LayerPenalty
from dask_newton.storage.registry import stored

__all__ = ["PDADMMGrid", "PDADMMGridState"]


@stored("solver-state/pdadmm-grid")
@dataclass(frozen=True, eq=False)
class PDADMMGridState(State):
    """The state between steps.

    Attributes
    ----------
    iteration : int
    cells : Held or None
        What the cells carry, where they are; None before the first step.
    """

    iteration: int
    cells: Held | None


@stored("solver/pdadmm-grid")
@dataclass(frozen=True)
class PDADMMGrid(Layerwise[PDADMMGridState]):
    """pdADMM on a grid of cells.

    Parameters
    ----------
    layer_groups : int
        In how many groups of neighbours the layers are; each group of a block of rows has a worker of its own, if there
        are as many.
    iterations : int
        Per step.
    message_bits : {0, 8, 16}
        Round what cells send to integers of so many bits; 0 sends it as it is.
    """

    layer_groups: int = 1
    iterations: int = 10
    message_bits: int = 0
    name = "pdadmm-grid"
    summary = "pdadmm as a graph of tasks, with layers on workers of their own and no barrier between them"
    suited_to = "many wide layers, on a cluster"
    reference_start = 10.0

    def check(self, problem: Objective) -> None:
        """Refuse other models, losses and penalties without a solver for their sub-problems, options out of range."""
        super().check(problem)
        require_option(self, "layer_groups", self.layer_groups >= 1, "at least 1")
        require_option(self, "iterations", self.iterations >= 1, "at least 1")
        require_option(self, "message_bits", self.message_bits in (0, 8, 16), "0, 8 or 16")
        require_option(self, "schedule_factor", self.schedule_factor == 1, "1, as nu and rho stay on the grid")

    def init(self, problem: NetworkObjective, start: np.ndarray) -> PDADMMGridState:
        """Evaluate F; cells begin with the first step."""
        value = problem.value(start)
        status = Status.RUNNING if np.isfinite(value) else Status.NAN
        return PDADMMGridState(start, value, np.inf, status, 0, None)

    def step(self, problem: NetworkObjective, state: PDADMMGridState) -> tuple[PDADMMGridState, Info]:
        """Run a graph of iterations."""
        note, found = "", self._run(problem, state.W, state.cells)
        if found is None:
            found, note = self._run(problem, state.W, None), "started anew"
        if found is None:
            raise RuntimeError("Workers were lost twice in a step of 'pdadmm-grid'; start again with fewer iterations.")
        (numbers, *parts), cells = found
        theta, (nu, rho) = flat(problem.layers, parts), self._scaled(problem)
        value = problem.value(theta)
        _, lagrangian, extra = summary(problem, theta, numbers, nu, rho)
        sent = _bytes_sent(problem, self._groups(problem.layers.sizes), self.message_bits) * self.iterations
        status = Status.RUNNING if np.isfinite(lagrangian) and np.isfinite(value) else Status.NAN
        new = PDADMMGridState(theta, value, np.inf, status, state.iteration + self.iterations, cells)
        return new, Info(inner_iterations=self.iterations, note=note, extra={**extra, "message_bytes": sent})

    def _run(self, problem: NetworkObjective, theta: np.ndarray, held: Held | None) -> tuple[list[Any], Held] | None:
        nu, rho = self._scaled(problem)
        steps = Steps(nu, rho, nu, rho, self._first, self.steps != "reference", self._accelerated)
        return _Graph(self, problem, steps).run(theta, held)

    def _groups(self, sizes: tuple[int, ...]) -> list[int]:
        """Return the group of each layer: of about the same work, and none empty while there are layers."""
        work = list(accumulate(n * m for n, m in zip(sizes, sizes[1:], strict=False)))
        n, found = min(self.layer_groups, len(work)), [0]
        for j in range(1, len(work)):
            middle = (work[j - 1] + work[j]) / 2 / work[-1]
            found.append(min(max(int(n * middle), n - len(work) + j, found[-1]), found[-1] + 1))
        return found


class _Graph:
    """The calls of a step, as they are put together."""

    def __init__(self, solver: PDADMMGrid, problem: NetworkObjective, steps: Steps) -> None:
        self.solver, self.problem, self.steps = solver, problem, steps
        self.calls: list[Call] = []
        self.blocks, self.last = range(problem.blocks.n_blocks), problem.layers.n_layers - 1
        self.groups, self.f = solver._groups(problem.layers.sizes), problem.layers.activation
        self.penalties = layer_penalties(problem)
        self.with_gain, self.bits = solver.steps == "fast", solver.message_bits

    def run(self, theta: np.ndarray, held: Held | None) -> tuple[list[Any], Held] | None:
        """Run it, from what was kept or from a forward pass."""
        nu, rho = self.steps.nu, self.steps.rho
        layers = [
            self._add(f"weights/{j}", None, grid.weights, V, nu, rho, self.with_gain and j > 0)
            for j, V in enumerate(stacked(self.problem.layers, theta))
        ]
        self.rows = [[self._rows(i, j) for j in range(self.last + 1)] for i in self.blocks]
        cells: list[list[Any]] = [
            [Kept(f"cell/{i}/{j}") for j in range(self.last + 1)] if held else self._begin(i, layers)
            for i in self.blocks
        ]
        self.squares = [
            self._add(f"squares/{i}", self._home(i, 0), grid.squares, self.rows[i][0], cells[i][0]) for i in self.blocks
        ]
        for k in range(self.solver.iterations):
            cells, layers = self._iteration(f"{k}", cells, layers)
        ends = [[self._end(i, j, cells[i][j]) for j in range(self.last + 1)] for i in self.blocks]
        numbers = [
            self._add(f"numbers/{i}/{j}", self._home(i, j), grid.numbers_of, cell)
            for i, row in enumerate(ends)
            for j, cell in enumerate(row)
        ]
        self._add("numbers", None, grid.numbers, *numbers)
        for j, layer in enumerate(layers):
            self._add(f"V/{j}", None, grid.value, layer)
        return self.problem.blocks.run_graph(
            self.calls,
            ["numbers", *(f"V/{j}" for j in range(self.last + 1))],
            [cell.key for row in ends for cell in row],
            held,
            self._cost(),
        )

    def _iteration(self, k: str, cells: list[list[Any]], layers: list[Ref]) -> tuple[list[list[Any]], list[Ref]]:
        below = [
            [self._add(f"{k}/up/{i}/{j}", self._home(i, j), grid.message, cells[i][j]) for j in range(self.last)]
            for i in self.blocks
        ]
        inputs: list[list[Any]] = [[None] * (self.last + 1) for _ in self.blocks]
        updated = []
        for j in range(self.last + 1):
            parts = []
            for i in self.blocks:
                home = self._home(i, j)
                if j:
                    inputs[i][j] = self._add(
                        f"{k}/move/{i}/{j}",
                        home,
                        grid.move,
                        self.rows[i][j],
                        cells[i][j],
                        below[i][j - 1],
                        layers[j],
                        self.steps,
                        self.bits,
                    )
                parts.append(
                    self._add(f"{k}/moments/{i}/{j}", home, grid.moments, self.rows[i][j], inputs[i][j], cells[i][j])
                )
            updated.append(
                self._add(
                    f"{k}/learn/{j}",
                    self._home(0, j),
                    _learn,
                    self.solver,
                    self.penalties[j],
                    self.steps,
                    layers[j],
                    len(parts),
                    *parts,
                    *([] if j else self.squares),
                )
            )
        new = [
            [self._finish(k, i, j, cells[i][j], inputs[i], updated[j]) for j in range(self.last + 1)]
            for i in self.blocks
        ]
        return new, updated

    def _finish(self, k: str, i: int, j: int, cell: Any, inputs: list[Any], layer: Ref) -> Ref:
        key, home = f"{k}/finish/{i}/{j}", self._home(i, j)
        if j == self.last:
            return self._add(key, home, grid.output, self.rows[i][j], cell, inputs[j], layer, self.steps)
        down = self._add(f"{k}/down/{i}/{j + 1}", self._home(i, j + 1), grid.message, inputs[j + 1])
        return self._add(
            key, home, grid.finish, self.rows[i][j], cell, inputs[j], layer, down, self.f, self.steps, self.bits
        )

    def _begin(self, i: int, layers: list[Ref]) -> list[Any]:
        cells, P = [], None
        for j, layer in enumerate(layers):
            cells.append(
                self._add(
                    f"begin/{i}/{j}",
                    self._home(i, j),
                    grid.begin,
                    self.rows[i][j],
                    P,
                    layer,
                    self.f,
                    self.steps.nu,
                    j == self.last,
                    self.bits,
                )
            )
            if j < self.last:
                P = self._add(f"begin/{i}/{j}/Q", self._home(i, j), grid.value, cells[-1])
        return cells

    def _end(self, i: int, j: int, cell: Ref) -> Ref:
        """Give a cell the name under which it is kept."""
        return self._add(f"cell/{i}/{j}", self._home(i, j), grid.same, cell)

    def _rows(self, i: int, j: int) -> Any:
        whole = Part(self.problem.data, i)
        return whole if j in (0, self.last) else self._add(f"rows/{i}/{j}", None, grid.thin, whole)

    def _home(self, i: int, j: int) -> int:
        return self.groups[j] * self.problem.blocks.n_blocks + i

    def _add(self, key: str, home: int | None, fn: Any, *args: Any) -> Ref:
        self.calls.append(Call(key, fn, args, home))
        return Ref(key)

    def _cost(self) -> Meter:
        """Return what the iterations cost in the model of passes: moments go up, weights go down."""
        n, sizes = self.solver.iterations, self.problem.layers.sizes
        pairs = list(zip(sizes, sizes[1:], strict=False))
        up = sum((a + 1) * b for a, b in pairs) + sum((a + 1) ** 2 for a, _ in pairs[1:])
        down = self.problem.size + (sum(a * b for a, b in pairs[1:]) if self.with_gain else 0)
        blocks = len(self.blocks)
        return Meter(n, 2 * n, 8 * n * blocks * up, 8 * n * blocks * down, n)


@named("pdadmm-weights")
def _learn(solver: PDADMMGrid, penalty: LayerPenalty, steps: Steps, old: Weights, n_blocks: int, *sums: Any) -> Weights:
    """Return the weights of a layer from the moments of its cells."""
    moments = grid.total(list(sums[:n_blocks]), list(sums[n_blocks:]))
    V = solver._weights(moments, old.V, steps.nu, penalty)
    return grid.weights(V, steps.nu, steps.rho, old.gain is not None)


def _bytes_sent(problem: NetworkObjective, groups: list[int], bits: int) -> float:
    """Return the bytes of both messages over all boundaries between groups, in one iteration."""
    size = bits // 8 or (8 if problem.precision < 1e-10 else 4)
    crossed = [n for n, a, b in zip(problem.layers.sizes[1:], groups, groups[1:], strict=False) if a != b]
    return float(2 * size * sum(problem.n_rows) * sum(crossed))
