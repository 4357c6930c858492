"""Measures how many of the run's reads the cache has answered."""

from __future__ import annotations

from typing import Any

from ...evidence import Evidence, Finding, Training
from .keeper import Keeper
from .survey import size

__all__ = ['CacheEvidence']


class CacheEvidence(Evidence):
    """Reads the counts that all workers of this process keep in the cache's folder.

    Judged is what was asked since the begin of the epoch before the present one.

    Args:
        level: ``encoded`` or ``decoded``.
        folder: The cache's folder; None for the user's own on this node.
    """

    def __init__(self, level: str, folder: str | None = None) -> None:
        self._level = level
        self._keeper = Keeper(folder)
        self._base: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._now: dict[str, int] = {}
        self._epoch = self._began = 0

    def start(self, training: Training) -> None:
        """Notes the counts of before, as a process of the same number may have left some."""
        self._base = self._before = self._now = self._keeper.counted()
        self._epoch, self._began = self._part(training), training.iteration

    def after_iteration(self, training: Training) -> None:
        """Notes the counts at the end of each epoch."""
        if self._part(training) != self._epoch:
            self._epoch = self._part(training)
            self._before, self._now = self._now, self._keeper.counted()

    @staticmethod
    def _part(training: Training) -> int:
        return training.iteration // max(training.epoch_length, 1)

    def finding(self, training: Training) -> Finding:
        """The share of reads that came from the cache, and what it holds."""
        keeper, planned = self._keeper, f'images from the cache ({self._level})'
        store = keeper.open()
        if store is None:
            return Finding(planned, False, f'no cache: {keeper.trouble}')
        now = keeper.counted()
        whole, late = _since(self._base, now), _since(self._before, now)
        usage = store.usage()
        values: dict[str, Any] = {**whole, 'entries': usage.entries, 'used': usage.used,
                                  'budget': usage.budget, 'fits': usage.share}
        asked = late['hits'] + late['misses']
        if not asked:
            return Finding(planned, False, 'the cache was never asked' if not self._base or not any(
                whole.values()) else 'the cache is not asked any more', values)
        seen = training.iteration - self._began + 1
        live = True if late['hits'] else None if seen <= training.epoch_length else False
        full = '' if usage.share == 1 else f', full: {usage.share:.0%} of the set fits'
        trouble = f'; {whole["failed"]} errors of the cache, answered by the source' * bool(
            whole['failed'])
        damaged = f'; {whole["damaged"]} damaged entries dropped' * bool(whole['damaged'])
        measured = (f'{late["hits"] / asked:.0%} of the latest {asked} reads came from the cache, '
                    f'{whole["hits"]} of {whole["hits"] + whole["misses"]} in all; it holds '
                    f'{usage.entries} files, {size(usage.used)} of {size(usage.budget)}{full}'
                    f'{damaged}{trouble}')
        return Finding(planned, live, measured, {**values, 'share': late['hits'] / asked})


def _since(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    return {name: value - before.get(name, 0) for name, value in now.items()}
