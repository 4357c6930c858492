"""The hook of distillation on a model, without a Runner."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import torch
from mmengine.optim import OptimWrapper

__all__ = ['attached']


def attached(model, hook):
    """The hook on a model, outside a run."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    runner = SimpleNamespace(
        model=model, optim_wrapper=OptimWrapper(optimizer), train_loop=None, max_epochs=2, epoch=0,
        logger=logging.getLogger('test'))
    hook.before_train(runner)
    return runner
