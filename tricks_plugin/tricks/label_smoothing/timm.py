"""Label smoothing as timm's flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags
from .functional import convert_eps, default_variant, targets

__all__ = ['Flags']


class Flags(TimmFlags):
    """timm's ``smoothing``, which is ``szegedy``, converted exactly.

    BCE gets the sigmoid form, as it is. JSD smooths the softmax targets of the clean split.
    """

    main = 'smoothing'

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Sets ``smoothing``; see `Trick.timm_args`."""
        if args.get('bce_loss') and args.get('bce_target_thresh') is not None:
            return '--bce-target-thresh rounds the smoothed targets back to 0 and 1'
        count = args.get('num_classes')
        variant = self.params.variant or default_variant(bool(args.get('bce_loss')))
        if variant == 'szegedy' and count is None:
            return {'smoothing': self.params.eps}
        if not isinstance(count, int) or count < 2:
            return f"'{variant}' smooths over 2 classes or more, got {count!r}"
        if variant == 'szegedy':
            return {'smoothing': self.params.eps}
        try:
            return {'smoothing': convert_eps(self.params.eps, count, variant, 'szegedy')}
        except ValueError as error:
            return f'timm cannot: {error}'

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Shows the conversion, or the targets where the user's number stands."""
        smoothing, count = after['smoothing'], after.get('num_classes')
        if not isinstance(count, int) or count < 2 or not 0 < smoothing < 1:
            return ''
        pos, neg = targets('szegedy', smoothing, count)
        words = f'targets {pos:.6g} and {neg:.4g} for {count} classes'
        return words if after.get('bce_loss') else f"{words}: He's eps {1 - pos:.6g}"

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """One loss with szegedy's targets, for as many classes as arrive."""
        if not cls.active(args):
            return None
        return {'expected': [{'path': 'criterion', 'variant': 'szegedy',
                              'eps': float(args['smoothing'])}]}

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With smoothing."""
        return bool((args.get('smoothing') or 0) > 0)
