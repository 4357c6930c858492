"""The warm-up and the cosine as timm's flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...common.processes import world_size
from ...plan import TimmFlags
from ...plan.errors import TrickError
from ...timm.rate import derived_lr
from . import MAX_DEFAULT_EPOCHS, TWENTIETH

__all__ = ['Flags']


class Flags(TimmFlags):
    """timm's cosine with a warm-up from 0 in front, stepped per update."""

    main = 'sched'
    derives = ('epochs',)
    unused = ('replace',)
    advice = ('fitted_flat',)
    impossible = ('flat_fraction',)

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Selects the schedule; the warm-up is part of the epochs asked for."""
        epochs = args.get('epochs', 300)
        if self.params.warmup_iters is not None:
            return 'timm counts a warm-up in epochs: give cosine_warmup.warmup_epochs'
        if self.params.flat_fraction:
            raise TrickError('tricks.cosine_warmup.flat_fraction must be 0 under timm, whose '
                             f'cosine has no flat part, got {self.params.flat_fraction!r}; '
                             'cosine_warmup.flat_fraction=0 goes without')
        if isinstance(epochs, bool) or not isinstance(epochs, int):
            return f'--epochs must be a whole number, got {epochs!r}'
        self._check_eta_min(args)
        warmup = self._warmup(args, given, epochs)
        settings = {'sched': 'cosine', 'sched_on_updates': True, 'warmup_lr': 0.0,
                    'warmup_epochs': warmup, 'warmup_prefix': True,
                    'min_lr': self.params.eta_min or 0.0, 'cooldown_epochs': 0}
        if 'warmup_prefix' not in given:
            # timm adds a prefixed warm-up to the epochs; without the prefix the LR jumps at the
            # joint.
            settings['epochs'] = epochs - warmup
        return settings

    def _check_eta_min(self, args: dict[str, Any]) -> None:
        """Raises TrickError if the LR would climb; timm scales both alike in slower groups."""
        lr, eta_min = derived_lr(args, world_size('any')), self.params.eta_min
        if lr is not None and eta_min is not None and eta_min > lr:
            raise TrickError(f'tricks.cosine_warmup.eta_min must be <= the LR of the run '
                             f'({lr:g}), got {eta_min!r}')

    def _warmup(self, args: dict[str, Any], given: Collection[str], epochs: int) -> int:
        """The epochs of the warm-up: the user's flag, a parameter, or a twentieth of the run."""
        if 'warmup_epochs' in given:
            name, length = '--warmup-epochs', args['warmup_epochs']
        elif self.params.warmup_epochs is not None:
            name, length = 'tricks.cosine_warmup.warmup_epochs', self.params.warmup_epochs
        elif self.params.fitted_epochs is not None:
            wish = self.params.fitted_epochs
            return int(wish if 2 * wish < epochs else epochs / 10)
        else:
            return min(MAX_DEFAULT_EPOCHS, max(epochs // TWENTIETH, 1), max(epochs - 1, 0))
        if length != int(length):
            raise TrickError(f'{name} must be a whole number of epochs for timm, got {length!r}')
        if length >= epochs and 'warmup_prefix' not in given:
            raise TrickError(f'{name} must be less than epochs ({epochs}), got {length!r}')
        return int(length)

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Shows how the length of the run is kept."""
        warmup, epochs = after['warmup_epochs'], after['epochs']
        if epochs != before['epochs']:
            return f'{warmup} + {epochs} epochs = the {before["epochs"]} asked for'
        wish = self.params.fitted_epochs
        if not warmup and wish and before['warmup_epochs'] and 2 * wish >= epochs:
            return f'no warm-up: {wish:g} of the {epochs} epochs would be half of the run or more'
        return f'{warmup} epochs of warm-up come on top of {epochs}, as --warmup-prefix is yours' \
            if warmup and after['warmup_prefix'] else ''
