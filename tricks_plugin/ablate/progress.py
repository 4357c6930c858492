"""Progress of an ablation: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from .metrics import unit_of

__all__ = ['Progress', 'left']


def left(seconds: list[float], runs: int, at_once: int) -> float | None:
    """The time that the rest takes, seconds; None before the first run has ended.

    Args:
        seconds: What the ended runs took, each.
        runs: How many are left.
        at_once: How many run at the same time.
    """
    if not seconds:
        return None
    return sum(seconds) / len(seconds) * runs / min(at_once, max(runs, 1))


def _words(seconds: float | None) -> str:
    if seconds is None:
        return 'time left unknown'
    if seconds < 90:
        return f'about {seconds:.0f} s left'
    minutes = seconds / 60
    return f'about {minutes:.0f} min left' if minutes < 90 else f'about {minutes / 60:.1f} h left'


class Progress:
    """Tells of runs as they end.

    Args:
        console: Where.
        runs: How many are to be done.
        at_once: How many run at the same time.
    """

    def __init__(self, console: Console, runs: int, at_once: int) -> None:
        self._console = console
        self._runs, self._at_once = runs, at_once
        self._took: list[float] = []
        self._bar: Bar | None = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._bar = Bar(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                            TextColumn('{task.fields[left]}'), console=self._console)
            self._task = self._bar.add_task('', total=self._runs, left=_words(None))
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def now(self, running: list[str]) -> None:
        """Shows what runs."""
        if self._bar is not None:
            self._bar.update(self._task, description='; '.join(running)[:100])

    def finished(self, words: str, result: dict[str, Any], seconds: float) -> None:
        """Tells of a run that has a result."""
        unit, factor = unit_of(result['metric'])
        value = result['value']
        shown = 'not a number' if value is None else f'{factor * value:.2f} {unit}'
        dead = [one['trick'] for one in result['checks'] if one['live'] is False]
        text = f'{words}: {result["metric"]} {shown}, {result["seconds"]:.0f} s of training'
        if dead:
            text += f'; does not count, {", ".join(dead)} had no effect'
        self._tell(text, seconds)

    def failed(self, words: str, error: str, seconds: float) -> None:
        """Tells of a run that has none."""
        self._tell(f'{words}: failed: {error}', seconds)

    def _tell(self, text: str, seconds: float) -> None:
        self._took.append(seconds)
        rest = self._runs - len(self._took)
        words = _words(left(self._took, rest, self._at_once))
        if self._bar is not None:
            self._bar.update(self._task, advance=1, left=words)
        self._console.print(
            f'{time.strftime("%H:%M:%S")}  {text}  [{len(self._took)} of {self._runs}, {words}]',
            highlight=False, markup=False, soft_wrap=True)
