"""Finding and zeroing the last scale of residual branches."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ['last_norm', 'zero_last_scales']

_DEAD_AT_ZERO = (torch.nn.ReLU, torch.nn.ReLU6)


def last_norm(block: torch.nn.Module) -> torch.nn.Module | None:
    """The norm that ends a residual block's branch, right before the addition.

    Known are the blocks of ResNet and its kin (``norm2`` or ``norm3`` beside a ``downsample``),
    Darknet, CSPDarknet, CSPNeXt and MobileNetV2, as mmdet builds them, and torchvision's.

    Args:
        block: Any module.

    Returns:
        The norm; None if the module is no such block, adds nothing to its input, or has a ReLU
        between norm and addition, whose gradient at zero is zero, so that the scale would stay.
    """
    names = {kind.__name__ for kind in type(block).__mro__}
    if hasattr(block, 'downsample') and names & {'BasicBlock', 'Bottleneck'}:
        return next((found for name in ('norm3', 'bn3', 'norm2', 'bn2')
                     if (found := getattr(block, name, None)) is not None), None)
    conv: Any = None
    if 'ResBlock' in names:
        conv = getattr(block, 'conv2', None)
    elif names & {'DarknetBottleneck', 'CSPNeXtBlock'} and getattr(block, 'add_identity', False):
        conv = getattr(block, 'conv2', None)
        conv = getattr(conv, 'pointwise_conv', conv)
    elif 'InvertedResidual' in names and getattr(block, 'with_res_shortcut', False):
        conv = getattr(block, 'linear_conv', None)
    if conv is None or not getattr(conv, 'with_norm', False):
        return None
    if conv.with_activation and isinstance(conv.activate, _DEAD_AT_ZERO):
        return None
    return conv.norm


def zero_last_scales(module: torch.nn.Module) -> int:
    """Sets the last scale of every residual branch to zero, so that each block is the identity.

    Args:
        module: A network; changed in place. Only scales that train are set.

    Returns:
        How many scales were set.

    Source: arXiv 1812.01187 section 3.1; arXiv 1706.02677 section 5.1.
    """
    count = 0
    for block in module.modules():
        norm = last_norm(block)
        weight = getattr(norm, 'weight', None)
        if isinstance(weight, torch.Tensor) and weight.requires_grad:
            torch.nn.init.zeros_(weight)
            count += 1
    return count
