"""How far a training is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

__all__ = ['Progress']

_logger = logging.getLogger('tricks_plugin')


class Progress:
    """Shows the batches of one epoch after the other.

    Args:
        interval: Updates between two lines in the log.
        shown: Whether this process shows anything.
        terminal: Whether to draw a bar; by default where stderr is a terminal.
    """

    def __init__(self, interval: int, shown: bool = True, terminal: bool | None = None) -> None:
        self.interval = max(1, interval)
        self.shown = shown
        self.terminal = shown and (sys.stderr.isatty() if terminal is None else terminal)
        self._bar: Any = None
        self._task: Any = None
        self._title = self._line = ''
        self._total = 0
        self._begun = 0.0

    def begin(self, title: str, total: int) -> None:
        """Starts an epoch of ``total`` batches."""
        self._title, self._total, self._begun = title, total, time.perf_counter()
        if self.terminal:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar
            self._bar = Bar(
                TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                TimeRemainingColumn(), TextColumn('{task.fields[note]}'),
                console=Console(stderr=True, force_terminal=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(title, total=total, note='')

    def wants(self, update: int, last: bool) -> bool:
        """Whether the numbers of an update are shown."""
        return self.shown and (last or update % self.interval == 0)

    def advance(self, index: int, **numbers: Any) -> None:
        """One batch is done.

        Args:
            index: The batch, from 0.
            **numbers: ``loss`` (mean so far), ``now``, ``lr``, ``images`` (so far, all processes)
                and ``waiting`` (s spent on waiting for batches), where they are shown.
        """
        words = self._words(**numbers) if numbers else ''
        if self._bar is not None:
            changes = {'note': words} if words else {}
            self._bar.update(self._task, completed=index + 1, **changes)
        if words:
            self._line = f'{self._title} [{index + 1}/{self._total}] {words}'
            if not self.terminal:
                _logger.info(self._line)

    def _words(self, loss: float, now: float, lr: float, images: int, waiting: float) -> str:
        passed = max(time.perf_counter() - self._begun, 1e-9)
        return (f'loss {now:.4g} (mean {loss:.4g})  lr {lr:.3e}  {images / passed:.0f} images/s  '
                f'waiting for data {waiting / passed:.0%}')

    def end(self) -> None:
        """The epoch is done, or was broken off."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            if self._line:
                _logger.info(self._line)  # below the bar it would be overwritten
        self._line = ''
