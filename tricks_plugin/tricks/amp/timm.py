"""Mixed precision as timm's settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import RunFacts, TimmFlags
from . import device as machine
from .functional import pick_dtype

__all__ = ['Flags']


class Flags(TimmFlags):
    """timm's native AMP, in the format that its device has."""

    main = 'amp'

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Switches it on."""
        if args.get('model_dtype') not in (None, 'float32'):
            return f"AMP needs a float32 model, and --model-dtype is {args['model_dtype']}"
        device = _device(args)
        known = args.get('bfloat16')  # of the machine that is planned for, if not this one
        dtype = pick_dtype(device, machine.has_bfloat16(device) if known is None else known, False)
        if self.params.dtype not in ('auto', dtype):
            reason = machine.why_not(self.params.dtype, device, '')
            if reason:
                return reason
            dtype = self.params.dtype
        return f'no 16-bit format is known for {device.upper()}' if dtype is None else \
            {'amp': True, 'amp_dtype': dtype}

    def pays(self, args: dict[str, Any], facts: RunFacts) -> str | None:
        """Asks whether this machine's device is faster in the format that it would get."""
        if args.get('bfloat16') is not None:
            return None  # another machine's
        return machine.why_slow(_device(args)) or None

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says which format, and whether the loss is scaled."""
        device = _device(after)
        scaled = after['amp_dtype'] == 'float16' and device == 'cuda'
        return (f'{after["amp_dtype"]} on {device.upper()}, '
                + ('with dynamic loss scaling' if scaled else 'without loss scaling'))

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """The format of the flags, where they ask for AMP."""
        if not args.get('amp'):
            return None
        return {'dtype': args['amp_dtype']} if args.get('amp_dtype') else {}

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With ``amp``."""
        return bool(args.get('amp'))


def _device(args: dict[str, Any]) -> str:
    return str(args.get('device') or machine.kind()).split(':')[0]
