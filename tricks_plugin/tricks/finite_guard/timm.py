"""The guard and timm."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags

__all__ = ['Flags']


class Flags(TimmFlags):
    """No flag: this package's trainer guards every run, and timm's own script none."""

    unused = ('limit', 'interval')

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Nothing to set."""
        return {}

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says who does it."""
        return "tools/timm_train.py does so in every run; timm's own script has no such setting"

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """Nothing to be told: the trainer itself does it."""
        return {}
