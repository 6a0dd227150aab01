"""A worker process is killed in the middle of a fit; the fit ends as if nothing had happened."""

import logging
import os
import signal
from collections import Counter

import dask.array as da
import numpy as np
import pytest
from distributed.diagnostics.plugin import SchedulerPlugin
from sklearn.datasets import load_digits

from dask_newton import LogisticRegression


class CountUpdates(SchedulerPlugin):
    """Counts how often each ADMM update of one worker's blocks was computed."""

    def __init__(self):
        self.counts = Counter()

    def transition(self, key, start, finish, *args, **kwargs):
        if start == "processing" and finish == "memory" and str(key).startswith("newton-admm-update-"):
            self.counts[key] += 1

    @property
    def redone(self):
        return sum(max(count - 1, 0) for count in self.counts.values())


class KillAt(logging.Handler):
    """Kills a worker process when the record of an iteration is logged."""

    def __init__(self, iteration, client):
        super().__init__(logging.DEBUG)
        self.iteration, self.client, self.killed = iteration, client, None

    def emit(self, record):
        row = record.args[1] if isinstance(record.args, tuple) and len(record.args) == 2 else {}
        if isinstance(row, dict) and row.get("iteration") == self.iteration and self.killed is None:
            self.killed = next(iter(self.client.run(os.getpid).values()))
            os.kill(self.killed, signal.SIGKILL)


@pytest.mark.cluster
@pytest.mark.faults
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("persist", [True, False])
def test_newton_admm_survives_a_killed_worker(start_cluster, persist):
    X, y = load_digits(n_class=3, return_X_y=True)
    X, y = da.from_array(X / 16, chunks=(90, -1)), da.from_array(y, chunks=90)
    options = {"rho": 1.0, "polish": False}
    model = LogisticRegression(solver="newton-admm", solver_options=options, max_iter=20, tol=0, persist=persist)
    undisturbed = model.fit(X, y).coef_.copy()

    # Memory monitoring off: the nanny's restarts should be those of the test.
    with start_cluster(memory_limit=None) as client, client.as_current():
        counter = CountUpdates()
        client.cluster.scheduler.add_plugin(counter)
        log = logging.getLogger("dask_newton.minimize")
        killer, level = KillAt(17, client), log.level
        log.addHandler(killer)
        log.setLevel(logging.DEBUG)
        try:
            model.fit(X, y)
        finally:
            log.removeHandler(killer)
            log.setLevel(level)
    assert killer.killed is not None
    assert model.n_iter_[0] == 20
    np.testing.assert_allclose(model.coef_, undisturbed, rtol=0, atol=1e-6)
    # At most the passes since the last anchor (every 10), one task each: those of the worker that was lost.
    assert 1 <= counter.redone <= 10
