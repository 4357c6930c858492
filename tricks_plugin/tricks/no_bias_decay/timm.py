"""The exemption as timm's settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags

__all__ = ['Flags']

_OPTION = 'filter_bias_and_bn'


class Flags(TimmFlags):
    """timm takes the decay off all vectors, unless it is told otherwise."""

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Nothing to change, as a rule."""
        options = args.get('opt_kwargs') or {}
        if not args.get('weight_decay', 1):
            return 'there is no weight decay to exempt from'
        if options.get(_OPTION, True):
            return {}
        if 'opt_kwargs' in given:
            return f'--opt-kwargs {_OPTION}=False is yours and stands'
        return {'opt_kwargs': {**options, _OPTION: True}}

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says whose rule it is."""
        return 'timm exempts all biases and 1-d parameters by default'

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """The rule, where there is a weight decay."""
        return {} if args.get('weight_decay') else None

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With a weight decay, from which timm exempts unless it is told otherwise."""
        return bool(args.get('weight_decay')) and bool(
            (args.get('opt_kwargs') or {}).get(_OPTION, True))
