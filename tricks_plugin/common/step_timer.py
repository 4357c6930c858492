"""What the steps of a data pipeline take, each for itself."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

__all__ = ['KINDS', 'Part', 'StepTimer', 'TimedStep', 'name_of',
           'step_names', 'time_steps']

KINDS = ('reading', 'decoding', 'transform', 'dataset', 'batching')
_HOLDERS = ('transforms', 'branch_pipelines')


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of what a sample takes.

    Attributes:
        name: Such as ``Resize``, or ``LoadImageFromFile: reading``.
        kind: One of `KINDS`; ``dataset`` is what a dataset does around its steps.
    """

    name: str
    kind: str


def name_of(step: Any) -> str:
    """A step's class, or a function's name."""
    step = getattr(step, 'func', step)  # of a functools.partial
    return getattr(step, '__name__', None) or type(step).__name__


class StepTimer:
    """Adds up the time of parts that may lie in each other.

    The time of an inner part does not count for the part around it, so all parts together are the
    time between the outermost part's beginning and end.

    Args:
        clock: Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._open: list[Part] = []
        self._since = 0.0
        self.seconds: dict[Part, float] = {}

    def declare(self, name: str, kind: str) -> Part:
        """A part that is listed from here on; a name that is taken gets a number."""
        part, number = Part(name, kind), 1
        while part in self.seconds:
            number += 1
            part = Part(f'{name} ({number})', kind)
        self.seconds[part] = 0.0
        return part

    def within(self, kind: str) -> AbstractContextManager[None]:
        """Times a block apart from the part around it, before which it is listed."""
        around = self._open[-1] if self._open else None
        part = Part(kind if around is None else f'{around.name}: {kind}', kind)
        if part not in self.seconds:
            listed, self.seconds = self.seconds, {}
            for one, value in listed.items():
                if one == around:
                    self.seconds[part] = 0.0
                self.seconds[one] = value
        return self.part(part)

    @contextmanager
    def part(self, part: Part) -> Iterator[None]:
        """Times a block as a part."""
        self._switch()
        self._open.append(part)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def _switch(self) -> None:
        """Credits the time since the last switch to the part under way."""
        now = self._clock()
        if self._open:
            current = self._open[-1]
            self.seconds[current] = self.seconds.get(current, 0.0) + now - self._since
        self._since = now

    def reset(self) -> None:
        """Sets the parts to zero; they stay listed."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)


class TimedStep:
    """A step of a pipeline under a timer; it answers like the step inside.

    Attributes:
        transforms: The step, where those who look for a transform in a pipeline find it.

    Args:
        step: What is called.
        part: What its time counts for.
        timer: Where it counts.
    """

    def __init__(self, step: Callable[..., Any], part: Part, timer: StepTimer) -> None:
        self.transforms = (step,)
        self._part = part
        self._timer = timer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the step under the timer."""
        with self._timer.part(self._part):
            return self.transforms[0](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'transforms':
            raise AttributeError(name)
        return getattr(self.transforms[0], name)


def time_steps(
    node: Any, timer: StepTimer, kind: Callable[[Any], str] = lambda step: 'transform',
) -> Any:
    """Puts a `TimedStep` around every step of a pipeline, those within steps included.

    Args:
        node: A pipeline, that is an object with ``transforms``, a list of steps, or one step. An
            object is changed in place.
        timer: Where the time counts.
        kind: The kind of a step; called once with each.

    Returns:
        What takes the node's place.
    """
    if isinstance(node, (list, tuple)):
        return type(node)(time_steps(item, timer, kind) for item in node)
    if isinstance(node, dict):
        return {key: time_steps(item, timer, kind) for key, item in node.items()}
    if not callable(node) or isinstance(node, TimedStep):
        return node
    if type(node).__name__ == 'Compose':
        _time_inner(node, timer, kind)
        return node
    part = timer.declare(name_of(node), kind(node))
    _time_inner(node, timer, kind)
    return TimedStep(node, part, timer)


def _time_inner(node: Any, timer: StepTimer, kind: Callable[[Any], str]) -> None:
    for name in _HOLDERS:
        inner = vars(node).get(name) if hasattr(node, '__dict__') else None
        # Albumentations' wrapper keeps the settings of its steps there, which are no steps.
        if isinstance(inner, (list, tuple, dict)) and inner or callable(inner):
            setattr(node, name, time_steps(inner, timer, kind))


def step_names(node: Any, name: Callable[[Any], str] = name_of) -> list[str]:
    """The names of a pipeline's steps, those within steps after the one they are in.

    Args:
        node: As in `time_steps`.
        name: How a step is called.
    """
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        return [found for item in node for found in step_names(item, name)]
    if not callable(node):
        return []
    own = [] if type(node).__name__ == 'Compose' else [name(node)]
    inside = vars(node) if hasattr(node, '__dict__') else {}
    return own + [found for holder in _HOLDERS for found in step_names(inside.get(holder), name)]
