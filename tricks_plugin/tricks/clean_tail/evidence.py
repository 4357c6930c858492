"""Counts how often strong steps were applied before and after the switch."""

from __future__ import annotations

from typing import Any

from ...common.phases import Phases, phases
from ...evidence import Evidence, Finding, Training

__all__ = ['CleanTailEvidence']

_PATIENCE = 20  # iterations in which a step must have been met


class CleanTailEvidence(Evidence):
    """Reads what the worker processes count in shared memory, where each step is carried out.

    A batch does not show whether its images were warped; the process that made it knows. Before
    the switch steps must be applied, and none passed over; after it none may be applied, and
    samples must pass the steps that are off. In an iteration-based training the batches that
    workers have in hand when the switch is turned, or when a resumed run begins, belong to neither.

    Args:
        off_fraction: Last part of the training, as planned.
        off_epochs: The same in epochs, or None.
    """

    def __init__(self, off_fraction: float = 0.0, off_epochs: int | None = None) -> None:
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self._phases = Phases()
        self._clean_from = self._ahead = 0
        self._steps: list[Any] = []
        self._start = self._edge = (0, 0)  # (applied, passed over)
        self._early: int | None = None  # passed over before the switch was turned
        self._iterations = [0, 0]
        self._told = False

    def start(self, training: Training) -> None:
        """Learns when the switch is due, and finds the steps."""
        from ...mm.parts import parts
        from .transform import Switched
        loader = training.loaders.get('train')
        by_epoch = training.by_epoch
        self._ahead = 0 if by_epoch else \
            getattr(loader, 'num_workers', 0) * (getattr(loader, 'prefetch_factor', 0) or 0)
        self._phases = phases(
            by_epoch, training.max_epochs if by_epoch else training.max_iterations,
            self.off_fraction, self.off_epochs, epoch_length=training.epoch_length,
            ahead=self._ahead)
        self._clean_from = self._phases.clean_from
        if not by_epoch and training.begun_at:
            self._clean_from = max(self._clean_from, training.begun_at + self._ahead)
        self._steps = [part for part in parts(getattr(loader, 'dataset', None))
                       if isinstance(part, Switched)]
        self._start = self._edge = self._counts()

    def _counts(self) -> tuple[int, int]:
        return (sum(step.shared.total('applied') for step in self._steps),
                sum(step.shared.total('skipped') for step in self._steps))

    def _now(self, training: Training) -> int:
        return training.epoch if self._phases.by_epoch else training.iteration

    def before_iteration(self, training: Training) -> None:
        """Counts the iteration, and takes the count before the switch is turned."""
        now = self._now(training)
        self._iterations[int(now >= self._clean_from)] += 1
        if now == self._phases.flip_from - 1:
            self._early = self._counts()[1]

    def after_iteration(self, training: Training) -> None:
        """Takes the count of all that was asked for before the switch."""
        if self._now(training) == self._clean_from - 1:
            self._edge = self._counts()

    def switched(self, training: Training) -> bool:
        """True once, when the first iteration after the switch is there."""
        due = self._iterations[1] > 0 and not self._told
        self._told = self._told or due
        return due

    def finding(self, training: Training) -> Finding:
        """How often steps were applied before and after the switch."""
        now = self._counts()
        before, after = self._iterations
        edge = self._edge if after else now
        applied = edge[0] - self._start[0]
        late, passed = now[0] - edge[0], now[1] - edge[1]
        early = 0
        if self._phases.flip_from > self._now(training) or self._early is not None:
            early = (now[1] if self._early is None else self._early) - self._start[1]
        faults, live = [], True if applied or after and passed else None
        if before > _PATIENCE and not applied:
            faults.append('no step was applied before the switch')
        if early:
            faults.append(f'steps were passed over {early} times before the switch')
        if late:
            faults.append('images are still augmented after the switch')
        if after > _PATIENCE + self._ahead and not (late or passed):
            faults.append('no image has passed the steps since the switch')
        words = [f'{len(self._steps)} steps, applied {applied} times before the switch']
        if after:
            words.append(f'{late} times after it, passed over {passed} times')
        return Finding(
            str(self._phases), False if faults else live, '; '.join([', '.join(words), *faults]),
            {'steps': len(self._steps), 'applied': applied, 'passed_over_before_switch': early,
             'applied_after_switch': late, 'passed_over_after_switch': passed,
             'iterations': before, 'iterations_after_switch': after})

    def close(self) -> None:
        """Lets go of the steps."""
        self._steps = []
