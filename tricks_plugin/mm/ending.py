"""The last part of a config's training without an augmentation, as a trick's settings ask for."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..common.phases import Phases, phases
from ..plan.errors import TrickError
from .config_edit import RunLength, run_length

__all__ = ['OFF_FRACTION', 'Ending']

OFF_FRACTION = 0.1  # of the training, where a user sets none


@dataclasses.dataclass(frozen=True)
class Ending:
    """When a trick's augmentation is to be off.

    Attributes:
        length: The training's length; None where the config does not say.
        fraction: Its last part without the augmentation, in [0, 1).
        epochs: The same in epochs, which overrides the fraction; or None.
    """

    length: RunLength | None
    fraction: float
    epochs: int | None

    @classmethod
    def of(cls, cfg: dict[str, Any], params: Any, path: str) -> Ending:
        """The ending of a config.

        Args:
            cfg: A plain config.
            params: A trick's settings ``off_fraction`` and ``off_epochs``.
            path: Of these settings, for the message.

        Raises:
            TrickError: If it is as long as the run, or longer.
        """
        length, epochs = run_length(cfg), params.off_epochs
        if length is not None and length.by_epoch and (epochs or 0) >= length.value:
            raise TrickError(f'{path}.off_epochs must be below the {length.value} epochs of the '
                             f'run, got {epochs}')
        fraction = OFF_FRACTION if params.off_fraction is None else params.off_fraction
        return cls(length, fraction, epochs)

    @property
    def settings(self) -> dict[str, Any]:
        """What a hook and an evidence are told of it."""
        return {'off_fraction': self.fraction, 'off_epochs': self.epochs}

    @property
    def phases(self) -> Phases | None:
        """The moment; None where the run's length, or that of an epoch, is not known."""
        length = self.length
        if length is None or self.epochs is not None and not length.by_epoch:
            return None
        return phases(length.by_epoch, length.value, self.fraction, self.epochs)

    def __str__(self) -> str:
        times = self.phases
        if times is not None and times.ends:
            return f'{times} of {times.total}, counted from 0'
        last = self.fraction if self.epochs is None else self.epochs
        if times is not None or not last:
            return str(Phases())
        return f'off for the last {last:g} of the training' if self.epochs is None else \
            f'off for the last {last} epochs'

    def replaced(self, switch: tuple[str, int] | None, what: str) -> str:
        """Says that another hook ends the augmentation first, if one does.

        Args:
            switch: As `tricks_plugin.mm.joining.replacing_hook` finds it.
            what: The augmentation, in the plural or as a name.
        """
        times = self.phases
        if switch is None or times is None or not times.by_epoch or switch[1] >= times.off_from:
            return ''
        return (f'off from epoch {switch[1]}, counted from 0, as {switch[0]} puts a pipeline '
                f'without {what} in place')
