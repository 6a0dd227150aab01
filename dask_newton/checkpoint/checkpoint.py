"""Where a run is saved, how often, and what it is checked for before another run goes on from it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr

from dask_newton.checkpoint.codec import Decoder, Encoder, NotStoredError, modules_of
from dask_newton.history import History
from dask_newton.objectives.base import Objective
from dask_newton.solvers import Solver, State
from dask_newton.solvers.base import PointState
from dask_newton.storage.atomic import check_target, recover, replacing
from dask_newton.storage.checksums import DatasetError
from dask_newton.storage.groups import consolidate, created_by, open_group
from dask_newton.storage.history import is_marked, read_array, read_history, write_array, write_history
from dask_newton.storage.integrity import verify_group

__all__ = ["Checkpoint", "CheckpointError", "Saved", "is_checkpoint", "saved_run"]

logger = logging.getLogger(__name__)

_FORMAT_KEY, _FORMAT = "dask_newton_checkpoint_format", 1
_CHUNK = 2**21  # numbers
_DAMAGES = (DatasetError, KeyError, TypeError, ValueError, IndexError, AttributeError, FileNotFoundError)


class CheckpointError(ValueError):
    """A run cannot go on from a checkpoint; the message says why and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is saved, so that another process can go on with it.

    The Zarr group at ``path`` holds W, all that the solver carries from one iteration to the next, and the history.
    It is replaced as a whole; a process that is killed leaves the one before. Columns of the state, such as ADMM's
    x_i and y_i, come to the process that runs the solver to be written, so that no file system need be shared. What
    every row has, such as its margins, is computed again.

    Parameters
    ----------
    path : path
        The group, such as ``"fit.zarr"``. If a run was saved there, the next one goes on from it.
    every : int, default=1
        Iterations between two writes at least.
    seconds : float, default=30
        Seconds between two writes at least. The end of a run is always written.
    """

    path: str | os.PathLike[str]
    every: int = 1
    seconds: float = 30.0

    @classmethod
    def of(cls, given: Checkpoint | str | os.PathLike[str]) -> Checkpoint:
        """Return a checkpoint; a path is one with the defaults."""
        found = given if isinstance(given, Checkpoint) else cls(given)
        if not (found.every >= 1 and found.seconds >= 0):
            raise ValueError(f"{found} needs every >= 1 and seconds >= 0.")
        return found

    def load(self) -> Saved | None:
        """Read what was saved; None if nothing was.

        Raises
        ------
        CheckpointError
            If there is something else at the path, or what was saved is damaged or of a newer version.
        FileNotFoundError
            If the folder of the path does not exist.
        """
        where = Path(os.path.abspath(self.path))
        if recover(where):
            logger.info("%s was being replaced when its process ended; the one before is used.", where)
        if not where.exists():
            check_target(where, False)
            return None
        try:
            group, _ = open_group(where)
            attributes: dict[str, Any] = group.attrs.asdict()
            if _FORMAT_KEY not in attributes:
                raise CheckpointError(f"{where} is no checkpoint; choose another path.")
            if attributes[_FORMAT_KEY] != _FORMAT:
                raise CheckpointError(
                    f"{where} is a checkpoint of format {attributes[_FORMAT_KEY]!r}, but this version reads format "
                    f"{_FORMAT}; update dask_newton."
                )
            return Saved(str(where), attributes, read_history(str(where)))
        except CheckpointError:
            raise
        except _DAMAGES as error:
            raise _damaged(str(where), error) from error

    def save(self, problem: Objective, solver: Solver[Any], state: State, history: History) -> None:
        """Save a run.

        Raises
        ------
        OSError
            If it cannot be written; what was there before is there still.
        """
        encoder = Encoder(problem.blocks, modules_of(solver))
        try:
            content = encoder.encode(state)
        except NotStoredError as reason:
            logger.info("Of %s only W is saved, and it begins anew there: %s", solver.name, reason)
            encoder, content = Encoder(problem.blocks, modules_of(solver)), None
        attributes: dict[str, Any] = {
            _FORMAT_KEY: _FORMAT,
            "created_by": created_by(),
            "problem": problem.describe(),
            "solver": {"name": solver.name, "repr": repr(solver), "record": _encoded(encoder, solver)},
            "state": content,
            "W": encoder.encode(np.asarray(state.W)),
            "value": encoder.encode(float(state.value)),
        }
        arrays = encoder.flat()
        with replacing(self.path, overwrite=True) as partial:
            group = zarr.open_group(
                partial, mode="w-", zarr_format=3, attributes={**attributes, "arrays": sorted(arrays)}
            )
            for name, values in arrays.items():
                write_array(group, name, values, ("entry",), _CHUNK)
            write_history(group.create_group("history"), history)
            consolidate(partial / "history")
            consolidate(partial)


@dataclass(frozen=True)
class Saved:
    """What :meth:`Checkpoint.load` read.

    Attributes
    ----------
    where : str
    attributes : dict
        Those of the group.
    history : History
    """

    where: str
    attributes: Mapping[str, Any]
    history: History

    def solver(self) -> Solver[Any]:
        """Make the solver that was running, one of this library.

        Raises
        ------
        CheckpointError
            If it is another.
        """
        record = self.attributes["solver"]["record"]
        if record is None:
            raise CheckpointError(f"{self.where} was saved with a solver of your own; give it instead of 'auto'.")
        try:
            return Decoder(None, modules_of(None), {}).decode(record)
        except _DAMAGES as error:
            raise _damaged(self.where, error) from error

    def restore(self, problem: Objective, solver: Solver[Any]) -> State:
        """Make the state, beside the blocks of a problem.

        Raises
        ------
        CheckpointError
            If problem or solver are not those of the run that was saved.
        """
        try:
            here = problem.describe()
            for what, was in self.attributes["problem"].items():
                self._require(what, was, here.get(what))
            for what, now in (("name", solver.name), ("repr", repr(solver))):
                self._require("solver", self.attributes["solver"][what], now)
            decoder = Decoder(problem, modules_of(solver), self._arrays())
            W, value = decoder.decode(self.attributes["W"]), decoder.decode(self.attributes["value"])
            content = self.attributes["state"]
            state = solver.init(problem, W) if content is None else decoder.decode(content)
        except CheckpointError:
            raise
        except _DAMAGES as error:
            raise _damaged(self.where, error) from error
        found = state.point.value if isinstance(state, PointState) else problem.value(state.W)
        if math.isfinite(value) and not math.isclose(value, found, rel_tol=math.sqrt(problem.precision), abs_tol=1e-9):
            raise CheckpointError(
                f"The objective at the W of {self.where} was {value:.8g} and is {found:.8g}: X or y are not the same. "
                "Give the data of that run, or remove the checkpoint."
            )
        return state

    def _arrays(self) -> dict[str, np.ndarray]:
        """Read and verify the arrays of the state, by the name of their type."""
        group, where = open_group(self.where)
        verify_group(group, where)
        found = {name: read_array(group, name, where) for name in self.attributes["arrays"]}
        if missing := [name for name, array in found.items() if array is None]:
            raise DatasetError(f"there is no array {missing[0]!r}")
        return cast("dict[str, np.ndarray]", found)

    def _require(self, what: str, was: Any, now: Any) -> None:
        same = np.shape(was) == np.shape(now) and np.allclose(was, now) if what == "weights" else was == now
        if not same:
            say = (lambda sums: f"{len(sums)} blocks of {sums}") if what == "weights" else str
            raise CheckpointError(
                f"{self.where} was saved with {what} {say(was)}, and now it is {say(now)}; give what it was, remove "
                "the checkpoint, or choose another path."
            )


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether there is a Zarr group at ``path`` that says it is a checkpoint."""
    return is_marked(path, _FORMAT_KEY)


def saved_run(checkpoint: Checkpoint | str | os.PathLike[str] | None) -> Saved | None:
    """Read what was saved at a checkpoint that may have been given; None if none was, or nothing is there."""
    return None if checkpoint is None else Checkpoint.of(checkpoint).load()


def _encoded(encoder: Encoder, solver: Solver[Any]) -> Any:
    """Return a solver as JSON; None for one whose options are more than numbers."""
    try:
        return encoder.encode(solver)
    except NotStoredError:
        return None


def _damaged(where: str, error: Exception) -> CheckpointError:
    what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return CheckpointError(f"The checkpoint {where} is damaged or was edited: {what}. Remove it to begin anew.")
