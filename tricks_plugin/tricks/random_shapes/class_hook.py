"""The hook that gives the batches of an mmpretrain classifier one random size each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn

from ...common.phases import Phases, check_end
from ...mm.phases import run_phases, warn_whole
from .batch_augment import BatchRandomShapes
from .fixed import try_shapes
from .hook import SEED_KEY, shapes_seed

__all__ = ['ClassifierShapesHook']


@HOOKS.register_module()
class ClassifierShapesHook(Hook):
    """Resizes what the data preprocessor hands to the model in training, to a size per interval.

    mmpretrain's preprocessor draws one of its batch augments for a batch, so this is none of them:
    it works on the preprocessor's result, through a forward hook on the built model's own, and
    leaves validation alone. The sizes follow from seed and iteration, as with `BatchRandomShapes`.

    Args:
        base: The side, in px, of what the pipeline delivers.
        sizes: Sides to draw from, in px.
        divisor: What they are multiples of.
        interval: Iterations between two draws.
        seed: Overrides the run's seed.
        home: The side at which the model will be tested, see `BatchRandomShapes`.
        share: Share of the draws at it.
        off_fraction: Last part of the training at it, as in `BatchRandomShapesHook`.
        off_epochs: The same in epochs; overrides ``off_fraction``.

    Raises:
        ValueError: If an argument is out of its bounds.
        TrickError: Before the first iteration, if the model takes the largest size and not the
            smallest.

    Source: arXiv 1902.04103 section 3.6, there for detectors.
    """

    varies_batch_size = True  # `runtime` asks

    def __init__(self, base: int, sizes: Sequence[int], divisor: int = 32, interval: int = 10,
                 seed: int | None = None, home: int | None = None, share: float = 0.5,
                 off_fraction: float = 0.0, off_epochs: int | None = None) -> None:
        check_end(off_fraction, off_epochs)
        self.augment = BatchRandomShapes(base, sizes=sizes, divisor=divisor, interval=interval,
                                         seed=seed, home=home, share=share)
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self.phases = Phases()
        self.seed = 0
        self._tried = False
        self._handle: Any = None

    def before_train(self, runner: Any) -> None:
        """Finds the seed and the preprocessor, after a checkpoint has been loaded."""
        self._tried = False
        self.phases = run_phases(runner, self.off_fraction, self.off_epochs)
        warn_whole(runner.logger, type(self).__name__, self.phases, 'random sizes')
        self.seed = shapes_seed(runner)
        runner.message_hub.update_info(SEED_KEY, self.seed)
        model = getattr(runner.model, 'module', runner.model)
        preprocessor = getattr(model, 'data_preprocessor', None)
        if not isinstance(preprocessor, nn.Module):
            runner.logger.warning(f'ClassifierShapesHook found no data preprocessor in '
                                  f'{type(model).__name__}: no size is drawn')
            return
        self._handle = preprocessor.register_forward_hook(self._resize, with_kwargs=True)
        runner.logger.info(f'Random sizes: {self.augment.extra_repr()}, seed {self.seed}; '
                           f'{self.phases} of {self.phases.total}')

    def _resize(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any],
                output: Any) -> Any:
        """The preprocessor's result with resized images, in training; None leaves it alone."""
        training = args[1] if len(args) > 1 else kwargs.get('training', False)
        if not training or not isinstance(output, dict):
            return None
        return {**output, 'inputs': self.augment(output['inputs'], None)[0]}

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Has the size of this iteration drawn; before the first one tries the smallest."""
        tail = not self.phases.on(runner.epoch if self.phases.by_epoch else runner.iter)
        self.augment.set_iteration(runner.iter, self.seed, tail, self.phases.ends)
        if not self._tried and isinstance(data_batch, dict):
            self._tried = True
            try_shapes(runner.model, self.augment, data_batch.get('inputs'), self.phases.ends)

    def after_train(self, runner: Any) -> None:
        """Takes the forward hook off."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
