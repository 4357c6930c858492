"""The hook that switches mixup off for the end of the training, and reports on its caches."""

from __future__ import annotations

from typing import Any

from mmengine.registry import HOOKS

from ...mm.parts import parts
from ...mm.phases import PhaseHook, switched_from
from .transform import GeometryPreservingMixUp

__all__ = ['MixUpOffHook', 'mixup_transforms']


def mixup_transforms(dataset: Any) -> list[GeometryPreservingMixUp]:
    """Every mixup transform of a dataset, through any nesting of wrappers and pipelines.

    Args:
        dataset: A dataset, a wrapper (``.dataset``, ``.datasets``), a transform or a list.
    """
    return [item for item in parts(dataset) if isinstance(item, GeometryPreservingMixUp)]


@HOOKS.register_module()
class MixUpOffHook(PhaseHook):
    """Switches every `GeometryPreservingMixUp` of the training off for the last part of it.

    When and how is `PhaseHook`'s. It also tells the transforms which dataset partners are loaded
    from, and logs the bound of their caches at the start, the memory taken with the first batch,
    partners that failed to load, and dropped proposals.

    Args:
        off_fraction: See `PhaseHook`.
        off_epochs: See `PhaseHook`.

    Source: arXiv 1902.04103 section 3.1 and its released scripts: 20 of 200 epochs.
    """

    kind = GeometryPreservingMixUp
    what = 'mixup'

    def __init__(self, off_fraction: float = 0.1, off_epochs: int | None = None) -> None:
        super().__init__(off_fraction, off_epochs)
        self._transforms: list[GeometryPreservingMixUp] = []
        self._reported: dict[str, int] = {}

    def replaced_from(self, runner: Any) -> int | None:
        """See `switched_from`."""
        return switched_from(runner, GeometryPreservingMixUp)

    def before_train(self, runner: Any) -> None:
        """Computes the moment of the switch, sets it, and looks at a few samples.

        Raises:
            TrickError: If a sample holds what cannot be mixed.
        """
        self._transforms, self._reported = [], {}
        super().before_train(runner)

    def prepare(self, runner: Any) -> None:
        """Logs what the caches may take, and tries a few samples."""
        samples, megabytes = self._bound(runner)
        if samples:
            runner.logger.info(f'The caches of mixup keep at most {samples} samples, and at most '
                               f'{megabytes:.0f} MB, over all worker processes of this rank')
        for transform in self._transforms:
            transform.try_samples(runner.train_dataloader.dataset)

    def found(self, runner: Any) -> list[GeometryPreservingMixUp]:
        """The transforms that are in the pipelines now; new ones learn of their dataset."""
        dataset = runner.train_dataloader.dataset
        found = mixup_transforms(dataset)
        for transform in found:
            if not any(transform is known for known in self._transforms):
                transform.attach(dataset)
                self._transforms.append(transform)
        return found

    def _bound(self, runner: Any) -> tuple[int, float]:
        """How many samples, and how many units of 2**20 bytes, all caches can hold."""
        workers = max(runner.train_dataloader.num_workers, 1)
        caches = [transform for transform in self._transforms if transform.partner == 'cache']
        return (workers * sum(transform.cache_size for transform in caches),
                workers * sum(transform.cache_mb for transform in caches))

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
        """Sets the switch for the next iteration, and reports what failed."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
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
