"""The scaled learning rate as timm's flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...common.processes import world_size
from ...plan import TimmFlags
from ...timm.rate import scales_linearly
from . import batch_words
from .functional import effective_batch_size, linear_scaled_lr

__all__ = ['Flags']


class Flags(TimmFlags):
    """timm's own scaling of ``lr_base``, which is linear for SGD by default."""

    derives = ('lr', 'lr_base')

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Has timm derive the LR from its base batch linearly.

        An ``lr`` of the user's is absolute and stays, unless ``base_batch_size`` says which batch
        it was chosen for.
        """
        base = self.params.base_batch_size
        if args.get('lr') and base is None:
            return {'lr': args['lr']}
        plain = not args.get('lr_base_scale') and scales_linearly(args)
        settings: dict[str, Any] = {} if plain else {'lr_base_scale': 'linear'}
        if base is not None:
            settings['lr_base_size'] = base
        if args.get('lr'):
            settings.update(lr=None, lr_base=args['lr'])
        return settings

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Shows the arithmetic, or that the LR is the user's own."""
        if after.get('lr'):
            return f'--lr {after["lr"]:g} is yours and stands; linear_lr.base_batch_size, the ' \
                'batch it was chosen for, would scale it'
        opt = str(after.get('opt') or 'sgd').lower()
        if after.get('lr_base_scale') == 'sqrt' or after.get('train_batch_sizes'):
            return ''
        parts = after['batch_size'], world_size('any'), max(1, after['grad_accum_steps'])
        effective = effective_batch_size(*parts)
        base, size = after['lr_base'], after['lr_base_size']
        note = f'lr {base:g} x {effective}/{size} = {linear_scaled_lr(base, effective, size):g} ' \
            f'({batch_words(*parts)})'
        return note if 'sgd' in opt or opt in ('momentum', 'nesterov') else \
            f'{note}; the rule was derived for SGD, not for {opt}'

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """The rule, where timm derives the LR by it; an absolute LR of the user's keeps none."""
        return None if args.get('lr') or not scales_linearly(args) else {}

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """Wherever timm derives the LR linearly."""
        return cls.promise(args) is not None
