"""Turning the BatchNorm layers of a built model into synchronized ones."""

from __future__ import annotations

import collections
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .layer import CrossRankBatchNorm, CrossRankBatchNormAct

__all__ = ['FROZEN', 'Conversion', 'is_synchronized', 'survey', 'synchronize_batch_norms']

FROZEN = 'frozen'


@dataclasses.dataclass
class Conversion:
    """The BatchNorm layers of a model, each shared one once, by name.

    Attributes:
        trains: Plain layers in train mode: those that are, or would be, converted.
        left: Layers that are left alone, with the reason.
        already: Layers that were synchronized before.
    """

    trains: list[str] = dataclasses.field(default_factory=list)
    left: dict[str, str] = dataclasses.field(default_factory=dict)
    already: list[str] = dataclasses.field(default_factory=list)

    def left_alone(self) -> str:
        """Counts by reason: ``left 15: frozen``, ``left 0``."""
        counts = collections.Counter(self.left.values())
        return 'left ' + ('; '.join(f'{count}: {reason}' for reason, count in counts.items())
                          or '0')

    def __str__(self) -> str:
        already = f', {len(self.already)} synchronized before' if self.already else ''
        return f'converted {len(self.trains)}, {self.left_alone()}{already}'


def is_synchronized(module: nn.Module) -> bool:
    """Whether a layer is this package's, torch's or mmcv's synchronized BatchNorm."""
    return isinstance(module, (CrossRankBatchNorm, nn.SyncBatchNorm)) \
        or type(module).__name__ == 'SyncBatchNorm'


def survey(model: nn.Module) -> Conversion:
    """Sorts the BatchNorm layers of a model as its modes stand now, and changes nothing."""
    found = Conversion()
    for name, module in model.named_modules():
        if is_synchronized(module):
            found.already.append(name)
        elif isinstance(module, _BatchNorm):
            reason = _obstacle(module)
            if reason:
                found.left[name] = reason
            else:
                found.trains.append(name)
    return found


def synchronize_batch_norms(model: nn.Module, process_group: Any = None) -> Conversion:
    """Makes every plain BatchNorm layer in train mode a synchronized one, in place.

    A layer stays the object it is, with its parameters, buffers, hooks, mode and ``state_dict``
    keys; its class becomes `torch.nn.SyncBatchNorm`, or on the CPU, where that refuses to run,
    `CrossRankBatchNorm`; timm's BatchNormAct2d becomes the like with its activation. So
    optimizers, DistributedDataParallel and every other holder of the layer or of its tensors need
    not be told, and it may be called before or after them.

    Left alone: layers in eval mode (frozen), other subclasses with a forward of their own, and lazy
    layers without parameters yet. A layer whose weight and bias are fixed but which is in train
    mode uses batch statistics, so it is converted.

    Args:
        model: Any module, in the mode in which it trains (``model.train()`` called).
        process_group: The processes that share statistics; None for all.

    Returns:
        What was converted and what was left.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
        >>> print(synchronize_batch_norms(model))
        converted 1, left 0
    """
    found = survey(model)
    modules = dict(model.named_modules())
    fallback = next(_tensors(model), torch.empty(0)).device
    for name in found.trains:
        module = modules[name]
        tensor = next(_tensors(module), None)
        device = fallback if tensor is None else tensor.device
        # torch's SyncBatchNorm and this package's have the attributes of BatchNorm and this one.
        module.process_group = process_group
        module.__class__ = _synchronized_class(module, device)
    return found


def _synchronized_class(module: nn.Module, device: torch.device) -> type[nn.Module]:
    if device.type == 'cpu':
        return CrossRankBatchNormAct if _is_timms(module) else CrossRankBatchNorm
    return sys.modules['timm.layers'].SyncBatchNormAct if _is_timms(module) else nn.SyncBatchNorm


def _is_timms(module: nn.Module) -> bool:
    """Whether a layer computes as timm's BatchNormAct2d; whoever has one has imported timm."""
    layers = sys.modules.get('timm.layers')
    return layers is not None and type(module).forward is layers.BatchNormAct2d.forward


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _obstacle(module: nn.Module) -> str:
    """Why a layer is left alone, or an empty string."""
    if not module.training:
        return FROZEN
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        return f'{type(module).__name__} has no parameters before its first forward'
    if 'forward' in vars(module) or not (
            type(module).forward is _BatchNorm.forward or _is_timms(module)):
        return f'{type(module).__name__} has a forward of its own'
    return ''
