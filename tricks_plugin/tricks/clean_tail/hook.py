"""The hook that ends a config's own strong augmentation."""

from __future__ import annotations

from mmengine.registry import HOOKS

from ...mm.phases import PhaseHook
from .transform import Switched

__all__ = ['ClosingHook']


@HOOKS.register_module()
class ClosingHook(PhaseHook):
    """Switches every `Switched` step of the training off for the last part of it.

    Through all wrappers of datasets, in persistent workers, in epoch- and iteration-based loops
    and after a resume; when, see `PhaseHook`.

    Args:
        off_fraction: See `PhaseHook`.
        off_epochs: See `PhaseHook`.
    """

    kind = Switched
    what = 'strong augmentation'
