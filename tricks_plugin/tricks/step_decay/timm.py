"""Step decay as timm's flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags
from .functional import decay_points

__all__ = ['Flags']

_EARLY = 1  # timm's multi-step schedule falls one step before a milestone, here an epoch


class Flags(TimmFlags):
    """timm's multi-step schedule, per epoch, without a warm-up."""

    main = 'sched'

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Selects the schedule."""
        epochs = args.get('epochs', 300)
        if isinstance(epochs, bool) or not isinstance(epochs, int):
            return f'--epochs must be a whole number, got {epochs!r}'
        try:
            points = decay_points(epochs, self.params.milestones)
        except ValueError as error:
            return f'{error} epochs'
        early = 0 if 'sched_on_updates' in given and args['sched_on_updates'] else _EARLY
        return {'sched': 'multistep', 'decay_milestones': [point + early for point in points],
                'decay_rate': self.params.gamma, 'warmup_epochs': 0, 'cooldown_epochs': 0,
                'sched_on_updates': False}

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says when the rate falls."""
        early = 0 if after.get('sched_on_updates') else _EARLY
        points = ', '.join(str(point - early) for point in after['decay_milestones'])
        return f'LR times {after["decay_rate"]:g} at epoch {points} of {after["epochs"]}'
