"""Measures what share of the samples arrives mixed, and whether the losses are weighted."""

from __future__ import annotations

from typing import Any

import torch

from ...common.phases import Phases, phases
from ...evidence import Evidence, Finding, Training
from .chance import partners_alike, shown_share
from .reading import Count, of_samples, of_targets
from .scores import of_scores, watch_scores

__all__ = ['MixUpEvidence']

_VISIBLE = 0.6  # of a detector's mixed samples at least this share shows it
_DOUBT = 1e-6  # an all-unmixed run less likely than this is a fault
_FIRST, _EVERY = 32, 8  # targets on a device: an epoch's first batches, then each eighth


class MixUpEvidence(Evidence):
    """Counts the mixed samples among those that arrive, before and after the switch.

    What shows a mixture depends on the batch, see `reading`: the weights of a detection sample's
    boxes, or two classes in a row of targets. The rest is one rule. Before the switch there must
    be no run of unmixed samples (or batches of targets, whose samples are mixed together) that
    chance does not explain, however many were mixed earlier; after it none may be mixed. How
    likely a batch of targets looks unmixed follows from its own labels, see `chance`. Where
    losses are to be weighted, some positive must have been.

    Args:
        alpha: As planned.
        prob: As planned.
        off_fraction: Last part of the training without mixup, as planned.
        off_epochs: The same in epochs, or None.
        off_from: The first epoch without mixup where a setting names it itself, or None.
        replaced: Whether a PipelineSwitchHook takes the mixing out, if it comes first.
        cutmix: The alpha of timm's cutmix, 0 for none, or ``'minmax'``.
        smoothing: timm's smoothing, which is in the targets of both classes.
        scores: Whether the targets that the losses of a classifier of mmpretrain get tell, as
            its batch is mixed on its way into the model.
    """

    def __init__(
        self, alpha: float, prob: float = 1.0, off_fraction: float = 0.0,
        off_epochs: int | None = None, off_from: int | None = None, replaced: bool = False,
        cutmix: float | str = 0.0, smoothing: float = 0.0, scores: bool = False,
    ) -> None:
        self.alpha = alpha
        self.prob = prob
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self.off_from = off_from
        self.replaced = replaced
        self.cutmix = cutmix
        self.smoothing = smoothing
        self.scores = scores
        self._phase: Count | None = None
        self._handles: list[Any] = []
        self._shown = shown_share(alpha, cutmix, prob)
        self.on, self.off = Count(shown=self._shown), Count()
        self._times = Phases()
        self._epoch, self._in_epoch = -1, 0
        self._weighting: Any = None
        self._detects = False
        self._switch_seen = self._switch_told = False

    def start(self, training: Training) -> None:
        """Learns when the switch is due, and which hook weights the losses."""
        loader = training.loaders.get('train')
        by_epoch = training.by_epoch
        replaced_from = self.off_from
        if self.replaced:
            from .transform import GeometryPreservingMixUp
            replaced_from = training.replaced_from(GeometryPreservingMixUp)
        self._times = phases(
            by_epoch, training.max_epochs if by_epoch else training.max_iterations,
            self.off_fraction, self.off_epochs, epoch_length=training.epoch_length,
            ahead=0 if self.scores else
            getattr(loader, 'num_workers', 0) * (getattr(loader, 'prefetch_factor', 0) or 0),
            replaced_from=replaced_from)
        if self.scores:
            self._handles = watch_scores(training.model, self._see)

    def _see(self, targets: torch.Tensor) -> None:
        """Counts the targets of the first loss that is called in an iteration."""
        phase, self._phase = self._phase, None
        if phase is not None:
            targets = targets.detach()
            phase.wait_for(*of_scores(targets), partners_alike(targets))
            self._switch_seen = self._switch_seen or phase is self.off

    def before_iteration(self, training: Training) -> None:
        """Counts one batch."""
        if training.epoch != self._epoch:
            self._epoch, self._in_epoch = training.epoch, 0
        self._in_epoch += 1
        times = self._times
        now = training.epoch if times.by_epoch else training.iteration
        if times.flip_from <= now < times.clean_from:
            return
        before = now < times.flip_from
        phase = self.on if before else self.off
        if self.scores:
            looked = not before or self._in_epoch <= _FIRST or self._in_epoch % _EVERY == 0
            self._phase = phase if looked else None
            return
        targets = training.targets
        if isinstance(targets, torch.Tensor):
            if before and self._in_epoch > _FIRST and self._in_epoch % _EVERY:
                return
            phase.wait_for(*of_targets(targets, self.smoothing), partners_alike(targets))
            self._switch_seen = self._switch_seen or not before
            return
        if self._weighting is None:
            self._find_weighting(training)
        one = of_samples(targets)
        phase.add(one)
        self._switch_seen = self._switch_seen or (not before and one.samples > one.mixed)

    def _find_weighting(self, training: Training) -> None:
        from .weighting.hook import MixUpWeightingHook
        self._detects = True
        self._weighting = training.component(MixUpWeightingHook)

    def switched(self, training: Training) -> bool:
        """True once, when the first sample after the switch has arrived, and unmixed if told."""
        told, self._switch_told = self._switch_told, self._switch_seen
        return self._switch_seen and not told

    def finding(self, training: Training) -> Finding:
        """The share of mixed samples before and after the switch, and the heads weighted."""
        self.on.reduce()
        self.off.reduce()
        on, off = self.on, self.off
        verdicts = [self._mixing(training), off.mixed == 0 if off.samples else None]
        if self._detects:
            verdicts.append(self._weights_used())
        live = None
        if any(verdict is not None for verdict in verdicts):
            live = False not in verdicts
        values = {
            'samples': on.samples, 'mixed': on.mixed, 'batches': on.batches,
            'mixed_batches': on.mixed_batches, 'unmixed_run': on.run,
            'unmixed_chance': None if self._detects else on.chance,
            'samples_after_switch': off.samples, 'mixed_after_switch': off.mixed,
            'batches_after_switch': off.batches, 'mixed_batches_after_switch': off.mixed_batches,
            'weight_min': on.low if on.shares else None,
            'weight_max': on.high if on.shares else None,
            'weight_mean': on.total / on.shares if on.shares else None,
        }
        if self._detects:
            values.update(self._detection(training))
        return Finding(self._planned(), live, self._measured(), values)

    def _detection(self, training: Training) -> dict[str, Any]:
        """The heads that are weighted, and what the transforms of all processes counted."""
        from .hook import mixup_transforms
        from .transform import COUNTS, PEAKS
        hook = self._weighting
        shared = [transform.shared for transform in
                  mixup_transforms(training.loaders['train'].dataset)]
        return {
            'weighted_heads': list(hook.weighted_heads) if hook else [],
            'weighted_positives': hook.weighted_positives if hook else 0,
            'unweighted_heads': list(hook.unweighted_heads) if hook else [],
            **{name: sum(one.total(name) for one in shared) for name in COUNTS},
            **{name: max((one.peak(name) for one in shared), default=0) for name in PEAKS}}

    def _mixing(self, training: Training) -> bool | None:
        """Whether samples before the switch arrive mixed, up to now."""
        chance = self.on.chance
        if self._detects:
            # A worker that does not know its dataset has no partner for its first sample.
            spare = max(getattr(training.loaders.get('train'), 'num_workers', 0), 1)
            chance = (1 - _VISIBLE * self._shown) ** max(self.on.run - spare, 0)
        if chance < _DOUBT:
            return False
        if self.on.mixed:
            return self.on.low >= 0.0 and self.on.high <= 1.0
        return None

    def _weights_used(self) -> bool | None:
        """Whether a head that can be weighted was; None if no mixed sample came yet."""
        hook = self._weighting
        if hook is None:
            return False
        if not hook.weighted_heads or hook.weighted_positives:
            return True if hook.weighted_heads else None
        return False if self.on.mixed >= 8 else None

    def _planned(self) -> str:
        times = self._times
        words = [f'alpha {self.alpha:g}'] if self.alpha else []
        if self.cutmix == 'minmax':
            words.append('cutmix of given areas')
        elif self.cutmix:
            words.append(f'cutmix {self.cutmix:g}')
        words += [] if self.prob == 1 else [f'prob {self.prob:g}']
        return ', '.join([*words, str(times)])

    def _measured(self) -> str:
        on, off = self.on, self.off
        parts = []
        if on.batches:
            parts.append(f'{on.mixed} of {on.samples} samples mixed ({on.mixed_batches} of '
                         f'{on.batches} batches looked at before the switch)')
        if on.run and on.mixed:
            parts.append(f'none of the last {on.run}')
        if on.run and not on.mixed and not self._detects and on.chance >= _DOUBT:
            parts.append(f'not known yet: by their labels all {on.run} look unmixed with '
                         f'probability {on.chance:.2g} where mixing works')
        if on.shares:
            parts.append(f'shares {on.low:.2f} to {on.high:.2f}, mean {on.total / on.shares:.2f}')
        if off.batches:
            parts.append(f'{off.mixed} of {off.samples} after the switch')
        if self._detects:
            hook = self._weighting
            parts.append(f'{hook.weighted_positives} positives weighted in '
                         f'{", ".join(hook.weighted_heads)}' if hook and hook.weighted_heads
                         else 'no head weighted')
        return '; '.join(parts) or 'no batch seen'

    def close(self) -> None:
        """Lets go of the hooks."""
        self._weighting = None
        for handle in self._handles:
            handle.remove()
        self._handles = []
