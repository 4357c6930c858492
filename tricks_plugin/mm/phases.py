"""The hook that turns augmentation off for the end of a training, by the one clock."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from ..common.phases import Phases, check_end, phases
from .parts import hidden, parts

__all__ = ['PhaseHook', 'run_phases', 'switched_from', 'warn_whole']


def run_phases(runner: Any, fraction: float, epochs: int | None,
               replaced_from: int | None = None) -> Phases:
    """The clock of a training.

    Args:
        runner: mmengine's, its training loop built.
        fraction: Last part of the training without augmentation.
        epochs: The same in epochs, or None.
        replaced_from: See `tricks_plugin.common.phases.phases`.
    """
    by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
    loader = runner.train_dataloader
    return phases(
        by_epoch, runner.max_epochs if by_epoch else runner.max_iters, fraction, epochs,
        epoch_length=1 if by_epoch else len(loader),
        ahead=loader.num_workers * (loader.prefetch_factor or 0), replaced_from=replaced_from)


def warn_whole(logger: logging.Logger, name: str, times: Phases, what: str) -> None:
    """Warns where as much of the end was asked for as there is, or more.

    Args:
        logger: The run's.
        name: The hook's.
        times: The clock.
        what: What goes off.
    """
    if times.total and times.wanted >= times.total:
        logger.warning(f'{name}: {times.wanted} {times.unit}s without {what} were asked for, of '
                       f'{times.total} in all; the first {times.unit} keeps it')


def switched_from(runner: Any, kind: type) -> int | None:
    """The epoch from which a PipelineSwitchHook trains without a kind of transform, or None.

    It replaces the pipeline of the outermost dataset; where that is a wrapper without a pipeline
    of its own, the hook changes nothing.

    Args:
        runner: mmengine's.
        kind: The class of the transform.
    """
    hook = next((hook for hook in runner.hooks if any(
        base.__name__ == 'PipelineSwitchHook' for base in type(hook).__mro__)), None)
    pipeline = getattr(runner.train_dataloader.dataset, 'pipeline', None)
    if hook is None or kind.__name__ in str(hook.switch_pipeline) or \
            not any(isinstance(part, kind) for part in parts(pipeline)):
        return None
    return int(hook.switch_epoch)


class PhaseHook(Hook):
    """Turns the switches of a kind of transform off for the last part of the training.

    Whether they are on follows from the epoch (or iteration) alone, so a resumed run does what
    the uninterrupted one would have done; the switches lie in shared memory, so persistent
    workers see them at once.

    In an iteration-based run workers make batches ahead, ``num_workers * prefetch_factor`` of
    them. The switch is turned when the first batch that must not be augmented is about to be asked
    for, so no batch after the switch is; those ahead of it that no worker has begun by then are
    not either, which is none while the workers keep up with the training.

    Attributes:
        kind: The class of the transforms; each has a settable ``enabled``.
        what: What goes off, for the log.

    Args:
        off_fraction: Part of the training, in [0, 1), that ends it; rounded to the nearest epoch
            (half up), but at least one epoch and never all of them. 0 never switches off.
        off_epochs: The same in epochs; overrides ``off_fraction``. Iteration-based runs take an
            epoch as one pass over the dataset.

    Raises:
        ValueError: If an argument is out of its bounds.
    """

    priority = 'LOW'  # after the hooks that replace a pipeline
    kind: type = object
    what = ''

    def __init__(self, off_fraction: float = 0.1, off_epochs: int | None = None) -> None:
        check_end(off_fraction, off_epochs)
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self._phases = Phases()

    def replaced_from(self, runner: Any) -> int | None:
        """The epoch from which another hook trains without these transforms, or None."""
        return None

    def found(self, runner: Any) -> list[Any]:
        """The transforms that are in the pipelines now."""
        return [item for item in parts(runner.train_dataloader.dataset)
                if isinstance(item, self.kind)]

    def before_train(self, runner: Any) -> None:
        """Computes the moment of the switch, and sets it for the first batch."""
        self._phases = run_phases(runner, self.off_fraction, self.off_epochs,
                                  self.replaced_from(runner))
        found, name = self.found(runner), type(self).__name__
        if found:
            self._announce(runner.logger, name, len(found))
        else:
            dataset = runner.train_dataloader.dataset
            runner.logger.warning(
                f'{name} found no {self.kind.__name__} in the training dataset '
                f'({type(dataset).__name__}): it switches nothing{hidden(dataset)}')
        self.prepare(runner)
        self._set(runner, self._now(runner))

    def prepare(self, runner: Any) -> None:
        """Called before the first iteration, when the transforms are found and still on."""

    def _announce(self, logger: logging.Logger, name: str, found: int) -> None:
        times, what = self._phases, self.what
        warn_whole(logger, name, times, what)
        plan = f'{times} of {times.total}' if times.ends else \
            f'{times} of {times.total} {times.unit}(s)'
        logger.info(f'{name} controls {found} {what} transform(s): {plan}')

    def _now(self, runner: Any) -> int:
        return runner.epoch if self._phases.by_epoch else runner.iter

    def before_train_epoch(self, runner: Any) -> None:
        """Sets the switch before the epoch's first batch is asked for."""
        self._set(runner, self._now(runner))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Sets the switch for the next iteration, whose batch is asked for right after this."""
        if not self._phases.by_epoch and runner.iter + 1 == self._phases.flip_from:
            self._set(runner, runner.iter + 1)

    def _set(self, runner: Any, now: int) -> None:
        times = self._phases
        enabled = now < times.flip_from
        changed = [transform for transform in self.found(runner) if transform.enabled != enabled]
        for transform in changed:
            transform.enabled = enabled
        if changed:
            moment = now if enabled or times.by_epoch else max(now, times.off_from)
            runner.logger.info(f'{self.what.capitalize()} is {"on" if enabled else "off"} from '
                               f'{times.unit} {moment} ({len(changed)} transform(s))')
