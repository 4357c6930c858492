"""The last part of a config's training without an augmentation, as a trick's settings ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from ..common.phases import Phases, phases
from ..plan.errors import TrickError
from .config_edit import RunLength, run_length
from .own_ends import own_end
from .run_facts import epoch_length, filters_images

__all__ = ['OFF_FRACTION', 'SHARED', 'Ending', 'shared_ending']

OFF_FRACTION = 0.1  # of the training, where a user sets none
SHARED = 'tricks_ending'  # in a config while tricks are applied: what `shared_ending` returns

_TOGETHER = ('mosaic', 'mixup', 'random_shapes', 'clean_tail')


def shared_ending(tricks: Iterable[Any]) -> dict[str, Any] | None:
    """The end that one of the tricks is told, and the others have to keep to: one clock.

    Args:
        tricks: Those that are to be applied.

    Returns:
        ``off_fraction``, ``off_epochs`` and the ``trick``; None where no end is set (0 is none),
        or two different ones are.
    """
    told = [dict(off_fraction=trick.params.off_fraction, off_epochs=trick.params.off_epochs,
                 trick=trick.name) for trick in tricks if trick.name in _TOGETHER]
    told = [one for one in told if one['off_fraction'] or one['off_epochs']]
    ends = {(one['off_fraction'], one['off_epochs']) for one in told}
    return told[0] if len(ends) == 1 else None


@dataclasses.dataclass(frozen=True)
class Ending:
    """When a trick's augmentation is to be off.

    Attributes:
        length: The training's length; None where the config does not say.
        fraction: Its last part without the augmentation, in [0, 1).
        epochs: The same in epochs, which overrides the fraction; or None.
        unchecked: Why these epochs could not be compared with the run's length, or empty.
        beside: The hook of the config's own, or the trick, whose end this one keeps to, or empty.
    """

    length: RunLength | None
    fraction: float
    epochs: int | None
    unchecked: str = ''
    beside: str = ''

    @classmethod
    def of(cls, cfg: dict[str, Any], params: Any, path: str,
           default: float = OFF_FRACTION, follow: bool = True) -> Ending:
        """The ending of a config.

        Where the user sets none, it is that of the config's own hook which ends its augmentation,
        else that which he sets for another trick: one clock for all of them.

        Args:
            cfg: A plain config.
            params: A trick's settings ``off_fraction`` and ``off_epochs``.
            path: Of these settings, for the message.
            default: The fraction where the user sets none.
            follow: Whether to keep to the end of the config's own hook.

        Raises:
            TrickError: If it is as long as the run, or longer. In an iteration-based run an epoch
                is as long as the annotation files say; where images may be filtered out, which
                makes it shorter, only twice the run's length is too long beyond doubt.
        """
        length, epochs = run_length(cfg), params.off_epochs
        fraction = default if params.off_fraction is None else params.off_fraction
        if follow and length is not None and default and params.off_fraction is None and \
                epochs is None and (own := own_end(cfg)):
            return cls(length, fraction, length.value - own[1], beside=own[0])
        shared, beside = cfg.get(SHARED), ''
        if shared and default and params.off_fraction is None and epochs is None and \
                path.removeprefix('tricks.') in _TOGETHER:
            fraction, epochs = shared['off_fraction'] or default, shared['off_epochs']
            path = f"tricks.{shared['trick']}"
            beside = f'the end of {path}'
        if length is None or not epochs:
            return cls(length, fraction, epochs, beside=beside)
        each, why = (1, '') if length.by_epoch else epoch_length(cfg)
        if each is None:
            return cls(length, fraction, epochs, why, beside)
        if not length.by_epoch and filters_images(cfg) and epochs * each < 2 * length.value:
            return cls(length, fraction, epochs, (
                f'images may be filtered out, and an epoch is shorter than {each} iterations then')
                if epochs * each >= length.value else '', beside)
        if epochs * each >= length.value:
            detail = '' if length.by_epoch else f' ({length.value} iterations, {each} an epoch)'
            whole = round(length.value / each, 2)
            raise TrickError(f'{path}.off_epochs must be below the {whole:g} epochs of the '
                             f'run{detail}, got {epochs}')
        return cls(length, fraction, epochs, beside=beside)

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
            return f'{times} of {times.total}, counted from 0' + (
                f', with {self.beside}' if self.beside else '')
        last = self.fraction if self.epochs is None else self.epochs
        if times is not None or not last:
            return str(Phases())
        return f'off for the last {last:g} of the training' if self.epochs is None else \
            f'off for the last {last} epochs{self.doubt}'

    @property
    def doubt(self) -> str:
        """Says that the epochs could not be compared with the run's length; empty if they were."""
        return f' (not checked to be fewer than those of the run: {self.unchecked})' \
            if self.unchecked else ''

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
