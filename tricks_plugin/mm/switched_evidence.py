"""What transforms with a switch did before and after it, as they count in shared memory."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..common.phases import Phases, phases
from ..evidence import Evidence, Training

__all__ = ['Counted', 'SwitchedEvidence']


@dataclasses.dataclass(frozen=True)
class Counted:
    """What was counted so far.

    Attributes:
        first: The counts before the switch.
        later: Those after it.
        early: Samples that were passed over before the switch was turned.
        iterations: Those before the switch, and those after it.
    """

    first: dict[str, int]
    later: dict[str, int]
    early: int
    iterations: tuple[int, int]


class SwitchedEvidence(Evidence):
    """Reads the counts of a kind of transform, where the processes that carry it out count.

    A batch does not show what was done to its images; the process that made it knows. In an
    iteration-based training the batches that workers have in hand when the switch is turned, or
    when a resumed run begins, belong to neither side of it.

    Args:
        off_fraction: Last part of the training without the augmentation, as planned.
        off_epochs: The same in epochs, or None.
    """

    def __init__(self, off_fraction: float = 0.0, off_epochs: int | None = None) -> None:
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self._phases = Phases()
        self._clean_from = self._prefetched = 0
        self._names: tuple[str, ...] = ()
        self._steps: list[Any] = []
        self._dataset: Any = None
        self._pipeline: Any = None
        self._start: dict[str, int] = {}
        self._edge: dict[str, int] = {}
        self._early: int | None = None
        self._iterations = [0, 0]
        self._told = False

    def kind(self) -> type:
        """The class of the transforms.

        It has ``counts``, the names by which its ``shared`` counts; ``skipped`` among them is a
        sample that was passed over because the switch is off.
        """
        raise NotImplementedError

    def replaced_from(self, training: Training) -> int | None:
        """The epoch from which another hook trains without these transforms, or None."""
        return None

    def start(self, training: Training) -> None:
        """Learns when the switch is due, and finds the transforms."""
        loader, by_epoch = training.loaders.get('train'), training.by_epoch
        self._prefetched = \
            getattr(loader, 'num_workers', 0) * (getattr(loader, 'prefetch_factor', 0) or 0)
        self._phases = phases(
            by_epoch, training.max_epochs if by_epoch else training.max_iterations,
            self.off_fraction, self.off_epochs, epoch_length=training.epoch_length,
            ahead=self._prefetched, replaced_from=self.replaced_from(training))
        self._clean_from = self._phases.clean_from
        if not by_epoch and training.begun_at:
            self._clean_from = max(self._clean_from, training.begun_at + self._prefetched)
        kind: Any = self.kind()
        self._names = tuple(kind.counts)
        self._find(loader)
        self._start = self._edge = self._now()

    def _find(self, loader: Any) -> None:
        """Adds the transforms that are there now, where another hook has changed the pipeline."""
        from .parts import parts
        dataset = getattr(loader, 'dataset', None)
        pipeline = getattr(dataset, 'pipeline', None)
        if dataset is self._dataset and pipeline is self._pipeline:
            return
        self._dataset, self._pipeline, kind = dataset, pipeline, self.kind()
        self._steps += [part for part in parts(dataset) if isinstance(part, kind)
                        and not any(part is known for known in self._steps)]

    def _now(self) -> dict[str, int]:
        return {name: sum(step.shared.total(name) for step in self._steps)
                for name in self._names}

    def _moment(self, training: Training) -> int:
        return training.epoch if self._phases.by_epoch else training.iteration

    def before_iteration(self, training: Training) -> None:
        """Counts the iteration, and takes the count before the switch is turned."""
        self._find(training.loaders.get('train'))
        moment = self._moment(training)
        self._iterations[int(moment >= self._clean_from)] += 1
        if moment == self._phases.flip_from - 1:
            self._early = self._now()['skipped']

    def after_iteration(self, training: Training) -> None:
        """Takes the count of all that was asked for before the switch."""
        if self._moment(training) == self._clean_from - 1:
            self._edge = self._now()

    def switched(self, training: Training) -> bool:
        """True once, when the first iteration after the switch is there."""
        due = self._iterations[1] > 0 and not self._told
        self._told = self._told or due
        return due

    def counted(self, training: Training) -> Counted:
        """What was counted so far."""
        now = self._now()
        before, after = self._iterations
        edge = self._edge if after else now
        early = 0
        if self._phases.flip_from > self._moment(training) or self._early is not None:
            early = (now['skipped'] if self._early is None else self._early) - \
                self._start['skipped']
        return Counted({name: edge[name] - self._start[name] for name in edge},
                       {name: now[name] - edge[name] for name in edge}, early, (before, after))

    def close(self) -> None:
        """Lets go of the transforms."""
        self._steps, self._dataset, self._pipeline = [], None, None
