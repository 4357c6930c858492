"""The lower rate as timm's flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags

__all__ = ['Flags']


class Flags(TimmFlags):
    """timm's layer decay, clamped at once: 1 for the last layer, ``lr_mult`` for all before it."""

    main = 'layer_decay'

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Sets the decay and its floor to one number, so that every layer but the last has it."""
        if 'layer_decay' in given:
            return f'--layer-decay {args["layer_decay"]} is yours and stands'
        share = self.params.lr_mult
        return {'layer_decay': share, 'layer_decay_min_scale': share}

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says what has which rate."""
        return ('the classifier trains at the LR, all layers before it at '
                f'{self.params.lr_mult:g} of it')

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """The share, where decay and floor are one number."""
        share = args.get('layer_decay')
        return {'lr_mult': share} if share and args.get('layer_decay_min_scale') == share else None

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With a layer decay that is clamped at once."""
        return cls.promise(args) is not None
