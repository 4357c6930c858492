"""timm's mixup with a switch that worker processes see at once."""

from __future__ import annotations

import argparse
from typing import Any

from timm.data import FastCollateMixup, Mixup

from ..common.shared_state import SharedState

__all__ = ['SwitchableCollateMixup', 'SwitchableMixup', 'build_mixup']


class _Switch:
    """``mixup_enabled`` in shared memory, where timm has an attribute that each process copies."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._state = SharedState()
        super().__init__(*args, **kwargs)

    @property
    def mixup_enabled(self) -> bool:
        """Whether batches are mixed; setting it reaches every worker process at once."""
        return self._state.enabled

    @mixup_enabled.setter
    def mixup_enabled(self, value: bool) -> None:
        self._state.enabled = value


class SwitchableCollateMixup(_Switch, FastCollateMixup):
    """timm's mixup while batches are collated, in the worker processes."""


class SwitchableMixup(_Switch, Mixup):
    """timm's mixup of finished batches, in the training process."""


def build_mixup(args: argparse.Namespace) -> SwitchableCollateMixup | SwitchableMixup | None:
    """The mixup that timm's flags ask for, or None.

    Args:
        args: timm's settings; ``num_classes`` must be known.
    """
    if not (args.mixup > 0 or args.cutmix > 0 or args.cutmix_minmax is not None):
        return None
    kind = SwitchableMixup if args.no_prefetcher else SwitchableCollateMixup
    return kind(
        mixup_alpha=args.mixup, cutmix_alpha=args.cutmix, cutmix_minmax=args.cutmix_minmax,
        prob=args.mixup_prob, switch_prob=args.mixup_switch_prob, mode=args.mixup_mode,
        label_smoothing=args.smoothing, num_classes=args.num_classes)
