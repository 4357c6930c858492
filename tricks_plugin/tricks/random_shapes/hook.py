"""The hook that tells `BatchRandomShapes` the seed and the iteration."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...common.phases import Phases, check_end
from ...mm.phases import run_phases, warn_whole
from .batch_augment import BatchRandomShapes
from .fixed import try_shapes

__all__ = ['SEED_KEY', 'BatchRandomShapesHook', 'shapes_seed']

SEED_KEY = 'random_shapes_seed'


def shapes_seed(runner: Any) -> int:
    """The seed of a run's shapes: equal on all ranks, and the same after a resume.

    It is the runner's seed, which mmengine makes equal on all ranks; under
    ``randomness.diff_rank_seed`` mmengine has added the rank, which is taken off. It travels in the
    checkpoint's message hub, as the FlexibleRunner does not restore a seed that was drawn.
    """
    saved = runner.message_hub.get_info(SEED_KEY) if runner.iter > 0 else None
    if saved is not None:
        return int(saved)
    seed = int(runner.seed)
    if (runner.cfg.get('randomness') or {}).get('diff_rank_seed'):
        seed -= get_rank()
    return seed


@HOOKS.register_module()
class BatchRandomShapesHook(Hook):
    """Has every `BatchRandomShapes` of the model draw the size of the coming iteration.

    For the last part of the training nothing is drawn, and batches have the size at which the
    model will be tested. When that begins follows from the epoch (or iteration) alone.

    Before the first iteration it tries what only later ones would show: that the batch holds
    nothing which a new shape leaves behind, and that the model takes the smallest shape.

    A hook, and not mmengine's message hub: the hub has no iteration where
    ``default_hooks.runtime_info`` is None, and a component that reads it fails late and far away.

    Args:
        off_fraction: Part of the training, in [0, 1), that ends it without random shapes; rounded
            to the nearest epoch (half up), but at least one epoch and never all of them. 0: none.
        off_epochs: The same in epochs; overrides ``off_fraction``.

    Raises:
        ValueError: If an argument is out of its bounds.
    """

    def __init__(self, off_fraction: float = 0.0, off_epochs: int | None = None) -> None:
        check_end(off_fraction, off_epochs)
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self.phases = Phases()
        self.seed = 0
        self._tried = False
        self._augments: list[BatchRandomShapes] = []

    def before_train(self, runner: Any) -> None:
        """Finds the batch augments and the seed, after a checkpoint has been loaded."""
        self._tried = False
        self._augments = [module for module in runner.model.modules()
                          if isinstance(module, BatchRandomShapes)]
        self.phases = run_phases(runner, self.off_fraction, self.off_epochs)
        warn_whole(runner.logger, type(self).__name__, self.phases, 'random shapes')
        self.seed = shapes_seed(runner)
        runner.message_hub.update_info(SEED_KEY, self.seed)
        if not self._augments:
            runner.logger.warning('BatchRandomShapesHook found no BatchRandomShapes in the model '
                                  f'({type(runner.model).__name__}): no shape is drawn')
        for augment in self._augments:
            runner.logger.info(f'Random shapes: {augment.extra_repr()}, seed {self.seed}; '
                               f'{self.phases} of {self.phases.total}')

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Has the size of this iteration drawn.

        Raises:
            TrickError: Before the first iteration, if the model takes no image of the smallest
                shape, or if the batch holds what is neither known nor declared.
        """
        tail = not self.phases.on(runner.epoch if self.phases.by_epoch else runner.iter)
        for augment in self._augments:
            augment.set_iteration(runner.iter, self.seed, tail, self.phases.ends)
        if self._tried:
            return
        self._tried = True
        for augment in self._augments:
            augment.fields.check_batch(data_batch)
        if self._augments and isinstance(data_batch, dict):
            try_shapes(runner.model, self._augments[0], data_batch.get('inputs'),
                       self.phases.ends)

    def after_train(self, runner: Any) -> None:
        """Lets go of the model."""
        self._augments = []
