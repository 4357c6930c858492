"""The monitor and timm."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags

__all__ = ['Flags']


class Flags(TimmFlags):
    """timm has no such setting."""

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Says who does it."""
        return 'timm has no such setting; the trainer of this package does so in every run'
