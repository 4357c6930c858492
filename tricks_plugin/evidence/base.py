"""How a trick shows, in the running training, that it is live: one contract for both trainers.

A plan is a promise; an `Evidence` measures what arrives in the run, never the settings.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..plan.errors import TrickError
from .training import Training

__all__ = ['DeadTrickError', 'Evidence', 'Finding']


class DeadTrickError(TrickError, RuntimeError):
    """A trick was planned, and the running training shows no effect of it; under ``strict``."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a measurement found so far.

    Attributes:
        planned: The promise, in a few words: ``alpha 1.5, off from epoch 36``.
        live: True if the run shows the promised effect, False if it shows that the effect is
            missing or wrong, None while there is too little to tell.
        measured: The measurement in a few words: ``31 of 32 samples mixed (last 20 iterations)``.
        values: The same in numbers, for tricks_evidence.json.
        error: The error of its own that ended the measuring; empty where there was none.
    """

    planned: str
    live: bool | None
    measured: str
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str = ''


class Evidence:
    """Base of a trick's measurement. Built with the promise as keywords.

    Every method but `finding` may be left as it is. They run in every iteration, so they must
    be cheap: no device synchronisation outside `finding`. What a measurement needs of the run it
    reads from the `Training`; it does not know which trainer that is. An error in one of these
    methods ends the measuring of its trick and not the run; one in a hook on a module ends both.
    """

    def start(self, training: Training) -> None:
        """Called before the first iteration, when everything is built and resumed.

        Hooks on modules (``register_forward_hook``) go here.
        """

    def before_iteration(self, training: Training) -> None:
        """Called with each batch before its forward pass, its learning rate set."""

    def after_iteration(self, training: Training) -> None:
        """Called after each iteration, before the learning rate of the next one is set.

        ``training.iteration`` and ``training.epoch`` are still those of this iteration.
        """

    def on_update(self, training: Training) -> None:
        """Called after an iteration in which an optimizer made a step, after `after_iteration`.

        Under gradient accumulation most iterations have none; a loss scaler may skip one.
        """

    def switched(self, training: Training) -> bool:
        """Whether a planned change of behaviour has just been measured; asks for a new table."""
        return False

    def finding(self, training: Training) -> Finding:
        """What was measured so far. May synchronise the device."""
        raise NotImplementedError(f'{type(self).__name__} measures nothing')

    def close(self) -> None:
        """Called after training: removes what `start` attached."""
