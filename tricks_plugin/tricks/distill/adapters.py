"""1x1 convolutions from the student's widths to the teacher's, and what trains them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import nn

from ...common.wrapped import Wrapped
from ...plan import TrickError

__all__ = ['Adapters']

_SEED = 0


class Adapters:
    """An adapter for each level whose widths differ, made when it is first asked for.

    They are no part of the student: not in its ``state_dict``, its average or its optimizer. An
    optimizer of the same kind, with the student's largest LR of the moment, makes their steps in
    the same iterations, right before the student's; a loss scaler serves both. The first weights
    follow from the level and the widths, so that all processes begin alike.

    Args:
        wrapper: mmengine's OptimWrapper of the student.
        state: As `state` returned it in the run that is resumed, or None.
    """

    def __init__(self, wrapper: Any, state: dict[str, Any] | None = None) -> None:
        self._wrapper = wrapper
        self._former = state
        self._modules: dict[int, nn.Module | None] = {}
        self._optimizer: torch.optim.Optimizer | None = None
        self._backward: Wrapped | None = None

    def __call__(self, level: int, feature: torch.Tensor, width: int) -> torch.Tensor:
        """A level's features in the teacher's width; the very same tensor where it is that.

        Args:
            level: Counted from 0.
            feature: Shape (N, C, H, W).
            width: The teacher's channels.
        """
        if level not in self._modules:
            self._modules[level] = None if feature.shape[1] == width else \
                self._made(level, feature.shape[1], width).to(feature.device)
        module = self._modules[level]
        return feature if module is None else module(feature)

    def _made(self, level: int, width: int, wanted: int) -> nn.Module:
        module = _adapter(level, width, wanted)
        if self._former is not None:
            with _resuming():
                module.load_state_dict(self._former['adapters'][level])
        return module

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(module is not None for module in self._modules.values())

    def begin(self) -> None:
        """Called once all levels have been asked for: makes their optimizer, or resumes it."""
        parameters = [one for module in self._modules.values() if module is not None
                      for one in module.parameters()]
        if self._optimizer is not None or not parameters:
            return
        self._optimizer = _like(self._wrapper.optimizer, parameters)
        if self._former is not None:
            with _resuming():
                self._optimizer.load_state_dict(self._former['optimizer'])
            self._former = None

        def around(call: Any, *args: Any, **kwargs: Any) -> None:
            call(*args, **kwargs)
            if self._wrapper.should_update():
                self._step()
        self._backward = Wrapped(self._wrapper, 'backward', around)

    def _step(self) -> None:
        """One step with the gradients of all processes; those of a float16 run are scaled."""
        optimizer = self._optimizer
        assert optimizer is not None
        grads = [one.grad for group in optimizer.param_groups for one in group['params']
                 if one.grad is not None]
        if not grads:
            return
        for grad in grads:
            all_reduce(grad, op='mean')
        rate = max(group['lr'] for group in self._wrapper.optimizer.param_groups)
        for group in optimizer.param_groups:
            group['lr'] = rate
        scaler = getattr(self._wrapper, 'loss_scaler', None)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
        optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any] | None:
        """What a checkpoint keeps, so that a resumed run goes on exactly; None without adapters."""
        if self._optimizer is None:
            return self._former
        return {'adapters': {level: module.state_dict() for level, module in self._modules.items()
                             if module is not None},
                'optimizer': self._optimizer.state_dict()}

    def remove(self) -> None:
        """Gives the student's optimizer its method back."""
        if self._backward is not None:
            self._backward.remove()
            self._backward = None


@contextlib.contextmanager
def _resuming() -> Iterator[None]:
    try:
        yield
    except (KeyError, RuntimeError, ValueError) as error:
        raise TrickError(
            "resume: the checkpoint's adapters of distillation do not fit this teacher and "
            f'student ({" ".join(str(error).split())}); train from its weights with load_from'
        ) from error


def _adapter(level: int, width: int, wanted: int) -> nn.Module:
    """A 1x1 convolution whose first weights are the same in all processes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED + level)
        return nn.Conv2d(width, wanted, 1)


def _like(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter],
          ) -> torch.optim.Optimizer:
    """An optimizer of the same kind with the same defaults."""
    kind = type(optimizer)
    known = inspect.signature(kind.__init__).parameters
    options = {name: value for name, value in optimizer.defaults.items() if name in known}
    return kind(parameters, **options)
