"""Counts the mosaics among the samples, and the different images in each."""

from __future__ import annotations

import math

from ...evidence import Finding, Training
from ...mm.switched_evidence import SwitchedEvidence

__all__ = ['MosaicEvidence']

_PATIENCE = 20  # iterations in which something must have happened
_FIRST = 5  # samples that a worker needs for its first mosaic
_DEVIATIONS = 6  # that the share may lie off, chance being what it is


class MosaicEvidence(SwitchedEvidence):
    """The share of mosaics, and what they are made of.

    Before the switch the share of mosaics, among the samples that could be one, must be the
    planned one as far as chance allows, none may be passed over, and each must show more than one
    image; after it there may be no mosaic. All the time samples must come to the transform.

    Args:
        prob: Share of the samples that become mosaics, as planned.
        off_fraction: Last part of the training without them, as planned.
        off_epochs: The same in epochs, or None.
        replaced: Whether a PipelineSwitchHook takes the mosaic out, if it comes first.
    """

    def __init__(self, prob: float = 1.0, off_fraction: float = 0.0,
                 off_epochs: int | None = None, replaced: bool = False) -> None:
        super().__init__(off_fraction, off_epochs)
        self.prob = prob
        self.replaced = replaced
        self._patience = 0
        self._latest, self._still = -1, 0

    def kind(self) -> type:
        """`MosaicToScale`."""
        from .transform import MosaicToScale
        return MosaicToScale

    def replaced_from(self, training: Training) -> int | None:
        """The epoch of a PipelineSwitchHook, where the plan has seen that it reaches them."""
        return training.replaced_from(self.kind()) if self.replaced else None

    def start(self, training: Training) -> None:
        """Learns also how long a sample may take to come."""
        super().start(training)
        workers = getattr(training.loaders.get('train'), 'num_workers', 0)
        self._patience = _PATIENCE + self._prefetched + \
            _FIRST * max(workers, 1) * max(len(self._steps), 1)

    def before_iteration(self, training: Training) -> None:
        """Sees also whether samples still come."""
        super().before_iteration(training)
        seen = sum(self._now().values())
        self._still = 0 if seen != self._latest else self._still + 1
        self._latest = seen

    def finding(self, training: Training) -> Finding:
        """The share of mosaics before and after the switch, and the images in each."""
        counted = self.counted(training)
        first, (before, after) = counted.first, counted.iterations
        late, passed = counted.later['mosaics'], counted.later['skipped']
        faults = self._faults(first, before, bool(after))
        if counted.early:
            faults.append(f'samples were passed over {counted.early} times before the switch')
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
            {'samples': samples, **first, 'images': images,
             'passed_over_before_switch': counted.early, 'mosaics_after_switch': late,
             'passed_over_after_switch': passed, 'iterations': before,
             'iterations_after_switch': after})

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
