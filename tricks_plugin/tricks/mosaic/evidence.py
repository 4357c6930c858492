"""Counts the mosaics among the samples, and the different images in each."""

from __future__ import annotations

import math
from typing import Any

from ...common.phases import Phases, phases
from ...evidence import Evidence, Finding, Training

__all__ = ['MosaicEvidence']

_PATIENCE = 20  # iterations in which something must have happened
_FIRST = 5  # samples that a worker needs for its first mosaic
_DEVIATIONS = 6  # that the share may lie off, chance being what it is


class MosaicEvidence(Evidence):
    """Reads what the worker processes count in shared memory, where each mosaic is made.

    A batch does not show whether its images were joined; the process that made it knows. Before
    the switch the share of mosaics, among the samples that could be one, must be the planned one
    as far as chance allows, none may be passed over, and each must show more than one image; after
    it there may be no mosaic. All the time samples must come to the transform.

    Args:
        prob: Share of the samples that become mosaics, as planned.
        off_fraction: Last part of the training without them, as planned.
        off_epochs: The same in epochs, or None.
        replaced: Whether a PipelineSwitchHook takes the mosaic out, if it comes first.
    """

    def __init__(self, prob: float = 1.0, off_fraction: float = 0.0,
                 off_epochs: int | None = None, replaced: bool = False) -> None:
        self.prob = prob
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self.replaced = replaced
        self._phases = Phases()
        self._clean_from = self._patience = 0
        self._steps: list[Any] = []
        self._start: dict[str, int] = {}
        self._edge: dict[str, int] = {}
        self._early: int | None = None  # passed over before the switch was turned
        self._iterations = [0, 0]
        self._latest, self._still = -1, 0
        self._told = False

    def start(self, training: Training) -> None:
        """Learns when the switch is due, and finds the transforms."""
        from ...mm.parts import parts
        from .transform import MosaicToScale
        loader = training.loaders.get('train')
        workers = getattr(loader, 'num_workers', 0)
        ahead = workers * (getattr(loader, 'prefetch_factor', 0) or 0)
        by_epoch = training.by_epoch
        self._phases = phases(
            by_epoch, training.max_epochs if by_epoch else training.max_iterations,
            self.off_fraction, self.off_epochs, epoch_length=training.epoch_length,
            ahead=ahead, replaced_from=self._switch_epoch(training) if self.replaced else None)
        self._clean_from = self._phases.clean_from
        if not by_epoch and training.begun_at:
            self._clean_from = max(self._clean_from, training.begun_at + ahead)
        self._steps = [part for part in parts(getattr(loader, 'dataset', None))
                       if isinstance(part, MosaicToScale)]
        self._patience = _PATIENCE + ahead + _FIRST * max(workers, 1) * max(len(self._steps), 1)
        self._start = self._edge = self._counts()

    @staticmethod
    def _switch_epoch(training: Training) -> int | None:
        from mmdet.engine.hooks import PipelineSwitchHook
        hook = training.component(PipelineSwitchHook)
        return None if hook is None else int(hook.switch_epoch)

    def _counts(self) -> dict[str, int]:
        from .transform import COUNTS
        return {name: sum(step.shared.total(name) for step in self._steps) for name in COUNTS}

    def _now(self, training: Training) -> int:
        return training.epoch if self._phases.by_epoch else training.iteration

    def before_iteration(self, training: Training) -> None:
        """Counts the iteration, and takes the count before the switch is turned."""
        now, counts = self._now(training), self._counts()
        self._iterations[int(now >= self._clean_from)] += 1
        seen = sum(counts.values())
        self._still = 0 if seen != self._latest else self._still + 1
        self._latest = seen
        if now == self._phases.flip_from - 1:
            self._early = counts['skipped']

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
        """The share of mosaics before and after the switch, and the images in each."""
        now = self._counts()
        before, after = self._iterations
        edge = self._edge if after else now
        first = {name: edge[name] - self._start[name] for name in edge}
        late, passed = (now[name] - edge[name] for name in ('mosaics', 'skipped'))
        early = 0
        if self._phases.flip_from > self._now(training) or self._early is not None:
            early = (now['skipped'] if self._early is None else self._early) - \
                self._start['skipped']
        faults = self._faults(first, before, bool(after))
        if early:
            faults.append(f'samples were passed over {early} times before the switch')
        if late:
            faults.append(f'{late} mosaics after the switch')
        live = True if first['mosaics'] or after and passed else None
        mosaics = first['mosaics']
        samples = mosaics + first['undrawn'] + first['emptied'] + first['filling']
        images = 4 - first['repeats'] / mosaics if mosaics else None
        words = [f'{mosaics} of {samples} samples are mosaics'
                 + ('' if images is None else f' of {images:.1f} different images')]
        if first['emptied']:
            words.append(f'{first["emptied"]} kept no box and were given up')
        if after:
            words.append(f'{late} of {late + passed} after the switch')
        return Finding(
            self._planned(), False if faults else live, '; '.join([', '.join(words), *faults]),
            {'samples': samples, **first, 'images': images, 'passed_over_before_switch': early,
             'mosaics_after_switch': late, 'passed_over_after_switch': passed,
             'iterations': before, 'iterations_after_switch': after})

    def _faults(self, first: dict[str, int], before: int, after: bool) -> list[str]:
        """What speaks against the mosaics that were made before the switch.

        Args:
            first: The counts before the switch.
            before: The iterations before it.
            after: Whether there was one after it.
        """
        faults, mosaics = [], first['mosaics']
        if self._still > self._patience and not (after and self.replaced):
            faults.append(f'no sample has come to it for {self._still} iterations')
        drawn, undrawn = mosaics + first['emptied'], first['undrawn']
        spread = math.sqrt((drawn + undrawn) * self.prob * (1 - self.prob))
        off = abs(drawn - self.prob * (drawn + undrawn))
        if off > _DEVIATIONS * spread + 1e-6:
            faults.append(f'{drawn} of {drawn + undrawn} were drawn, against {self.prob:g}')
        if before > self._patience and not mosaics and not undrawn:
            faults.append('no mosaic kept a box' if first['emptied'] else
                          f'no worker has had {_FIRST} samples, which the first mosaic takes')
        if mosaics > _FIRST and first['repeats'] == 3 * mosaics:
            faults.append('all four parts of each are one image')
        return faults

    def _planned(self) -> str:
        return f'share {self.prob:g}, {self._phases}'

    def close(self) -> None:
        """Lets go of the transforms."""
        self._steps = []
