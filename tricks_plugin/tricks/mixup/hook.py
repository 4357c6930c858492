"""The hook that switches mixup off for the end of the training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop

from .transform import GeometryPreservingMixUp

__all__ = ['MixUpOffHook', 'length_off', 'mixup_transforms']


def mixup_transforms(dataset: Any) -> list[GeometryPreservingMixUp]:
    """Every mixup transform of a dataset, through any nesting of wrappers and pipelines.

    Args:
        dataset: A dataset, a wrapper (``.dataset``, ``.datasets``), a transform or a list.
    """
    seen: dict[int, Any] = {}
    return [item for item in _parts(dataset, seen) if isinstance(item, GeometryPreservingMixUp)]


def _parts(node: Any, seen: dict[int, Any]) -> Iterator[Any]:
    if node is None or isinstance(node, (str, bytes)) or id(node) in seen:
        return
    seen[id(node)] = node
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from _parts(item, seen)
        return
    yield node
    for name in ('dataset', 'datasets', 'pipeline', 'transforms'):
        yield from _parts(getattr(node, name, None), seen)


def length_off(runner: Any, fraction: float, epochs: int | None) -> tuple[bool, int, int]:
    """How long a training is, and how much of its end is wanted without mixup.

    Args:
        runner: The runner, with its train loop built.
        fraction: Part of the training; rounded half up, and at least 1 unless 0.
        epochs: The same in epochs, or None; overrides the fraction.

    Returns:
        ``(by_epoch, total, wanted)``: whether epochs are counted or iterations, and how many.
    """
    by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
    total = runner.max_epochs if by_epoch else runner.max_iters
    if epochs is not None:
        return by_epoch, total, epochs * (1 if by_epoch else len(runner.train_dataloader))
    wanted = max(math.floor(fraction * total + 0.5), 1) if fraction > 0 else 0
    return by_epoch, total, wanted


@HOOKS.register_module()
class MixUpOffHook(Hook):
    """Switches every `GeometryPreservingMixUp` of the training off for the last part of it.

    Whether mixup is on follows from the epoch (or iteration) alone, so a resumed run does what
    the uninterrupted one would have done; the switch lies in shared memory, so persistent
    workers see it at once.

    In an iteration-based run, batches that workers have begun before the switch arrive after
    it: at most ``num_workers * prefetch_factor`` batches, of one iteration each.

    Args:
        off_fraction: Part of the training, in [0, 1), that ends it without mixup; rounded to
            the nearest epoch (half up), but at least one epoch and never all of them. 0 never
            switches off.
        off_epochs: The same in epochs; overrides ``off_fraction``. Iteration-based runs take an
            epoch as one pass over the dataset.

    Raises:
        ValueError: If an argument is out of its bounds.

    Source: arXiv 1902.04103 section 3.1 and its released scripts: 20 of 200 epochs.
    """

    priority = 'LOW'  # after the hooks that replace a pipeline

    def __init__(self, off_fraction: float = 0.1, off_epochs: int | None = None) -> None:
        if not 0 <= off_fraction < 1:
            raise ValueError(f'off_fraction must be in [0, 1), got {off_fraction!r}')
        if off_epochs is not None and off_epochs < 0:
            raise ValueError(f'off_epochs must be >= 0, got {off_epochs!r}')
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self.by_epoch = True
        self.off_from = 0

    def before_train(self, runner: Any) -> None:
        """Computes the moment of the switch, and sets it for the first batch."""
        self.by_epoch, total, wanted = length_off(runner, self.off_fraction, self.off_epochs)
        self.off_from = total - min(wanted, total - 1)
        dataset = runner.train_dataloader.dataset
        found = len(mixup_transforms(dataset))
        if found:
            self._announce(runner.logger, found, total, wanted)
        else:
            runner.logger.warning(
                'MixUpOffHook found no GeometryPreservingMixUp in the training dataset '
                f'({type(dataset).__name__}): it switches nothing')
        self._set(runner, runner.epoch if self.by_epoch else runner.iter)

    def _announce(self, logger: Any, found: int, total: int, wanted: int) -> None:
        unit = 'epoch' if self.by_epoch else 'iteration'
        if wanted >= total:
            logger.warning(f'MixUpOffHook: {wanted} {unit}s without mixup were asked for, of '
                           f'{total} in all; the first {unit} keeps it')
        plan = f'off from {unit} {self.off_from} of {total}' if self.off_from < total \
            else f'on to the end of {total} {unit}(s)'
        logger.info(f'MixUpOffHook controls {found} mixup transform(s): {plan}')

    def before_train_epoch(self, runner: Any) -> None:
        """Sets the switch before the epoch's first batch is asked for."""
        self._set(runner, runner.epoch if self.by_epoch else runner.iter)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Sets the switch for the next iteration, whose batch is asked for right after this."""
        if not self.by_epoch and runner.iter + 1 == self.off_from:
            self._set(runner, runner.iter + 1)

    def _set(self, runner: Any, now: int) -> None:
        enabled = now < self.off_from
        changed = [transform for transform in mixup_transforms(runner.train_dataloader.dataset)
                   if transform.enabled != enabled]
        for transform in changed:
            transform.enabled = enabled
        if changed:
            word = 'epoch' if self.by_epoch else 'iteration'
            runner.logger.info(
                f'Mixup is {"on" if enabled else "off"} from {word} {now} '
                f'({len(changed)} transform(s))')
