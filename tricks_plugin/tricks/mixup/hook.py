"""The hook that switches mixup off for the end of the training, and reports on its caches."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop

from .source import hidden, parts
from .times import SwitchTimes, switch_times
from .transform import GeometryPreservingMixUp

__all__ = ['MixUpOffHook', 'mixup_transforms', 'replaced_from']


def mixup_transforms(dataset: Any) -> list[GeometryPreservingMixUp]:
    """Every mixup transform of a dataset, through any nesting of wrappers and pipelines.

    Args:
        dataset: A dataset, a wrapper (``.dataset``, ``.datasets``), a transform or a list.
    """
    return [item for item in parts(dataset) if isinstance(item, GeometryPreservingMixUp)]


def replaced_from(runner: Any) -> int | None:
    """The epoch from which a PipelineSwitchHook trains without any mixup, or None.

    It replaces the pipeline of the outermost dataset; where that is a wrapper without a pipeline
    of its own, the hook changes nothing.
    """
    hook = next((hook for hook in runner.hooks if any(
        base.__name__ == 'PipelineSwitchHook' for base in type(hook).__mro__)), None)
    pipeline = getattr(runner.train_dataloader.dataset, 'pipeline', None)
    if hook is None or 'GeometryPreservingMixUp' in str(hook.switch_pipeline) or \
            not mixup_transforms(pipeline):
        return None
    return int(hook.switch_epoch)


def _times(runner: Any, fraction: float, epochs: int | None) -> SwitchTimes:
    """When this training switches mixup off."""
    by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
    loader = runner.train_dataloader
    return switch_times(
        by_epoch, runner.max_epochs if by_epoch else runner.max_iters, fraction, epochs,
        epoch_length=1 if by_epoch else len(loader),
        ahead=loader.num_workers * (loader.prefetch_factor or 0),
        replaced_from=replaced_from(runner))


@HOOKS.register_module()
class MixUpOffHook(Hook):
    """Switches every `GeometryPreservingMixUp` of the training off for the last part of it.

    Whether mixup is on follows from the epoch (or iteration) alone, so a resumed run does what
    the uninterrupted one would have done; the switch lies in shared memory, so persistent
    workers see it at once.

    In an iteration-based run workers make batches ahead, ``num_workers * prefetch_factor`` of
    them. The switch is turned when the first batch that must not be mixed is about to be asked
    for, so no batch after the switch is mixed; those ahead of it that no worker has begun by
    then are unmixed too, which is none while the workers keep up with the training.

    It also tells the transforms which dataset partners are loaded from, and logs the bound of
    their caches at the start, the memory taken with the first batch, partners that failed to
    load, and dropped proposals.

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
        self._times = SwitchTimes(True, 0, 0, 0, 0, 0)
        self._transforms: list[GeometryPreservingMixUp] = []
        self._reported: dict[str, int] = {}

    def before_train(self, runner: Any) -> None:
        """Computes the moment of the switch, and sets it for the first batch."""
        self._times = _times(runner, self.off_fraction, self.off_epochs)
        self._transforms, self._reported = [], {}
        if self._find(runner):
            self._announce(runner)
            self._try_samples(runner)
        else:
            dataset = runner.train_dataloader.dataset
            runner.logger.warning(
                'MixUpOffHook found no GeometryPreservingMixUp in the training dataset '
                f'({type(dataset).__name__}): it switches nothing{hidden(dataset)}')
        self._set(runner, runner.epoch if self._times.by_epoch else runner.iter)

    def _find(self, runner: Any) -> list[GeometryPreservingMixUp]:
        """The transforms that are in the pipelines now; new ones learn of their dataset."""
        dataset = runner.train_dataloader.dataset
        found = mixup_transforms(dataset)
        for transform in found:
            if not any(transform is known for known in self._transforms):
                transform.attach(dataset)
                self._transforms.append(transform)
        return found

    def _try_samples(self, runner: Any) -> None:
        """Looks at a few samples before the first iteration, and refuses what cannot be mixed."""
        dataset = runner.train_dataloader.dataset
        for transform in self._transforms:
            transform.try_samples(dataset)

    def _announce(self, runner: Any) -> None:
        times, found = self._times, len(self._transforms)
        unit = 'epoch' if times.by_epoch else 'iteration'
        if times.wanted >= times.total:
            runner.logger.warning(
                f'MixUpOffHook: {times.wanted} {unit}s without mixup were asked for, of '
                f'{times.total} in all; the first {unit} keeps it')
        plan = f'off from {unit} {times.off_from} of {times.total}' \
            if times.off_from < times.total else f'on to the end of {times.total} {unit}(s)'
        runner.logger.info(f'MixUpOffHook controls {found} mixup transform(s): {plan}')
        samples, megabytes = self._bound(runner)
        if samples:
            runner.logger.info(f'The caches of mixup keep at most {samples} samples, and at most '
                               f'{megabytes:.0f} MB, over all worker processes of this rank')

    def _bound(self, runner: Any) -> tuple[int, float]:
        """How many samples, and how many units of 2**20 bytes, all caches can hold."""
        workers = max(runner.train_dataloader.num_workers, 1)
        caches = [transform for transform in self._transforms if transform.partner == 'cache']
        return (workers * sum(transform.cache_size for transform in caches),
                workers * sum(transform.cache_mb for transform in caches))

    def before_train_epoch(self, runner: Any) -> None:
        """Sets the switch before the epoch's first batch is asked for."""
        self._set(runner, runner.epoch if self._times.by_epoch else runner.iter)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Reports the memory of the caches once the first batch is there."""
        if 'memory' in self._reported:
            return
        self._reported['memory'] = 1
        largest = max((transform.shared.peak('sample_bytes') for transform in self._transforms),
                      default=0)
        if largest:
            samples, megabytes = self._bound(runner)
            size = largest / 2**20
            runner.logger.info(f'The largest sample that mixup has cached so far takes '
                               f'{size:.2f} MB: {samples} of them, all that the caches keep, '
                               f'{min(samples * size, megabytes):.0f} MB')

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Sets the switch for the next iteration, whose batch is asked for right after this."""
        if not self._times.by_epoch and runner.iter + 1 == self._times.flip_from:
            self._set(runner, runner.iter + 1)
        self._report(runner, factor=2)

    def after_train_epoch(self, runner: Any) -> None:
        """Reports what failed in the epoch."""
        self._report(runner, factor=1)

    def _report(self, runner: Any, factor: int) -> None:
        """Logs counts that have grown since they were logged, by at least a factor."""
        for name, words in (
                ('failed_partners', 'partners failed to load; they were skipped'),
                ('dropped_proposals', "samples' stored proposals were dropped, as they belong to "
                                      'one image, not to a blend of two')):
            count = sum(transform.shared.total(name) for transform in self._transforms)
            before = self._reported.get(name, 0)
            if count > before and count >= factor * before:
                self._reported[name] = count
                runner.logger.warning(f'mixup: {count} {words}')

    def _set(self, runner: Any, now: int) -> None:
        enabled = now < self._times.flip_from
        changed = [transform for transform in self._find(runner) if transform.enabled != enabled]
        for transform in changed:
            transform.enabled = enabled
        if changed:
            unit = 'epoch' if self._times.by_epoch else 'iteration'
            moment = now if enabled or self._times.by_epoch else max(now, self._times.off_from)
            runner.logger.info(
                f'Mixup is {"on" if enabled else "off"} from {unit} {moment} '
                f'({len(changed)} transform(s))')
