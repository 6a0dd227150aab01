"""Where a run is saved and how often, and what must be the same when it is continued."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dask_newton.checkpoint.codec import StateDecoder, StateEncoder
from dask_newton.history import History
from dask_newton.objectives.base import Objective
from dask_newton.solvers import Solver, State
from dask_newton.solvers.base import PointState
from dask_newton.storage.atomic import check_target, recover, replacing
from dask_newton.storage.codec import Decoder, Encoder, NotStoredError
from dask_newton.storage.groups import consolidate, created_by, is_kind, open_group
from dask_newton.storage.history import read_array, read_history, write_array, write_history
from dask_newton.storage.integrity import verify_group
from dask_newton.storage.kinds import CHECKPOINT, CheckpointError
from dask_newton.storage.registry import UnknownNameError

__all__ = ["Checkpoint", "OpenCheckpoint", "SavedRun", "is_checkpoint", "open_checkpoint"]

logger = logging.getLogger(__name__)

_CHUNK = 2**21  # numbers
_DAMAGES = (KeyError, TypeError, ValueError, IndexError, AttributeError, FileNotFoundError)


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is saved, so that another process can continue it.

    The Zarr group at ``path`` holds W, everything else that the solver carries from one iteration to the next, and the
    history. It is replaced as a whole: if the process is killed while it writes, the previous checkpoint remains.
    Values beside blocks, such as ADMM's x_i and y_i, are written by the process that runs the solver, so that no shared
    file system is needed. Values of each row, such as margins, are not saved but computed again.

    Parameters
    ----------
    path : path
        The group, such as ``"fit.zarr"``. If it holds a run already, that run is continued.
    every : int, default=1
        Least number of iterations between two writes.
    seconds : float, default=30
        Least number of seconds between two writes. The end of a run is always written.
    """

    path: str | os.PathLike[str]
    every: int = 1
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if not (self.every >= 1 and self.seconds >= 0):
            raise ValueError(f"{self} needs every >= 1 and seconds >= 0.")

    def load(self) -> SavedRun | None:
        """Read what was saved, except the state; None if there is nothing at the path.

        Raises
        ------
        CheckpointError
            If there is something else at the path, or a checkpoint that is damaged or of another version.
        FileNotFoundError
            If the folder of the path does not exist.
        """
        target = Path(os.path.abspath(self.path))
        if recover(target):
            logger.info("%s was being replaced when its process ended; the previous checkpoint is used.", target)
        if not target.exists():
            check_target(target, False)
            return None
        group, where = open_group(target, CHECKPOINT)
        return _read(where, lambda: SavedRun(where, group, group.attrs.asdict(), read_history(group, where)))

    def save(self, problem: Objective, solver: Solver[Any], state: State, history: History) -> None:
        """Save a run.

        Raises
        ------
        OSError
            If it cannot be written; what was there before is there still.
        """
        encoder = StateEncoder(problem.blocks)
        try:
            content = encoder.encode(state)
        except NotStoredError as reason:
            logger.info("The state of %s cannot be saved, only W, where it will start anew: %s.", solver.name, reason)
            encoder, content = StateEncoder(problem.blocks), None
        attributes: dict[str, Any] = {
            CHECKPOINT.key: CHECKPOINT.version,
            "created_by": created_by(),
            "problem": problem.describe(),
            "solver": {"name": solver.name, "repr": repr(solver), "record": _encoded(solver)},
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
class SavedRun:
    """A run that was saved, as :meth:`Checkpoint.load` returns it.

    Attributes
    ----------
    where : str
    group : zarr.Group
    attributes : dict
        Those of the group.
    history : History
    """

    where: str
    group: zarr.Group
    attributes: Mapping[str, Any]
    history: History

    def solver(self) -> Solver[Any]:
        """Make the solver that was running.

        Raises
        ------
        CheckpointError
            If its class or one of its options was not stored, or is unknown.
        """
        record = self.attributes["solver"]["record"]
        if record is None:
            raise CheckpointError(
                f"{self.where} was saved with {self.attributes['solver']['repr']}, which has no stored name; give that "
                "solver instead of 'auto'."
            )
        solver: Solver[Any] = _read(self.where, lambda: Decoder().decode(record))
        return solver

    def restore(self, problem: Objective, solver: Solver[Any]) -> State:
        """Make the state, beside the blocks of a problem.

        Raises
        ------
        CheckpointError
            If problem or solver are not those of the run that was saved.
        """
        state, value = _read(self.where, lambda: self._state(problem, solver))
        found = state.point.value if isinstance(state, PointState) else problem.value(state.W)
        if math.isfinite(value) and not math.isclose(value, found, rel_tol=math.sqrt(problem.precision), abs_tol=1e-9):
            raise CheckpointError(
                f"The objective at the W of {self.where} was {value:.8g} and is {found:.8g}: X or y are not the same. "
                "Give the data of that run, or remove the checkpoint."
            )
        return state

    def _state(self, problem: Objective, solver: Solver[Any]) -> tuple[State, float]:
        here = problem.describe()
        for what, was in self.attributes["problem"].items():
            self._require(what, was, here.get(what))
        for what, now in (("name", solver.name), ("repr", repr(solver))):
            self._require("solver", self.attributes["solver"][what], now)
        decoder = StateDecoder(problem, self._arrays())
        W, value = decoder.decode(self.attributes["W"]), decoder.decode(self.attributes["value"])
        content = self.attributes["state"]
        return (solver.init(problem, W) if content is None else decoder.decode(content)), value

    def _arrays(self) -> dict[str, np.ndarray]:
        """Read and verify the arrays of the state, by the name of their dtype."""
        verify_group(self.group, self.where)
        arrays: dict[str, np.ndarray] = {}
        for name in self.attributes["arrays"]:
            array = read_array(self.group, name, self.where)
            if array is None:
                raise ValueError(f"there is no array {name!r}")
            arrays[name] = array
        return arrays

    def _require(self, what: str, was: Any, now: Any) -> None:
        same = np.shape(was) == np.shape(now) and np.allclose(was, now) if what == "weights" else was == now
        if not same:
            say = (lambda sums: f"{len(sums)} blocks of {sums}") if what == "weights" else str
            raise CheckpointError(
                f"{self.where} was saved with {what} {say(was)}, and now it is {say(now)}; give what it was, remove "
                "the checkpoint, or choose another path."
            )


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint whose content was read, to be handed on to whatever needs it.

    Attributes
    ----------
    checkpoint : Checkpoint
    saved : SavedRun or None
        The run that was there when it was opened.
    """

    checkpoint: Checkpoint
    saved: SavedRun | None


def open_checkpoint(given: OpenCheckpoint | Checkpoint | str | os.PathLike[str]) -> OpenCheckpoint:
    """Read what is at a checkpoint; a path is a :class:`Checkpoint` with defaults.

    Raises
    ------
    CheckpointError, FileNotFoundError
        As :meth:`Checkpoint.load`.
    """
    if isinstance(given, OpenCheckpoint):
        return given
    checkpoint = given if isinstance(given, Checkpoint) else Checkpoint(given)
    return OpenCheckpoint(checkpoint, checkpoint.load())


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether there is a Zarr group at ``path`` that says it is a checkpoint."""
    return is_kind(path, CHECKPOINT)


def _encoded(solver: Solver[Any]) -> Any:
    """Return a solver as JSON; None if it or one of its options has no registered name."""
    try:
        return Encoder().encode(solver)
    except NotStoredError:
        return None


def _read(where: str, read: Callable[[], Any]) -> Any:
    """Return ``read()``, with a sentence about the checkpoint for whatever it raises."""
    try:
        return read()
    except CheckpointError:
        raise
    except UnknownNameError as error:
        raise CheckpointError(
            f"The checkpoint {where} cannot be continued: {error}. Update dask_newton, import the package that "
            "registers it, or remove the checkpoint to start anew."
        ) from error
    except _DAMAGES as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise CheckpointError(
            f"The checkpoint {where} is damaged or was edited: {what}. Remove it to start anew."
        ) from error
