"""The variants as timm's models."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags
from . import DEPTHS

__all__ = ['Flags']

_NAME = re.compile(r'resnet\d+([cd]?)(\..*)?')


class Flags(TimmFlags):
    """timm's model of that name, which it has of D at all depths and of C at 50."""

    derives = ('model',)

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Picks the model."""
        name, wanted = str(args.get('model')), self.params.variant
        plain, _, tag = name.partition('.')
        if self.params.checkpoint:
            return 'timm takes weights of your own by --pretrained-path, not by resnet_d.checkpoint'
        if plain in {f'resnet{depth}{wanted}' for depth in DEPTHS}:
            return {'model': name}
        if plain not in {f'resnet{depth}' for depth in DEPTHS}:
            return f'{name} is not a plain ResNet of timm'
        if wanted == 'b':
            return {}
        if wanted == 'c' and plain != 'resnet50':
            return f"timm's only ResNet-C is resnet50c, and the model is {name}"
        flag = next((flag for flag in ('initial_checkpoint', 'pretrained_path') if args.get(flag)),
                    None)
        if flag:
            return f'--{flag.replace("_", "-")} brings weights of another architecture'
        return {'model': f'{plain}{wanted}'}

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says which network it is, and what became of the weights asked for."""
        old, new = str(before.get('model')), after['model']
        if self.params.variant == 'b':
            return f"timm's {old} is ResNet-B: its stride lies in the 3x3 convolution"
        tag = old.partition('.')[2]
        return f'the weights named {tag} are those of another model' if tag and old != new else ''

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """The variant of the model's name, where timm's ResNets have one."""
        found = _NAME.fullmatch(str(args.get('model')))
        return None if found is None else {
            'variant': found[1] or 'b', 'pretrained': bool(args.get('pretrained'))}
