"""The zero scales as timm's settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags
from ...timm.facts import model_facts

__all__ = ['Flags']

_OPTION = 'zero_init_last'
_WEIGHTS = ('pretrained', 'pretrained_path', 'initial_checkpoint')


class Flags(TimmFlags):
    """timm's ``zero_init_last``, which its ResNets have on by default."""

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Sets the option where the model has it and starts from scratch."""
        for flag in _WEIGHTS:
            if args.get(flag):
                return f'--{flag.replace("_", "-")} brings weights, and the scales with them'
        options = dict(args.get('model_kwargs') or {})
        own, known = options.get(_OPTION), model_facts(args)
        if known is None or known.zero_scales:
            return {} if known else f'timm cannot build {args.get("model")!r} to look at its scales'
        if own is False and 'model_kwargs' in given:
            return f'--model-kwargs {_OPTION}=False is yours and stands'
        options[_OPTION] = True
        wanted = model_facts({**args, 'model_kwargs': options})
        if wanted is None or not wanted.zero_scales:
            return f'{args["model"]} has no {_OPTION} that would zero norms at the end of ' \
                'residual branches'
        return {'model_kwargs': options}

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Counts the scales."""
        known = model_facts(after)
        return f'{known.zero_scales} scales of {after["model"]} start at zero' if known else ''

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """Zeros, where no weights are loaded."""
        return None if any(args.get(flag) for flag in _WEIGHTS) else {}

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """Where ``model_kwargs`` asks for it; timm's own default makes no promise."""
        return (args.get('model_kwargs') or {}).get(_OPTION) is True
