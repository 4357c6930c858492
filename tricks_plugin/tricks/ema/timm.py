"""The average of the weights as timm's flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags

__all__ = ['Flags']

_DECAY = 0.9998


class Flags(TimmFlags):
    """timm's model EMA; its decay grows with the step, up to the given one."""

    main = 'model_ema'
    unused = ('horizon',)

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Switches timm's model EMA on."""
        if not self.params.update_buffers:
            return "timm averages BatchNorm's statistics as well, against update_buffers=False"
        momentum = self.params.momentum
        return {'model_ema': True, 'model_ema_warmup': True,
                'model_ema_decay': _DECAY if momentum is None else 1 - momentum}

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says how far the average reaches back, which in timm is no share of the run."""
        rest = 1 - after['model_ema_decay']
        ramp = "; its ramp is timm's own warm-up of the decay" if self.params.ramp else ''
        return '' if rest <= 0 else (
            f'memory of up to {1 / rest:.4g} updates, in runs of any length: timm has no flag for '
            f'a share of the run{ramp}')

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """An average, where the flag asks for one."""
        return {} if args.get('model_ema') else None

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With ``model_ema``."""
        return bool(args.get('model_ema'))
