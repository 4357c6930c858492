"""The hook that ends the batch augments of a classifier for the last part of the training."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...common.phases import Phases, check_end
from ...mm.phases import run_phases

__all__ = ['BatchMixUpHook', 'unmixed']


def unmixed(inputs: Any, scores: Any) -> tuple[Any, Any]:
    """A batch augment that changes nothing: the scores become floats, as after a mixture.

    The preprocessor makes one-hot scores still, and mmpretrain's losses take none of whole numbers.
    """
    return inputs, scores.float()


@HOOKS.register_module()
class BatchMixUpHook(Hook):
    """Puts `unmixed` in the place of mmpretrain's batch augments for the end of the training.

    They work in the training process, on the batch at hand, so that the switch is exact in epochs
    and iterations alike. Whether they are on follows from the epoch (or iteration) alone, so a
    resumed run does what the uninterrupted one would have done.

    Where mmpretrain's SwitchRecipeHook has taken them off, it puts `unmixed` there too.

    Args:
        off_fraction: Part of the training, in [0, 1), that ends it without them; rounded half up,
            at least one epoch (or iteration) and never all of them. 0 never switches off.
        off_epochs: The same in epochs; overrides ``off_fraction``.

    Raises:
        ValueError: If an argument is out of its bounds.
    """

    priority = 'LOW'  # after mmpretrain's SwitchRecipeHook

    def __init__(self, off_fraction: float = 0.0, off_epochs: int | None = None) -> None:
        check_end(off_fraction, off_epochs)
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self._times = Phases()

    def before_train(self, runner: Any) -> None:
        """Computes the moment of the switch."""
        self._times = run_phases(runner, self.off_fraction, self.off_epochs)
        if getattr(_preprocessor(runner), 'batch_augments', None) is None:
            runner.logger.warning('BatchMixUpHook found no batch augments in the data '
                                  'preprocessor: it switches nothing')

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Switches off once the moment has come."""
        times = self._times
        now = runner.epoch if times.by_epoch else runner.iter
        preprocessor = _preprocessor(runner)
        augments = getattr(preprocessor, 'batch_augments', None)
        if augments is None and getattr(preprocessor, 'to_onehot', False) is True:
            preprocessor.batch_augments = unmixed
        elif now >= times.off_from and augments not in (None, unmixed):
            preprocessor.batch_augments = unmixed
            unit = 'epoch' if times.by_epoch else 'iteration'
            runner.logger.info(f'Mixup is off from {unit} {now}: the batch augments of '
                               f'{type(preprocessor).__name__} are taken off')


def _preprocessor(runner: Any) -> Any:
    model = getattr(runner.model, 'module', runner.model)
    return getattr(model, 'data_preprocessor', None)
