"""The options as timm's settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags
from . import device as machine

__all__ = ['Flags']

_OPTIONS = {'pin_mem': 'pin_memory', 'channels_last': 'channels_last'}


class Flags(TimmFlags):
    """timm's flags for pinned memory and, with 16 bits, the layout, where there is a GPU."""

    unused = ('cudnn_benchmark', 'tf32', 'persistent_workers')

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Sets those that help."""
        gpu = args.get('gpu')  # of the machine that is planned for, if not this one
        if str(args.get('device') or 'cuda').split(':')[0] != 'cuda' or not (
                machine.capability() if gpu is None else gpu):
            return 'its flags in timm (--pin-mem, --channels-last) help on a GPU only'
        wanted = {'pin_mem': self.params.pin_memory,
                  'channels_last': self.params.channels_last and bool(args.get('amp'))}
        return {name: True for name, on in wanted.items() if on} or \
            'timm has --pin-mem and, beside --amp, --channels-last for it: both are left out here'

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """The options that the flags switch on."""
        options = [name for flag, name in _OPTIONS.items() if args.get(flag)]
        if args.get('torchscript'):
            options = [name for name in options if name != 'channels_last']
        return {'options': options} if options else None

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With ``channels_last``."""
        return bool(args.get('channels_last'))
