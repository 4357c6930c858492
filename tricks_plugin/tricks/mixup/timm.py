"""Mixup as timm's flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...common.phases import phases
from ...plan import TimmFlags
from ...timm.facts import total_epochs

__all__ = ['Flags']

_ALPHA = 0.2  # arXiv 1812.01187 section 5.5, arXiv 1710.09412 section 3.1


class Flags(TimmFlags):
    """timm's mixup of a batch with itself; off at the end only where it was asked for."""

    main = 'mixup'
    unused = ('partner', 'partner_shape', 'cache_size', 'replace', 'pad_value', 'per_box',
              'images', 'ignore')

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Switches timm's mixup on, and off in time; see `Trick.timm_args`."""
        if args.get('aug_splits'):
            return '--aug-splits and --mixup exclude each other in timm'
        params = self.params
        settings: dict[str, Any] = {'mixup': _ALPHA if params.alpha is None else params.alpha}
        if params.prob != 1:
            settings['mixup_prob'] = params.prob
        if params.off_fraction is not None or params.off_epochs is not None:
            total = total_epochs(args)
            times = phases(True, total, params.off_fraction or 0.0, params.off_epochs)
            # timm counts from 0, and takes 0 for never.
            settings['mixup_off_epoch'] = times.off_from if times.ends else 0
        return settings

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says when mixup ends, and what becomes of the user's cutmix."""
        off = after.get('mixup_off_epoch')
        words = [f'off from epoch {off} of {total_epochs(after)}, counted from 0'] if off else []
        if after.get('cutmix') or after.get('cutmix_minmax') is not None:
            words.append('each batch is mixed by it or by your cutmix, '
                         f'by cutmix with probability {after.get("mixup_switch_prob", 0.5):g}')
        return '; '.join(words)

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """What is mixed, how often, and from which epoch on no more."""
        if not cls.active(args):
            return None
        cutmix = args.get('cutmix') or 0.0
        return {'alpha': args.get('mixup') or 0.0,
                'cutmix': 'minmax' if args.get('cutmix_minmax') is not None else cutmix,
                'prob': float(args.get('mixup_prob', 1.0)),
                'smoothing': float(args.get('smoothing') or 0.0),
                'off_from': args.get('mixup_off_epoch') or None}

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With mixup or cutmix."""
        return bool((args.get('mixup') or 0) > 0 or (args.get('cutmix') or 0) > 0
                    or args.get('cutmix_minmax') is not None)
