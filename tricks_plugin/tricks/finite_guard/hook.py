"""The hook that stops a run whose loss is no number any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...common.finite import NonFinite, NonFiniteError
from ...mm.optimizers import optimizers_of

__all__ = ['FiniteGuardHook']


@HOOKS.register_module()
class FiniteGuardHook(Hook):
    """Stops the training after some iterations in a row whose loss is NaN or infinite.

    The count stays on the device; it is read every ``interval`` iterations and at the ends of
    epochs, before a checkpoint is written, so no iteration waits for it.

    Args:
        limit: Iterations in a row that end the run.
        interval: Iterations between two looks.

    Raises:
        ValueError: If an argument is below 1.
    """

    priority = 'NORMAL'

    def __init__(self, limit: int = 10, interval: int = 50) -> None:
        if limit < 1 or interval < 1:
            raise ValueError(f'limit and interval must be >= 1, got {limit!r} and {interval!r}')
        self.limit = limit
        self.interval = interval
        self.unreadable = 0
        self._watch = NonFinite(limit, 'iterations')
        self._first = 0
        self._last: Mapping[str, Any] = {}

    @property
    def watched(self) -> int:
        """The iterations whose loss was counted."""
        return self._watch.added

    def before_train(self, runner: Any) -> None:
        """Begins to count."""
        self._watch, self._first = NonFinite(self.limit, 'iterations'), int(runner.iter)
        self.unreadable = 0

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None,
    ) -> None:
        """Counts one iteration, and looks where a look is due."""
        losses = _losses(outputs)
        if not losses:
            self.unreadable += 1
            if self.unreadable == 1:
                runner.logger.warning('FiniteGuardHook: the training step returns no loss as a '
                                      'tensor, so nothing watches it')
            return
        self._last = losses
        self._watch.add(torch.stack([value.detach().float().sum() for value in losses.values()]))
        if self.watched % self.interval == 0:
            self._look(runner, int(runner.iter))

    def after_train_epoch(self, runner: Any) -> None:
        """Looks before the epoch's checkpoint is written."""
        # mmengine has counted the epoch's last iteration already.
        self._look(runner, int(runner.iter) - 1)

    def after_train(self, runner: Any) -> None:
        """A training that ends in losses that are not finite has failed, however few they are."""
        self._look(runner, int(runner.iter) - 1, at_the_end=True)

    def _look(self, runner: Any, iteration: int, at_the_end: bool = False) -> None:
        """Raises NonFiniteError on all processes once one of them has reached the limit."""
        if not self.watched:
            return
        found = self._watch.found() or (self._watch.at_the_end() if at_the_end else None)
        reached = torch.tensor(int(found is not None), device=next(iter(
            self._last.values())).device)
        all_reduce(reached, op='max')
        if not int(reached):
            return
        if found is None:
            raise NonFiniteError('another process has stopped for losses that are not finite')
        names = [name for name, value in self._last.items()
                 if not bool(torch.isfinite(value).all())]
        rates = sorted({group['lr'] for one in optimizers_of(runner.optim_wrapper).values()
                        for group in one.param_groups})
        raise NonFiniteError(
            f'the loss has not been finite for {found.length} iterations in a row, since iteration '
            f'{self._first + found.since + 1} ({", ".join(names) or "now finite again"} at '
            f'{iteration + 1}; lr {rates[-1]:g}, {_precision(runner)}); the run is stopped: try a '
            'lower lr, a warm-up, clipped gradients or float32')


def _losses(outputs: Any) -> dict[str, torch.Tensor]:
    """The losses that a step returned, by name."""
    if isinstance(outputs, torch.Tensor):
        return {'loss': outputs}
    if not isinstance(outputs, Mapping):
        return {}
    found = {name: value for name, value in outputs.items()
             if 'loss' in str(name) and isinstance(value, torch.Tensor)}
    return found


def _precision(runner: Any) -> str:
    """What the wrappers compute in."""
    wrapper = runner.optim_wrapper
    dtype = getattr(wrapper, 'cast_dtype', None)
    if dtype is not None:
        return str(dtype).removeprefix('torch.')
    return 'float16 or bfloat16 by autocast' if 'Amp' in type(wrapper).__name__ else 'float32'
