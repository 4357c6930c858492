"""Synchronized BatchNorm as timm's settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...common.processes import world_size
from ...plan import TimmFlags
from ...timm.facts import model_facts
from . import SyncBn

__all__ = ['Flags']


class Flags(TimmFlags):
    """timm's own switch, which does nothing in a single process."""

    main = 'sync_bn'

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Switches it on where there is something to synchronize."""
        if world_size('any') < 2:
            return SyncBn.alone
        other = next((name for name in ('split_bn', 'torchscript') if args.get(name)), None)
        if other:
            return f'--{other.replace("_", "-")} and --sync-bn exclude each other in timm'
        model = model_facts(args)
        if model is not None and not model.batch_norms:
            return f'{args["model"]} has no BN layer'
        return {'sync_bn': True}

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """Statistics of all processes, where the flag asks for them."""
        return {} if args.get('sync_bn') else None

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With ``sync_bn``."""
        return bool(args.get('sync_bn'))
