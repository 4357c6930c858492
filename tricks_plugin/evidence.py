"""How a trick shows, in the running training, that it is live.

A plan is a promise; an `Evidence` measures what arrives in the run, never the settings.
`tricks_plugin.evidence_hook.TrickEvidenceHook` drives it and writes the table.
"""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ['Evidence', 'Finding']


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a measurement found so far.

    Attributes:
        planned: The promise, in a few words: ``alpha 1.5, off from epoch 36``.
        live: True if the run shows the promised effect, False if it shows that the effect is
            missing or wrong, None while there is too little to tell.
        measured: The measurement in a few words: ``31 of 32 samples mixed (last 20 iterations)``.
        values: The same in numbers, for tricks_evidence.json.
    """

    planned: str
    live: bool | None
    measured: str
    values: dict[str, Any] = dataclasses.field(default_factory=dict)


class Evidence:
    """Base of a trick's measurement. Built with the verdict's ``evidence`` as keywords.

    Every method but `finding` may be left as it is. They run in every iteration, so they must
    be cheap: no device synchronisation outside `finding`.
    """

    def start(self, runner: Any) -> None:
        """Called before training, after every other hook's ``before_train``.

        Hooks on modules (``register_forward_hook``) go here.
        """

    def before_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Called before each iteration, when the learning rate of this iteration is set."""

    def after_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Called after each iteration, before the parameter schedulers step.

        ``runner.iter`` is the number of the iteration that has just run, counted from 0.
        """

    def switched(self, runner: Any) -> bool:
        """Whether a planned change of behaviour has just been measured; asks for a new table."""
        return False

    def finding(self, runner: Any) -> Finding:
        """What was measured so far. May synchronise the device."""
        raise NotImplementedError(f"{type(self).__name__} measures nothing")

    def close(self) -> None:
        """Called after training: removes what `start` attached."""
