"""Measures the shapes that arrive in the model."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

from torch import nn

from ...evidence import Evidence, Finding
from .batch_augment import BatchRandomShapes

__all__ = ['RandomShapesEvidence']

_ENOUGH = 10  # redraws that all gave one shape: less likely than one in a thousand
_LISTED = 40

Shape = tuple[int, int]


@dataclasses.dataclass
class _Seen:
    """What batches of one shape became."""

    step: int
    last: Shape
    first: Shape | None = None
    redraws: int = 0
    shapes: set[Shape] = dataclasses.field(default_factory=set)


class RandomShapesEvidence(Evidence):
    """Reads the shape of each batch where it enters `BatchRandomShapes` and the backbone.

    Batches that came in alike must leave alike within an interval, in several shapes over the
    intervals, never larger than in the first interval; every side must be a multiple of the
    divisor. Each rank measures its own batches: that ranks agree follows from the draw, and is
    not checked here, as checking would take the communication that the draw saves.

    Args:
        sizes: As planned, in px.
        divisor: As planned.
        interval: As planned, in iterations.
    """

    def __init__(self, sizes: list[int], divisor: int, interval: int) -> None:
        self.sizes = sizes
        self.divisor = divisor
        self.interval = interval
        self.arrived: collections.Counter[Shape] = collections.Counter()
        self.uneven = self.changed = self.larger = self.missed = 0
        self.from_start = False
        self._seen: dict[Shape, _Seen] = {}
        self._entered: Shape | None = None
        self._now: Shape | None = None
        self._open = False
        self._handles: list[Any] = []

    def start(self, runner: Any) -> None:
        """Hooks the batch augment and the backbone (without one, the augment's own result)."""
        modules = list(runner.model.named_modules())
        augments = [module for _, module in modules if isinstance(module, BatchRandomShapes)]
        backbone = next((module for name, module in modules
                         if name.rsplit('.', 1)[-1] == 'backbone'), None)
        for augment in augments:
            self._handles.append(augment.register_forward_pre_hook(self._enter))
            if backbone is None:
                self._handles.append(augment.register_forward_hook(self._leave))
        if backbone is not None:
            self._handles.append(backbone.register_forward_pre_hook(self._arrive))

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._entered = _shape(args) if self._open else None

    def _arrive(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._open and self._now is None:  # the student's batch, not a teacher's after it
            self._now = _shape(args)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._arrive(module, output)

    def before_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Listens for the batch of this iteration."""
        self._open, self._entered, self._now = True, None, None

    def after_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Notes what arrived; validation, which may follow, is not listened to."""
        self._open = False
        if self._now is None:
            self.missed += 1
            return
        self.arrived[self._now] += 1
        self.uneven += any(side % self.divisor for side in self._now)
        if self._entered is None:
            self.missed += 1
            return
        self._note(runner.iter // self.interval, self._entered, self._now)

    def _note(self, step: int, entered: Shape, now: Shape) -> None:
        seen = self._seen.setdefault(entered, _Seen(step, now))
        if seen.step != step:
            seen.redraws += 1
        elif seen.last != now:
            self.changed += 1
        if step == 0:
            self.from_start = True
            seen.first = seen.first or now
        elif seen.first and _area(now) > _area(seen.first):
            self.larger += 1
        seen.step, seen.last = step, now
        seen.shapes.add(now)

    def finding(self, runner: Any) -> Finding:
        """The shapes that arrived, and whether they obey the rules."""
        seen = self._seen.values()
        redraws = sum(item.redraws for item in seen)
        varied = max((len(item.shapes) for item in seen), default=0)
        faults = self._faults()
        live = True if varied > 1 else False if redraws >= _ENOUGH else None
        if faults:
            live = False
        values = {
            'iterations': sum(self.arrived.values()), 'distinct_shapes': len(self.arrived),
            'shapes': {f'{h}x{w}': count
                       for (h, w), count in self.arrived.most_common(_LISTED)},
            'shapes_of_equal_batches': varied, 'redraws': redraws,
            'not_multiples': self.uneven, 'changed_within_interval': self.changed,
            'larger_than_first': self.larger, 'not_resized': self.missed,
            'largest_first': self.larger == 0 if self.from_start else None,
        }
        planned = (f'{len(self.sizes)} sizes, {min(self.sizes)} to {max(self.sizes)} px, '
                   f'every {self.interval} iterations')
        return Finding(planned, live, self._measured(varied, faults), values)

    def _faults(self) -> list[str]:
        counts = {
            f'{self.missed} batches did not pass BatchRandomShapes': self.missed,
            f'{self.uneven} batches are no multiple of {self.divisor}': self.uneven,
            f'{self.changed} changes of shape within an interval': self.changed,
            f'{self.larger} batches larger than in the first interval': self.larger,
        }
        return [words for words, count in counts.items() if count]

    def _measured(self, varied: int, faults: list[str]) -> str:
        if not self.arrived:
            return '; '.join(faults) or 'no batch seen'
        (low, high) = (func(self.arrived, key=_area) for func in (min, max))
        words = [f'{len(self.arrived)} shapes in {sum(self.arrived.values())} iterations, '
                 f'{low[0]}x{low[1]} to {high[0]}x{high[1]} (h x w)',
                 f'batches of equal shape arrived in up to {varied} shapes']
        if self.from_start and not self.larger:
            words.append('largest first')
        return '; '.join([*words, *faults])

    def close(self) -> None:
        """Takes the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _shape(args: Any) -> Shape | None:
    """The (h, w) of the first argument, if it is a batch of images."""
    first = next(iter(args), None)
    shape: Any = getattr(first, 'shape', ())
    return (int(shape[-2]), int(shape[-1])) if len(shape) >= 3 else None


def _area(shape: Shape) -> int:
    return shape[0] * shape[1]
