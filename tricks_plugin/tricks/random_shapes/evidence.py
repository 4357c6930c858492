"""Measures the shapes that arrive in the model."""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import Any

import torch
from torch import nn

from ...common.phases import Phases, phases
from ...evidence import Evidence, Finding, Training
from .chance import EqualDraws, binomial_tail, size_weights
from .content import Shape, contents_of, extent
from .functional import padded_shape

__all__ = ['RandomShapesEvidence']

_DOUBT = 1e-6  # draws that all gave the last shape again: less likely than this is a fault
_LISTED = 40


@dataclasses.dataclass
class _Seen:
    """What batches of one shape became."""

    step: int
    last: Shape
    first: Shape | None = None
    redraws: int = 0
    shapes: set[Shape] = dataclasses.field(default_factory=set)


class RandomShapesEvidence(Evidence):
    """Reads the shape of each batch where it arrives, and where it was before if that shows.

    In mmdet that is the backbone, and `BatchRandomShapes` before it; in timm the batch itself,
    which has no shape of its own before. Batches that came in alike (by the largest sides of their
    images, without padding) must leave alike within an interval and differ over the intervals: a
    run of draws that all give the shape before, up to now, which chance does not explain, is a
    fault, whatever came earlier. Where the largest size is promised first, none may be larger than
    in the first interval, in the tail neither. Every side must be a multiple of the divisor; square
    batches must each have a planned size. Where a share of the draws is promised at the test scale,
    as many must be as chance allows; and in the clean tail every batch must be at that scale.
    Each rank measures its own batches: that ranks agree follows from the draw, and is not checked
    here, as checking would take the communication that the draw saves.

    Args:
        sizes: As planned, in px.
        divisor: As planned.
        interval: As planned, in iterations.
        base: The size that leaves images as they are, in px, or None if it is unknown.
        square: Whether batches are square, of just these sizes, and drawn before they are made.
        likeliest: The probability of the likeliest size; by default what sizes and share give.
        home: The test scale, in px; None where nothing is promised of it.
        share: Share of the draws at it, if it is one of the sizes; 0 for a uniform draw.
        side: Which side sizes are.
        off_fraction: Last part of the training at the test scale, as planned.
        off_epochs: The same in epochs, or None.
        inside: Whether square batches get their size within the model, before its backbone.
    """

    def __init__(self, sizes: list[int], divisor: int = 1, interval: int = 1,
                 base: int | None = None, square: bool = False,
                 likeliest: float | None = None, home: int | None = None, share: float = 0.5,
                 side: str = 'short', off_fraction: float = 0.0,
                 off_epochs: int | None = None, inside: bool = False) -> None:
        self.sizes = sizes
        self.divisor = divisor
        self.interval = interval
        self.base = base
        self.square = square
        self.inside = inside
        self.home = home
        self.share = share if home in sizes and len(set(sizes)) > 1 else 0.0
        self.side = side
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self._weights = size_weights(sizes, home, self.share)
        self.likeliest = max(self._weights.values()) if likeliest is None else likeliest
        self.arrived: collections.Counter[Shape] = collections.Counter()
        self.uneven = self.changed = self.larger = self.missed = 0
        self.draws = self.at_home = 0  # intervals in which the test scale can be told from others
        self.tail = self.strays = 0  # batches of the clean tail, and those not at the test scale
        self._phases = Phases()
        self._at_home: bool | None = None  # whether this interval's draw was the test scale
        self.from_start = False
        self._equal = EqualDraws()
        self._step = -1
        self._seen: dict[Shape, _Seen] = {}
        self._entered: Shape | None = None
        self._now: Shape | None = None
        self._open = False
        self._handles: list[Any] = []

    def start(self, training: Training) -> None:
        """Hooks the batch augment and the backbone (without one, the augment's own result)."""
        by_epoch = training.by_epoch
        self._phases = phases(
            by_epoch, training.max_epochs if by_epoch else training.max_iterations,
            self.off_fraction, self.off_epochs, epoch_length=training.epoch_length)
        if self.square:
            if self.inside:
                part = getattr(training.model, 'backbone', getattr(training.model, 'model', None))
                self._handles += [part.register_forward_pre_hook(self._arrive)] if part else []
            return
        from .batch_augment import BatchRandomShapes
        modules = list(training.model.named_modules())
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
        self._entered = whole = _shape(args) if self._open else None
        if whole and len(args) > 1 and args[1]:
            self._entered = extent(contents_of(args[1], whole), whole, self.divisor)

    def _arrive(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._open and self._now is None:  # the student's batch, not a teacher's after it
            self._now = _shape(args)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._arrive(module, output)

    def before_iteration(self, training: Training) -> None:
        """Listens for the batch of this iteration."""
        self._open, self._entered, self._now = True, None, None
        if self.square:
            self._entered = (0, 0)
            self._now = None if self.inside else _shape((training.images,))

    def after_iteration(self, training: Training) -> None:
        """Notes what arrived; validation, which may follow, is not listened to."""
        self._open = False
        if self._now is None:
            self.missed += 1
            return
        self.arrived[self._now] += 1
        self.uneven += self._is_strange(self._now)
        if self._entered is None:
            self.missed += 1
            return
        times = self._phases
        if times.ends and not times.on(training.epoch if times.by_epoch else training.iteration):
            self.tail += 1
            self.strays += self._now != self._became(self._entered, self._clean)
            self._compare(self._entered, self._now)
            return
        self._note(training.iteration // self.interval, self._entered, self._now)

    def _is_strange(self, shape: Shape) -> bool:
        if self.square:
            sizes = [*self.sizes, self._clean] if self._phases.ends else self.sizes
            return shape[0] != shape[1] or shape[0] not in sizes
        return any(side % self.divisor for side in shape)

    def _note(self, step: int, entered: Shape, now: Shape) -> None:
        if step != self._step:
            self._equal.close()
            self._step, self._at_home = step, None
        if self._at_home is None and step > 0 and self.share and self._is_plain(entered):
            self._at_home = now == self._became(entered, self._clean)
            self.draws += 1
            self.at_home += self._at_home
        seen = self._seen.setdefault(entered, _Seen(step, now))
        if seen.step != step:
            seen.redraws += 1
            self._equal.add(seen.last == now, self._chance(entered))
        elif seen.last != now:
            self.changed += 1
        if step == 0:
            self.from_start = True
            seen.first = seen.first or now
        else:
            self._compare(entered, now)
        seen.step, seen.last = step, now
        seen.shapes.add(now)

    def _compare(self, entered: Shape, now: Shape) -> None:
        """Notes a batch after the first interval that is larger than one like it in there."""
        seen = self._seen.get(entered)
        if seen and seen.first and not self.square and _area(now) > _area(seen.first):
            self.larger += 1

    @property
    def _clean(self) -> int:
        """The size of the clean tail."""
        return self.home or self.base or max(self.sizes)

    def _became(self, entered: Shape, size: int) -> Shape:
        """What a batch of a shape becomes at a size."""
        if self.square:
            return size, size
        return padded_shape(entered, size, self.base or max(self.sizes), self.divisor)

    def _is_plain(self, entered: Shape) -> bool:
        """Whether the test scale alone gives a batch of this shape its shape there."""
        clean = self._became(entered, self._clean)
        return not any(self._became(entered, size) == clean
                       for size in self.sizes if size != self._clean)

    def _chance(self, entered: Shape) -> float:
        """How likely two draws give batches of a shape the same, at most."""
        if self.base is None or self.square:
            return self.likeliest
        became: collections.defaultdict[Shape, float] = collections.defaultdict(float)
        for size, weight in self._weights.items():
            became[self._became(entered, size)] += weight
        return max(became.values())

    def _unlikely(self) -> bool:
        """Whether chance does not explain how many draws were at the test scale."""
        return binomial_tail(self.draws, self.at_home, self.share) < _DOUBT

    def finding(self, training: Training) -> Finding:
        """The shapes that arrived, and whether they obey the rules."""
        self._equal.close()
        seen = self._seen.values()
        redraws = sum(item.redraws for item in seen)
        varied = max((len(item.shapes) for item in seen), default=0)
        faults = self._faults()
        live = False if faults else True if varied > 1 or self.tail else None
        values = {
            'iterations': sum(self.arrived.values()), 'distinct_shapes': len(self.arrived),
            'shapes': {f'{h}x{w}': count
                       for (h, w), count in self.arrived.most_common(_LISTED)},
            'shapes_of_equal_batches': varied, 'redraws': redraws,
            'chance_of_equal_draws': math.exp(self._equal.log_chance),
            'not_planned' if self.square else 'not_multiples': self.uneven,
            'changed_within_interval': self.changed, 'larger_than_first': self.larger,
            'not_resized': self.missed,
            'draws_told': self.draws, 'draws_at_test_scale': self.at_home,
            'tail_batches': self.tail, 'tail_not_at_test_scale': self.strays,
            'largest_first': self.larger == 0 if self.from_start and not self.square else None,
        }
        every = 'batch' if self.interval == 1 else f'{self.interval} iterations'
        planned = (f'{len(self.sizes)} sizes, {min(self.sizes)} to {max(self.sizes)} px, '
                   f'every {every}')
        if self.share:
            planned += f', {self.share:g} of the draws at {self.home} px'
        if self._phases.ends:
            planned += f', {self._phases}'
        return Finding(planned, live, self._measured(varied, faults), values)

    def _faults(self) -> list[str]:
        strange = 'have no planned size' if self.square else f'are no multiple of {self.divisor}'
        counts = {
            f'{self.missed} batches did not pass BatchRandomShapes': self.missed,
            f'{self.uneven} batches {strange}': self.uneven,
            f'{self.changed} changes of shape within an interval': self.changed,
            f'{self.larger} batches larger than in the first interval': self.larger,
            f'{self.at_home} of {self.draws} draws at the test scale':
                self.share > 0 and self._unlikely(),
            f'{self.strays} batches of the tail are not at the test scale': self.strays,
            'the shape changes no more': self._equal.log_chance < math.log(_DOUBT),
        }
        return [words for words, count in counts.items() if count]

    def _measured(self, varied: int, faults: list[str]) -> str:
        if not self.arrived:
            return '; '.join(faults) or 'no batch seen'
        (low, high) = (func(self.arrived, key=_area) for func in (min, max))
        words = [f'{len(self.arrived)} shapes in {sum(self.arrived.values())} iterations, '
                 f'{low[0]}x{low[1]} to {high[0]}x{high[1]} (h x w)']
        if not self.square:
            words.append(f'batches of equal shape arrived in up to {varied} shapes')
            if self.from_start and not self.larger:
                words.append('largest first')
        if self.draws:
            words.append(f'{self.at_home} of {self.draws} draws at the test scale')
        if self.tail:
            words.append(f'{self.tail} batches in the tail')
        return '; '.join([*words, *faults])

    def close(self) -> None:
        """Takes the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _shape(args: Any) -> Shape | None:
    """The (h, w) of the first argument, if it is a batch of images."""
    first = next(iter(args), None)
    if not isinstance(first, torch.Tensor) or first.dim() < 3:
        return None
    return int(first.shape[-2]), int(first.shape[-1])


def _area(shape: Shape) -> int:
    return shape[0] * shape[1]
