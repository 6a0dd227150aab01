"""Solvers of layers on a device that refuses what CuPy refuses, and what they copy from it."""

import dataclasses

import catalogue
import duck
import numpy as np
import pytest
from networks import blobs, network

from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.penalties import L2
from dask_newton.solvers import DLADMM, PDADMM, PDADMMGrid


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(
    ("solver", "copies"),
    [
        (PDADMM(), 6),
        (PDADMM(steps="gradient"), 6),
        (DLADMM(), 10),
        (DLADMM(steps="gradient"), 10),
        (PDADMMGrid(iterations=1, message_bits=8), 10),
    ],
    ids=repr,
)
def test_variables_stay_on_the_device(solver, copies, activation):
    """Of three layers go up: five moments and the numbers; in five passes of dladmm ten arrays; by cell its numbers."""
    duck.register()
    F = network(blobs(), (6, 5), m=1, activation=activation, initialisation="gauss")
    rng = np.random.default_rng(0)
    here = dataclasses.replace(F.data.parts[0], weight=rng.uniform(0.5, 2, 60), offset=rng.normal(size=(60, 3)))
    names = ("X", "y", "weight", "offset")
    there = dataclasses.replace(here, **{name: duck.asduck(getattr(here, name)) for name in names})
    ends = []
    for rows in (here, there):
        blocks, data = catalogue.serial_blocks([rows])
        G = NetworkObjective.from_blocks(blocks, data, F.layers, L2(1e-3), initialisation="gauss")
        state, _ = solver.step(G, solver.init(G, G.null))
        before = duck.copies["to host"]
        state, _ = solver.step(G, state)
        ends.append((state.W, duck.copies["to host"] - before))
    np.testing.assert_allclose(ends[1][0], ends[0][0], rtol=1e-12)
    assert ends[1][1] == copies
